"""Settings → the parts. Opens and closes them; knows every room, so that the rooms need not know each other."""

from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from aigen_bridge.clients.n8n import N8nWebhook
from aigen_bridge.clients.odoo import OdooClient
from aigen_bridge.domain.request import ImageRequest
from aigen_bridge.domain.retry import Policy
from aigen_bridge.pipeline.deliver import Deliver
from aigen_bridge.pipeline.dispatch import WAITS, Dispatch
from aigen_bridge.pipeline.step import StepRunner
from aigen_bridge.settings import Settings
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.group_commit import GroupCommit
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import NewRequest, Requests
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.wakeup import listen

GROUP_MAX = 100
"""Requests accepted in one commit at most."""
API_CONNECTIONS, WORKER_CONNECTIONS = 10, 6


@dataclass(frozen=True, slots=True)
class ApiParts:
    """What the endpoints work with."""

    settings: Settings
    database: Database
    requests: Requests
    timelines: Timelines
    accept: GroupCommit[NewRequest, tuple[ImageRequest, bool]]


@dataclass(frozen=True, slots=True)
class WorkerParts:
    """What the worker works with. `listen` calls its argument for every new outbox entry, until cancelled."""

    settings: Settings
    outbox: Outbox
    runners: Sequence[StepRunner]
    listen: Callable[[Callable[[str], None]], Coroutine[None, None, None]]


@asynccontextmanager
async def open_api(settings: Settings) -> AsyncIterator[ApiParts]:
    """The parts of one API process. No connection is made before it is needed."""
    async with _database(settings, API_CONNECTIONS, "aigen-bridge api") as database:
        requests = Requests(database, deadline=settings.callback.deadline)
        accept = GroupCommit(requests.accept, most=GROUP_MAX)
        yield ApiParts(settings, database, requests, Timelines(database), accept)


@asynccontextmanager
async def open_worker(settings: Settings) -> AsyncIterator[WorkerParts]:
    """The parts of one worker process."""
    async with (
        _database(settings, WORKER_CONNECTIONS, "aigen-bridge worker") as database,
        _n8n(settings) as webhook,
        _odoo(settings) as odoo,
    ):
        deadline = settings.callback.deadline
        dispatch = Dispatch(
            webhook,
            settings.callback_url,
            concurrency=settings.n8n.concurrency,
            policy=Policy(WAITS, jitter=settings.n8n.retry_jitter),
        )
        deliver = Deliver(odoo, Requests(database, deadline=deadline), concurrency=settings.odoo.concurrency)
        url = settings.database_url.get_secret_value()
        yield WorkerParts(settings, Outbox(database, deadline=deadline), (dispatch, deliver), partial(listen, url))


@asynccontextmanager
async def _database(settings: Settings, connections: int, name: str) -> AsyncIterator[Database]:
    url = settings.database_url.get_secret_value()
    database = Database(open_engine(url, pool_size=connections, name=name))
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def _n8n(settings: Settings) -> AsyncIterator[N8nWebhook]:
    n8n = settings.n8n
    webhook = N8nWebhook(
        n8n.webhook_url,
        n8n.api_key.get_secret_value(),
        timeout=n8n.timeout.total_seconds(),
        concurrency=n8n.concurrency,
    )
    try:
        yield webhook
    finally:
        await webhook.close()


@asynccontextmanager
async def _odoo(settings: Settings) -> AsyncIterator[OdooClient]:
    odoo = settings.odoo
    client = OdooClient(
        odoo.url,
        database=odoo.database,
        login=odoo.login,
        api_key=odoo.api_key.get_secret_value(),
        timeout=odoo.timeout.total_seconds(),
        concurrency=odoo.concurrency,
    )
    try:
        yield client
    finally:
        client.close()
