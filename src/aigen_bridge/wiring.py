"""Settings → the parts. Opens and closes them; knows every room, so that the rooms need not know each other."""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from functools import partial

from aigen_bridge.clients.images import ImageFetcher
from aigen_bridge.clients.n8n import N8nWebhook
from aigen_bridge.clients.notify import Notifier
from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.domain.address import checked_url
from aigen_bridge.domain.destination import Gate
from aigen_bridge.domain.request import ImageRequest, Step
from aigen_bridge.domain.retry import Policy
from aigen_bridge.domain.signature import secret_bytes
from aigen_bridge.pipeline.alert import Alert
from aigen_bridge.pipeline.callback import Examination, RefuseUrl
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.pipeline.deliver import Deliver
from aigen_bridge.pipeline.dispatch import WAITS, Dispatch
from aigen_bridge.pipeline.fetch import Fetch
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.settings import DatabaseSettings, PurgeSettings, Settings
from aigen_bridge.settings.sections import ImageUrlSettings, N8nSettings, OdooSettings
from aigen_bridge.store.alerts import AlertClaim, Alerts
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.dead_letters import DeadLetters
from aigen_bridge.store.destinations import Destinations
from aigen_bridge.store.executions import Executions
from aigen_bridge.store.gathered import GatheredRequests
from aigen_bridge.store.group_commit import GroupCommit
from aigen_bridge.store.leases import Claim
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.quarantine import Quarantine
from aigen_bridge.store.requests import NewRequest, Requests
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.wakeup import listen

GROUP_MAX = 100
"""Requests accepted in one commit at most."""
CALLBACKS_IN_HAND, LARGE_CALLBACKS_IN_HAND = 4, 2
"""Callbacks with an image that are parsed, checked and written at once in one process; the others wait with what they
read. In hand, one takes about four times the size of its image."""
API_CONNECTIONS, WORKER_CONNECTIONS = 10, 6


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the endpoints work with. `in_hand` and `large_in_hand` bound the memory that callbacks take."""

    settings: Settings
    database: Database
    requests: Requests
    timelines: Timelines
    quarantine: Quarantine
    executions: Executions
    destinations: Destinations
    dead_letters: DeadLetters
    operations: Operations
    accept: GroupCommit[NewRequest, tuple[ImageRequest, bool]]
    callbacks: GatheredRequests
    examine: Examination
    in_hand: asyncio.Semaphore
    large_in_hand: asyncio.Semaphore


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the worker works with. `listen` calls its argument for every new outbox entry, until cancelled."""

    settings: Settings
    outbox: Outbox
    sweeps: Sweeps
    alerts: Alerts
    retention: Retention
    runners: Sequence[StepRunner[Claim]]
    alert: StepRunner[AlertClaim]
    listen: Callable[[Callable[[str], None]], Coroutine[None, None, None]]


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[ApiParts]:
    """The parts of one API process. No connection is made before it is needed."""
    name = f"aigen-bridge api {os.getpid()}"  # so that one sees how many there are
    async with _database(settings, API_CONNECTIONS, name) as database:
        requests = Requests(database, _deadlines(settings))
        with closing(ImageCheck()) as check:
            yield ApiParts(
                settings=settings,
                database=database,
                requests=requests,
                timelines=Timelines(database),
                quarantine=Quarantine(database, _deadlines(settings)),
                executions=Executions(database, _deadlines(settings)),
                destinations=Destinations(database, _gates(settings)),
                dead_letters=DeadLetters(database),
                operations=Operations(database, _deadlines(settings)),
                accept=GroupCommit(requests.accept, most=GROUP_MAX, patience=settings.database.timeout),
                callbacks=GatheredRequests(requests, settings.database.timeout),
                examine=Examination(check, _refuse_url(settings.image_urls)),
                in_hand=asyncio.Semaphore(CALLBACKS_IN_HAND),
                large_in_hand=asyncio.Semaphore(LARGE_CALLBACKS_IN_HAND),
            )


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[WorkerParts]:
    """The parts of one worker process."""
    async with AsyncExitStack() as opened:
        name = "aigen-bridge worker"
        database = await opened.enter_async_context(_database(settings, WORKER_CONNECTIONS, name))
        webhook, odoo, fetcher = _n8n(settings.n8n), _odoo(settings.odoo), _fetcher(settings)
        opened.push_async_callback(webhook.close)
        opened.push_async_callback(fetcher.close)
        opened.callback(odoo.close)
        check = opened.enter_context(closing(ImageCheck()))
        deadlines = _deadlines(settings)
        policy = Policy(WAITS, jitter=settings.n8n.retry_jitter)
        runners = (
            Dispatch(webhook, settings.callback_url, settings.n8n.concurrency, policy),
            Fetch(fetcher, check, settings.image_urls.concurrency),
            Deliver(odoo, Requests(database, deadlines), settings.odoo.concurrency),
        )
        url = settings.database_url.get_secret_value()
        yield WorkerParts(
            settings=settings,
            outbox=Outbox(database, deadlines, _gates(settings)),
            sweeps=Sweeps(database, deadlines),
            alerts=Alerts(database, settings.alerts.window),
            retention=Retention(database),
            runners=runners,
            alert=Alert(Notifier(settings.alerts.urls), settings.public_url),
            listen=partial(listen, url, patience=settings.database.timeout),
        )


@asynccontextmanager
async def open_retention(settings: PurgeSettings) -> AsyncIterator[Retention]:
    """The purging alone, for the command."""
    async with _database(settings, 1, "aigen-bridge purge") as database:
        yield Retention(database)


def _deadlines(settings: Settings) -> Deadlines:
    return Deadlines(
        callback=settings.callback.deadline,
        image_url=settings.image_urls.lifetime,
        digest=settings.alerts.window,
    )


def _gates(settings: Settings) -> dict[Step, Gate]:
    odoo = settings.odoo
    return {
        Step.DISPATCH: Gate(**dict(settings.n8n.breaker)),
        Step.DELIVER: Gate(**dict(odoo.breaker), at_once=odoo.concurrency, slow_after=odoo.slow_after),
    }


@asynccontextmanager
async def _database(settings: DatabaseSettings, connections: int, name: str) -> AsyncIterator[Database]:
    url, timeout = settings.database_url.get_secret_value(), settings.database.timeout
    database = Database(open_engine(url, pool_size=connections, name=name, timeout=timeout), timeout)
    try:
        yield database
    finally:
        await database.close()


def _refuse_url(image_urls: ImageUrlSettings) -> RefuseUrl:
    return partial(checked_url, allow_http=image_urls.allow_http, allowed_hosts=image_urls.allowed_hosts)


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
    secrets = [n8n.signing_secret.get_secret_value()] if n8n.signing_secret else []
    return N8nWebhook(
        n8n.webhook_url,
        n8n.api_key.get_secret_value(),
        timeout=n8n.timeout.total_seconds(),
        concurrency=n8n.concurrency,
        signing_keys=[secret_bytes(secret) for secret in secrets],
    )


def _odoo(odoo: OdooSettings) -> OdooClient:
    return OdooClient(
        odoo.url,
        database=odoo.database,
        login=odoo.login,
        api_key=odoo.api_key.get_secret_value(),
        timeout=odoo.timeout.total_seconds(),
        concurrency=odoo.concurrency,
    )
