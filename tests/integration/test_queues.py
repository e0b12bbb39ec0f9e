"""The queues of the Odoos: whichever version enqueues an entry, it gets into the queue of its request's Odoo."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.delivery import Lift
from aigen_bridge.domain.request import FailedBy, FailureCode, NewRequest, Status, Step, Transition
from aigen_bridge.store import transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
ENQUEUE = text("INSERT INTO outbox (request_id, step) VALUES (:request_id, :step) ON CONFLICT DO NOTHING")
"""As the reconciliation of a version that knows one Odoo does it."""


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


async def accept(requests: Requests, odoo: str) -> UUID:
    new = NewRequest(uuid4(), uuid4(), make_event(), odoo=odoo)
    await requests.accept(new)
    return new.request_id


async def entries(database: Database, request_id: UUID) -> list[tuple[str, str]]:
    query = text("SELECT step, state FROM outbox WHERE request_id = :request_id ORDER BY id")
    async with database.reading() as connection:
        return [tuple(row) for row in await connection.execute(query, {"request_id": request_id})]


async def run(database: Database, statement: Any, **parameters: Any) -> None:
    async with database.transaction() as connection:
        await connection.execute(statement, parameters)


@pytest.mark.parametrize(
    ("odoo", "queues"), [("default", ["dispatch", "deliver"]), ("north", ["dispatch:north", "deliver:north"])]
)
async def test_a_request_is_dispatched_and_delivered_by_the_queues_of_its_odoo(
    requests: Requests, database: Database, odoo: str, queues: list[str]
) -> None:
    request_id = await accept(requests, odoo)
    cancelled = Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    assert await requests.apply(cancelled)

    assert await entries(database, request_id) == [(queues[0], "cancelled"), (queues[1], "pending")]


@pytest.mark.parametrize("state", ["pending", "dead", "cancelled"])
async def test_a_version_that_knows_one_odoo_enqueues_nothing_again(
    requests: Requests, database: Database, state: str
) -> None:
    request_id = await accept(requests, "north")
    ended = text("UPDATE outbox SET state = :state, finished_at = CASE WHEN :state <> 'pending' THEN now() END")
    await run(database, ended, state=state)

    await run(database, ENQUEUE, request_id=request_id, step=Step.DISPATCH.value)

    assert await entries(database, request_id) == [("dispatch:north", state)]


@pytest.mark.parametrize(("odoo", "queue"), [("default", "deliver"), ("north", "deliver:north")])
async def test_a_failure_is_delivered_though_earlier_news_could_not_be(
    requests: Requests, database: Database, odoo: str, queue: str
) -> None:
    request_id = await accept(requests, odoo)
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        await locked.lift([Lift(request_id, 100, "restored")], DEADLINES)
    gave_up = text("UPDATE outbox SET state = 'dead', finished_at = now() WHERE step = :queue")
    await run(database, gave_up, queue=queue)
    failed = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.DISPATCH_FAILED,
    )
    assert await requests.apply(failed)

    assert (await entries(database, request_id))[1:] == [(queue, "dead"), (queue, "pending")]


async def test_an_entry_that_is_missing_is_enqueued_in_the_queue_of_its_odoo(
    requests: Requests, database: Database
) -> None:
    request_id = await accept(requests, "north")
    await run(database, text("DELETE FROM outbox"))

    await run(database, ENQUEUE, request_id=request_id, step=Step.DELIVER.value)

    assert await entries(database, request_id) == [("deliver:north", "pending")]
