"""Builds the components from the settings, and opens and closes them. Only this module knows all of them."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing, contextmanager, nullcontext
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from pydantic import SecretStr

from aigen_bridge import metrics
from aigen_bridge.clients.credentials import is_valid
from aigen_bridge.clients.images import ImageFetcher
from aigen_bridge.clients.marking import Marker
from aigen_bridge.clients.n8n import N8nWebhook
from aigen_bridge.clients.notify import Notifier
from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.clients.odoo_auto import odoo_transport
from aigen_bridge.clients.renewed import RenewedOdoo, RenewedWebhook
from aigen_bridge.domain.address import checked_url
from aigen_bridge.domain.destination import (
    MARKING,
    N8N,
    N8N_CALLS_MAX,
    ODOO_CALLS_MAX,
    BreakerConfig,
    Destination,
    every_destination,
    odoo_destination,
)
from aigen_bridge.domain.generation import GenerationPolicy
from aigen_bridge.domain.image import ODOO_IMAGE_MAX
from aigen_bridge.domain.outbox import AlertClaim, Claim
from aigen_bridge.domain.provenance import MarkingMode, OnFailure
from aigen_bridge.domain.queues import queue_of
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.signature import secret_bytes
from aigen_bridge.pipeline.alert import Alert
from aigen_bridge.pipeline.budgets import BudgetChanges
from aigen_bridge.pipeline.callback import Examination, RefuseUrl
from aigen_bridge.pipeline.check import CONCURRENCY, ImageCheck
from aigen_bridge.pipeline.deliver import Deliver
from aigen_bridge.pipeline.destinations import DestinationChanges
from aigen_bridge.pipeline.dispatch import POLICY as DISPATCH_POLICY
from aigen_bridge.pipeline.dispatch import Dispatch
from aigen_bridge.pipeline.fetch import Fetch
from aigen_bridge.pipeline.mark import Mark
from aigen_bridge.pipeline.replay import Replays
from aigen_bridge.pipeline.replay_jobs import ReplayJobs
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.settings import OIDC_CALLBACK_PATH, DatabaseSettings, PurgeSettings, Settings, fingerprints
from aigen_bridge.settings.rotation import Fingerprints, Part, Rotation, read_from_settings
from aigen_bridge.settings.sections import ImageUrlSettings, N8nSettings
from aigen_bridge.store.addons import Addons
from aigen_bridge.store.alerts import Alerts
from aigen_bridge.store.audit import Audit
from aigen_bridge.store.budget_changes import ChangeableBudgets
from aigen_bridge.store.catalogue import Models
from aigen_bridge.store.catalogue_changes import CatalogueChanges
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.dead_letters import DeadLetters
from aigen_bridge.store.destination_changes import ChangeableDestinations
from aigen_bridge.store.executions import Executions
from aigen_bridge.store.gauges import GaugeReader
from aigen_bridge.store.generations import Generations
from aigen_bridge.store.image_moves import ImageMoves
from aigen_bridge.store.image_sweep import ImageSweep
from aigen_bridge.store.image_watch import ImageStoreWatch
from aigen_bridge.store.images import ImageStore, ObjectImages, PostgresImages
from aigen_bridge.store.inspection import Inspection
from aigen_bridge.store.key_uses import KeyUses
from aigen_bridge.store.ledger import Ledger
from aigen_bridge.store.listening import naming_listen_url
from aigen_bridge.store.marking import Marking
from aigen_bridge.store.migrations import check, migrate
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.overview import Overview
from aigen_bridge.store.passwords import Passwords
from aigen_bridge.store.quarantine import Quarantine
from aigen_bridge.store.replays import ReplayQueue
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.restoration import Restoration
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.search import Search
from aigen_bridge.store.sessions import Sessions
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.store.url import password_in
from aigen_bridge.store.wakeup import listen

if TYPE_CHECKING:
    from aigen_bridge.clients.oidc import OidcProvider

CALLBACKS_IN_HAND, LARGE_CALLBACKS_IN_HAND = 4, 2
"""Callbacks with an image that one process handles (parses, checks, writes) at the same time. The others wait with the
bytes they have read. A callback that is being handled takes about four times the size of its image."""
MARKING_HELD = {OnFailure.DELIVER: timedelta(minutes=2), OnFailure.HOLD: timedelta(days=30)}
"""How long an image is held while none can be marked. After that it is delivered without a mark, or becomes a dead
letter."""
API_CONNECTIONS, WORKER_CONNECTIONS = 10, 6


@dataclass(frozen=True, slots=True)
class ApiParts:
    """The components of the API. `in_hand` and `large_in_hand` limit the memory that callbacks take."""

    settings: Settings
    rotation: Rotation
    database: Database
    requests: Requests
    timelines: Timelines
    quarantine: Quarantine
    executions: Executions
    generations: Generations
    destinations: ChangeableDestinations
    gauges: GaugeReader
    dead_letters: DeadLetters
    replays: Replays
    models: Models
    catalogue_changes: CatalogueChanges
    addons: Addons
    budgets: ChangeableBudgets
    budget_changes: BudgetChanges
    ledger: Ledger
    sessions: Sessions
    key_uses: KeyUses
    marking: Marking
    oidc: "OidcProvider | None"
    images: ImageStore
    examine: Examination
    in_hand: asyncio.Semaphore
    large_in_hand: asyncio.Semaphore
    overview: Overview
    replay_queue: ReplayQueue
    replay_jobs: ReplayJobs
    destination_changes: DestinationChanges
    search: Search
    audit: Audit


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """The components of a worker. `runners` are by lane.

    `image_sweep` and `image_moves` are None without an object store. `listen` calls its argument with the queue of each
    new outbox entry, until cancelled.
    """

    settings: Settings
    outbox: Outbox
    sweeps: Sweeps
    generations: Generations
    alerts: Alerts
    budgets: ChangeableBudgets
    ledger: Ledger
    retention: Retention
    inspection: Inspection
    image_sweep: ImageSweep | None
    image_moves: ImageMoves | None
    runners: Mapping[str, StepRunner[Claim]]
    alert: StepRunner[AlertClaim]
    replay_jobs: ReplayJobs
    image_watch: ImageStoreWatch
    listen: Callable[[Callable[[str], None]], Coroutine[None, None, None]]


def verify_database(settings: DatabaseSettings) -> None:
    """Raises `UnsuitableDatabaseError`, or `StoreUnavailableError` if the database does not answer."""
    check(
        settings.database_url.get_secret_value(),
        settings.database.timeout,
        prepared_statements=settings.database.prepared_statements,
        listener_url=settings.listener_url,
    )


def migrate_database(settings: DatabaseSettings) -> None:
    """Migrates the database to this version. Raises as `migrate` does, and names the setting that leads there."""
    url = settings.migration_url
    is_other = url != settings.database_url.get_secret_value()
    with naming_listen_url() if is_other else nullcontext():
        migrate(url, timeout=settings.database.timeout)


@asynccontextmanager
async def open_api(settings: Settings, rotation: Rotation | None = None) -> AsyncIterator[ApiParts]:
    """Opens the components of one API process. Connections open when they are first needed.

    `rotation` tells them of new secrets.
    """
    rotation = rotation or Rotation(settings)
    name = f"aigen-bridge api {os.getpid()}"  # the pid distinguishes the processes in pg_stat_activity
    async with AsyncExitStack() as opened:
        database = await opened.enter_async_context(
            _database(settings, API_CONNECTIONS, name, _database_passwords(rotation))
        )
        images = opened.enter_context(image_store(settings, database, rotation))
        deadlines, breakers = _deadlines(settings), _breakers(settings)
        metrics.create_series(settings.all_odoos)
        rates, budgets, addons = (
            settings.money.rates,
            ChangeableBudgets(database, deadlines.alert_window),
            Addons(database),
        )
        requests, destinations = (
            Requests(database, deadlines, images, rates),
            ChangeableDestinations(database, breakers),
        )
        quarantine = Quarantine(database, deadlines, images)
        operations = Operations(database, deadlines, images, rates)
        models = await opened.enter_async_context(aclosing(Models(database)))
        overview = await opened.enter_async_context(aclosing(Overview(database, breakers)))
        dead_letters = await opened.enter_async_context(aclosing(DeadLetters(database)))
        check = opened.enter_context(closing(ImageCheck(is_valid)))
        examine = _examination(settings, check)
        replays = Replays(operations, quarantine, dead_letters, requests, examine, partial(_reports_on, rotation))
        replay_queue = ReplayQueue(database)
        yield ApiParts(
            settings=settings,
            rotation=rotation,
            database=database,
            requests=requests,
            timelines=Timelines(database, generation_policy(settings), breakers),
            quarantine=quarantine,
            executions=Executions(database, deadlines),
            generations=Generations(database, deadlines, generation_policy(settings)),
            destinations=destinations,
            gauges=GaugeReader(database, breakers),
            dead_letters=dead_letters,
            replays=replays,
            models=models,
            catalogue_changes=CatalogueChanges(database),
            addons=addons,
            budgets=budgets,
            budget_changes=BudgetChanges(budgets, models, addons, tuple(settings.all_odoos), rates),
            ledger=_ledger(database, settings),
            sessions=Sessions(database),
            key_uses=KeyUses(database),
            marking=Marking(database),
            oidc=_oidc(rotation),
            images=images,
            examine=examine,
            in_hand=asyncio.Semaphore(CALLBACKS_IN_HAND),
            large_in_hand=asyncio.Semaphore(LARGE_CALLBACKS_IN_HAND),
            overview=overview,
            replay_queue=replay_queue,
            replay_jobs=ReplayJobs(replay_queue, replays, dead_letters),
            destination_changes=DestinationChanges(destinations, _calls_max(breakers)),
            search=Search(database),
            audit=Audit(database),
        )


@asynccontextmanager
async def open_worker(settings: Settings, rotation: Rotation | None = None) -> AsyncIterator[WorkerParts]:
    """Opens the components of one worker process. `rotation` tells them of new secrets."""
    rotation = rotation or Rotation(settings)
    async with AsyncExitStack() as opened:
        name, passwords = "aigen-bridge worker", _database_passwords(rotation)
        database = await opened.enter_async_context(_database(settings, WORKER_CONNECTIONS, name, passwords))
        webhook, fetcher = _renewed_n8n(rotation), _renewed_fetcher(rotation)
        opened.push_async_callback(webhook.close)
        check = opened.enter_context(closing(ImageCheck(is_valid)))
        deadlines = _deadlines(settings)
        dispatch_policy = replace(DISPATCH_POLICY, jitter=settings.n8n.retry_jitter)
        images = opened.enter_context(image_store(settings, database, rotation))
        breakers = _breakers(settings)
        metrics.create_series(settings.all_odoos)
        runners: dict[str, StepRunner[Claim]] = {
            Step.DISPATCH.value: Dispatch(webhook, settings.callback_url, settings.n8n.concurrency, dispatch_policy),
            Step.FETCH.value: Fetch(
                fetcher,
                check,
                Quarantine(database, deadlines, images),
                settings.image_urls.concurrency,
                marks=_marks(settings),
            ),
        }
        marker = opened.enter_context(closing(_marker(settings)))
        runners[Step.MARK.value] = _mark(settings, marker, images, check)
        for name, odoo in settings.all_odoos.items():
            client = _renewed_odoo(rotation, name)
            opened.push_async_callback(client.close)
            runners[queue_of(Step.DELIVER, name)] = Deliver(client, images, odoo.concurrency, name=name)
        yield WorkerParts(
            settings=settings,
            outbox=Outbox(
                database,
                deadlines,
                images,
                breakers,
                generation_policy(settings),
                keeps_originals=settings.marking.keep_original,
            ),
            sweeps=Sweeps(database, deadlines),
            generations=Generations(database, deadlines, generation_policy(settings)),
            alerts=Alerts(database, settings.alerts.window, breakers),
            budgets=ChangeableBudgets(database, settings.alerts.window),
            ledger=_ledger(database, settings),
            retention=Retention(database, has_objects=images.has_objects),
            inspection=Inspection(database, breakers),
            image_sweep=ImageSweep(database, images) if isinstance(images, ObjectImages) else None,
            image_moves=ImageMoves(database, images) if isinstance(images, ObjectImages) else None,
            runners=runners,
            alert=Alert(Notifier(settings.alerts.urls), settings.public_url),
            replay_jobs=_replay_jobs(database, rotation, images, check),
            image_watch=ImageStoreWatch(database, images, settings.alerts.window),
            listen=partial(
                listen,
                settings.listener_url,
                patience=settings.database.timeout,
                passwords=_listener_passwords(rotation) if settings.database.listen_url else passwords,
            ),
        )


def _replay_jobs(database: Database, rotation: Rotation, images: ImageStore, check: ImageCheck) -> ReplayJobs:
    """Returns what a worker needs to replay dead letters, callbacks with images among them."""
    settings = rotation.settings
    deadlines, rates, dead_letters = _deadlines(settings), settings.money.rates, DeadLetters(database)
    replays = Replays(
        Operations(database, deadlines, images, rates),
        Quarantine(database, deadlines, images),
        dead_letters,
        Requests(database, deadlines, images, rates),
        _examination(settings, check),
        partial(_reports_on, rotation),
    )
    return ReplayJobs(ReplayQueue(database), replays, dead_letters)


@asynccontextmanager
async def open_retention(settings: PurgeSettings) -> AsyncIterator[Retention]:
    """Opens the retention component alone, for the command `purge`."""
    async with _database(settings, 1, "aigen-bridge purge") as database:
        yield Retention(database, has_objects=settings.image_store.url is not None)


@asynccontextmanager
async def open_restoration(settings: Settings) -> AsyncIterator[tuple[Restoration, ImageStore]]:
    """Opens the restoration component and the image store alone, for the command `restored`."""
    async with _database(settings, 1, "aigen-bridge restored") as database:
        with image_store(settings, database, Rotation(settings)) as images:
            yield Restoration(database, _deadlines(settings), settings.all_odoos), images


@contextmanager
def image_store(settings: Settings, database: Database, rotation: Rotation) -> Iterator[ImageStore]:
    """Opens the image store."""
    wanted = settings.image_store
    if wanted.url is None:
        yield PostgresImages(database)
        return
    from aigen_bridge.clients.object_store import ObjectStore  # noqa: PLC0415 - few have one
    from aigen_bridge.clients.object_store_place import Credentials, Place  # noqa: PLC0415 - few have one

    def credentials(of: Settings) -> Credentials:
        return Credentials(of.image_store.access_key_id, of.image_store.secret_access_key)

    size_max = 2 * max(settings.callback.max_bytes, ODOO_IMAGE_MAX)  # marks make an image larger
    place = Place(wanted.url, wanted.endpoint, wanted.region, wanted.timeout, size_max)
    with closing(ObjectStore(place, credentials(settings))) as objects:

        async def use(renewed: Settings) -> None:
            objects.renew(credentials(renewed))

        rotation.add(Part(fingerprints.of_image_store, use))
        yield ObjectImages(database, objects)


def _ledger(database: Database, settings: Settings) -> Ledger:
    return Ledger(database, settings.money.rates, settings.alerts.window)


def _deadlines(settings: Settings) -> Deadlines:
    return Deadlines(
        callback=settings.callback.deadline,
        image_url=settings.image_urls.lifetime,
        alert_window=settings.alerts.window,
    )


def generation_policy(settings: Settings) -> GenerationPolicy:
    """Returns the rules of generations."""
    generation = settings.generation
    return GenerationPolicy(generation.silence, generation.resumes, generation.when_maybe_paid)


def _reports_on(rotation: Rotation, name: str) -> str | None:
    """Returns the Odoo of a current client, if it has one."""
    client = rotation.settings.clients.get(name)
    return client.odoo if client else None


def _breakers(settings: Settings) -> dict[Destination, BreakerConfig]:
    """Returns the breaker settings of each destination that has a breaker."""
    n8n = every_destination(settings.all_odoos)[N8N.name]
    breakers = {n8n: BreakerConfig(**dict(settings.n8n.breaker))}
    for name, odoo in settings.all_odoos.items():
        breakers[odoo_destination(name)] = BreakerConfig(
            **dict(odoo.breaker), concurrency_limit=odoo.concurrency, slow_after=odoo.slow_after
        )
    if _marks(settings):
        breakers[MARKING] = BreakerConfig(hold=MARKING_HELD[settings.marking.on_failure])
    return breakers


def _calls_max(destinations: Iterable[Destination]) -> dict[str, int]:
    """Returns the highest limit that operators can set, by destination."""
    return {each.name: N8N_CALLS_MAX if each.name == N8N.name else ODOO_CALLS_MAX for each in destinations}


@asynccontextmanager
async def _database(
    settings: DatabaseSettings, connections: int, name: str, passwords: Passwords | None = None
) -> AsyncIterator[Database]:
    timeout = settings.database.timeout
    engine = open_engine(
        settings.database_url.get_secret_value(),
        pool_size=connections,
        name=name,
        timeout=timeout,
        prepared_statements=settings.database.prepared_statements,
        passwords=passwords,
    )
    database = Database(engine, timeout)
    try:
        yield database
    finally:
        await database.close()


def _marks(settings: Settings) -> bool:
    return settings.marking.mode is not MarkingMode.OFF


def _examination(settings: Settings, check: ImageCheck) -> Examination:
    return Examination(check, _refuse_url(settings.image_urls), marks=_marks(settings))


def _marker(settings: Settings) -> Marker:
    marking = settings.marking
    return Marker(
        mode=marking.mode,
        certificate=marking.certificate,
        key=marking.key,
        timestamp_url=marking.timestamp_url,
        timeout=marking.timeout,
    )


def _mark(settings: Settings, marker: Marker, images: ImageStore, check: ImageCheck) -> Mark:
    marking = settings.marking
    return Mark(
        marker,
        images,
        check,
        marking.on_failure,
        CONCURRENCY,
        include_prompt=marking.include_prompt,
        include_user=marking.include_user,
        is_on=_marks(settings),
    )


def _refuse_url(image_urls: ImageUrlSettings) -> RefuseUrl:
    return partial(checked_url, allow_http=image_urls.allow_http, allowed_hosts=image_urls.allowed_hosts)


def _passwords(
    rotation: Rotation, fingerprints_of: Callable[[Settings], Fingerprints], url_of: Callable[[Settings], SecretStr]
) -> Passwords:
    passwords = Passwords(password_in(url_of(rotation.settings).get_secret_value()))

    async def use(settings: Settings) -> None:
        passwords.replace(password_in(url_of(settings).get_secret_value()))

    rotation.add(Part(fingerprints_of, use))
    return passwords


def _database_passwords(rotation: Rotation) -> Passwords:
    return _passwords(rotation, fingerprints.of_database, lambda settings: settings.database_url)


def _listener_passwords(rotation: Rotation) -> Passwords:
    """Returns the passwords of AIGEN_DATABASE__LISTEN_URL, which may name another role."""
    return _passwords(
        rotation, fingerprints.of_listener, lambda settings: settings.database.listen_url or settings.database_url
    )


def _oidc(rotation: Rotation) -> "OidcProvider | None":
    """Returns the provider at which people sign in to the console, if there is one."""
    settings, console = rotation.settings, rotation.settings.console
    if console.oidc_issuer is None or console.oidc_client_id is None:
        return None
    from aigen_bridge.clients.oidc import OidcProvider, Registration  # noqa: PLC0415 - takes 0.1 s, and few have one

    rotation.add(Part(fingerprints.of_console, read_from_settings))
    registration = Registration(
        issuer=console.oidc_issuer,
        client_id=console.oidc_client_id,
        redirect_uri=settings.console_url + OIDC_CALLBACK_PATH,
        scopes=console.oidc_scopes,
        groups_claim=console.oidc_groups_claim,
        name_claim=console.oidc_name_claim,
    )
    return OidcProvider(registration, lambda: rotation.settings.console.oidc_client_secret)


def _renewed_n8n(rotation: Rotation) -> RenewedWebhook:
    webhook = RenewedWebhook(_n8n(rotation.settings.n8n))
    rotation.add(Part(fingerprints.of_n8n, lambda settings: webhook.renew(_n8n(settings.n8n))))
    return webhook


def _renewed_odoo(rotation: Rotation, name: str) -> RenewedOdoo:
    odoo = RenewedOdoo(_odoo(name, rotation.settings))
    rotation.add(Part(partial(fingerprints.of_odoo, name), lambda settings: odoo.renew(_odoo(name, settings))))
    return odoo


def _odoo(name: str, settings: Settings) -> OdooClient:
    return OdooClient(odoo_transport(settings.all_odoos[name], odoo_destination(name).name))


def _renewed_fetcher(rotation: Rotation) -> ImageFetcher:
    fetcher = _fetcher(rotation.settings)

    async def use(_settings: Settings) -> None:
        fetcher.renew_trust()

    rotation.add(Part(fingerprints.of_authorities, use))
    return fetcher


def _fetcher(settings: Settings) -> ImageFetcher:
    image_urls = settings.image_urls
    return ImageFetcher(
        timeout=image_urls.timeout.total_seconds(),
        max_bytes=settings.callback.max_bytes,
        allow_http=image_urls.allow_http,
        allowed_hosts=image_urls.allowed_hosts,
        trusted_networks=image_urls.trusted_networks,
    )


def _n8n(n8n: N8nSettings) -> N8nWebhook:
    return N8nWebhook(
        n8n.webhook_url,
        n8n.api_key.get_secret_value(),
        timeout=n8n.timeout.total_seconds(),
        concurrency=n8n.concurrency,
        signing_keys=[secret_bytes(secret.get_secret_value()) for secret in n8n.all_signing_secrets],
    )
