"""Claims, leases, fences: nothing is worked on by two, nothing late is written down."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.outbox import Advance, Claim, Dead, Delivered, Done, Fail, Outcome, Retry, Settlement
from aigen_bridge.domain.request import FailedBy, FailureCode, NewRequest, Status, Step, Transition
from aigen_bridge.domain.timeline import AttemptRecord
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
LEASE = timedelta(seconds=60)
BROKEN = TransientError("http_500", "N8N answered 500.", http_status=500)


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, DEADLINES, PostgresImages(database))


async def accept(requests: Requests, count: int = 1) -> list[UUID]:
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(count)]
    await requests.accept_all(wanted)
    return [new.request_id for new in wanted]


async def claim(
    outbox: Outbox, step: Step = Step.DISPATCH, *, limit: int = 10, lease: timedelta = LEASE
) -> list[Claim]:
    return await outbox.claim(step, limit=limit, lease=lease, owner="test")


async def settle(outbox: Outbox, claimed: Claim, outcome: Outcome) -> bool:
    [written] = await outbox.settle_all([Settlement(claimed, outcome, timedelta(milliseconds=5))])
    return written is not None


async def let_leases_end(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE outbox SET due_at = now() - interval '1 s' WHERE state = 'pending'"))


async def test_two_workers_never_claim_the_same_entry(requests: Requests, outbox: Outbox) -> None:
    await accept(requests, 40)
    hands = await asyncio.gather(*(claim(outbox, limit=7) for _ in range(8)))

    ids = [c.entry_id for hand in hands for c in hand]
    assert len(ids) == len(set(ids)) == 40


async def test_a_claimed_entry_is_not_due_before_its_lease_ends(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    await accept(requests)
    [first] = await claim(outbox)
    assert await claim(outbox) == []
    await let_leases_end(database)
    [second] = await claim(outbox)

    assert (first.attempt, second.attempt) == (1, 2)
    assert second.fence > first.fence


async def test_a_lost_lease_stands_in_the_timeline_as_an_attempt(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    [request_id] = await accept(requests)
    await claim(outbox)
    await let_leases_end(database)
    [second] = await claim(outbox)
    await settle(outbox, second, Done(Advance(Status.DISPATCHED)))

    tries = [e for e in await Timelines(database).read(request_id) if isinstance(e, AttemptRecord)]
    assert [(t.number, t.outcome) for t in tries] == [(1, "lost"), (2, "done")]


async def test_a_worker_that_lost_its_lease_cannot_settle(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    [request_id] = await accept(requests)
    [late] = await claim(outbox)
    await let_leases_end(database)
    [current] = await claim(outbox)

    assert not await settle(outbox, late, Dead(BROKEN, Fail(FailureCode.DISPATCH_FAILED, "too late")))
    assert await settle(outbox, current, Done(Advance(Status.DISPATCHED)))
    found = await requests.get(request_id)
    assert found is not None
    assert (found.status, found.version) == (Status.DISPATCHED, 2)


async def test_settling_twice_changes_nothing(requests: Requests, outbox: Outbox, database: Database) -> None:
    """As a worker does whose commit was done and whose connection broke before it heard of it."""
    [request_id] = await accept(requests)
    [held] = await claim(outbox)

    assert await settle(outbox, held, Done(Advance(Status.DISPATCHED)))
    assert not await settle(outbox, held, Done(Advance(Status.DISPATCHED)))
    found = await requests.get(request_id)
    assert found is not None
    assert found.version == 2
    assert [e.number for e in await Timelines(database).read(request_id) if isinstance(e, AttemptRecord)] == [1]


async def test_a_late_dispatch_answer_does_not_undo_a_callback(requests: Requests, outbox: Outbox) -> None:
    [request_id] = await accept(requests)
    [held] = await claim(outbox)
    failed = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.N8N,
        error_message="no",
    )
    await requests.apply(failed)

    assert not await settle(outbox, held, Done(Advance(Status.DISPATCHED)))
    found = await requests.get(request_id)
    assert found is not None
    assert (found.status, found.version) == (Status.FAILED, 2)


async def test_giving_up_fails_the_request_and_owes_odoo_the_news(requests: Requests, outbox: Outbox) -> None:
    [request_id] = await accept(requests)
    [held] = await claim(outbox)
    refused = PermanentError("http_403", "N8N answered 403.", http_status=403)
    await settle(outbox, held, Dead(refused, Fail(FailureCode.DISPATCH_FAILED, "no")))

    found = await requests.get(request_id)
    [claimed] = await claim(outbox, Step.DELIVER)
    assert found is not None
    assert (found.status, found.failed_by, found.error_code) == (Status.FAILED, FailedBy.BRIDGE, "dispatch_failed")
    assert claimed.request.request_id == request_id


async def test_a_retry_is_due_at_its_time_and_not_before(requests: Requests, outbox: Outbox) -> None:
    await accept(requests)
    [held] = await claim(outbox)
    await settle(outbox, held, Retry(datetime.now(UTC) + timedelta(seconds=30), BROKEN))

    due = (await outbox.next_due(Step.DISPATCH)).after
    assert await claim(outbox) == []
    assert due is not None
    assert timedelta(seconds=28) < due <= timedelta(seconds=30)


async def test_nothing_pending_is_not_due(requests: Requests, outbox: Outbox) -> None:
    assert (await outbox.next_due(Step.DISPATCH)).after is None
    await accept(requests)
    assert (await outbox.next_due(Step.DELIVER)).after is None


async def test_what_is_given_back_is_due_at_once_and_not_counted(requests: Requests, outbox: Outbox) -> None:
    await accept(requests)
    [held] = await claim(outbox)
    await outbox.release([held])
    [again] = await claim(outbox)

    assert again.attempt == 1
    assert not await settle(outbox, held, Done(None))


async def test_delivered_counts_only_for_the_version_that_was_delivered(requests: Requests, outbox: Outbox) -> None:
    [request_id] = await accept(requests)
    cancel = Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    await requests.apply(cancel)
    [held] = await claim(outbox, Step.DELIVER)
    await settle(outbox, held, Done(Delivered(version=1)))

    found = await requests.get(request_id)
    assert found is not None
    assert found.delivered_at is None


async def test_a_new_state_supersedes_what_is_still_owed_for_the_old_one(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    [request_id] = await accept(requests)
    ours = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code="timed_out",
    )
    await requests.apply(ours)
    again = Transition(request_id=request_id, before=frozenset({Status.FAILED}), after=Status.QUEUED)
    await requests.apply(again)

    async with database.reading() as connection:
        rows = (
            await connection.execute(text("SELECT step, state FROM outbox WHERE step <> 'alert' ORDER BY id"))
        ).all()
    assert [tuple(row) for row in rows] == [
        ("dispatch", "superseded"),
        ("deliver", "superseded"),
        ("dispatch", "pending"),
    ]


async def test_the_time_of_what_is_owed_later_begins_later(requests: Requests, database: Database) -> None:
    """A bulk replay spreads entries over hours; none may be given up for its age before its first try."""
    [request_id] = await accept(requests)
    away = Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    await requests.apply(replace(away, delay=timedelta(hours=3)))

    async with database.reading() as connection:
        query = text(
            "SELECT created_at = due_at, due_at - now() > interval '2 hours' FROM outbox WHERE step = 'deliver'"
        )
        assert tuple((await connection.execute(query)).one()) == (True, True)


async def test_a_failure_of_n8n_is_final_whatever_a_change_says(requests: Requests) -> None:
    [request_id] = await accept(requests)
    theirs = Transition(
        request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.FAILED, failed_by=FailedBy.N8N
    )
    await requests.apply(theirs)
    again = Transition(request_id=request_id, before=frozenset({Status.FAILED}), after=Status.QUEUED)

    assert not await requests.apply(again)


async def test_many_claims_are_settled_in_one_commit(requests: Requests, outbox: Outbox, database: Database) -> None:
    await accept(requests, 50)
    claims = await claim(outbox, limit=50)
    outcomes = [Done(Advance(Status.DISPATCHED)), Retry(datetime.now(UTC), BROKEN)]
    settlements = [Settlement(c, outcomes[n % 2], timedelta(0)) for n, c in enumerate(claims)]

    assert all(await outbox.settle_all(settlements))
    async with database.reading() as connection:
        commits = text("SELECT count(DISTINCT xmin::text) FROM attempts")
        assert await connection.scalar(commits) == 1


@pytest.mark.parametrize(
    ("statement", "violated"),
    [
        ("UPDATE requests SET status = 'lost'", '"requests_status_check"'),
        ("UPDATE requests SET status = 'completed', completed_at = now()", '"requests_completed_check"'),
        ("UPDATE requests SET status = 'cancelled'", '"requests_ended_check"'),
        ("UPDATE requests SET status = 'failed', completed_at = now()", '"requests_failed_check"'),
        ("UPDATE outbox SET state = 'done'", '"outbox_finished_check"'),
        ("UPDATE outbox SET step = 'guess'", '"outbox_step_check"'),
        ("INSERT INTO outbox (request_id, step) SELECT request_id, 'dispatch' FROM requests", '"outbox_live_idx"'),
        ("UPDATE requests SET version = NULL", 'null value in column "version"'),
    ],
)
async def test_the_database_refuses_states_that_cannot_be(
    requests: Requests, database: Database, statement: str, violated: str
) -> None:
    await accept(requests)
    with pytest.raises(IntegrityError, match=violated):
        async with database.transaction() as connection:
            await connection.exec_driver_sql(statement)


async def test_a_stale_claim_cannot_hold_on_to_what_another_worker_has(
    requests: Requests, outbox: Outbox, database: Database
) -> None:
    await accept(requests)
    [stale] = await claim(outbox)
    await let_leases_end(database)
    [current] = await claim(outbox)

    async def due_at() -> object:
        async with database.reading() as connection:
            return await connection.scalar(text("SELECT due_at FROM outbox WHERE step = 'dispatch'"))

    before = await due_at()
    await outbox.extend([stale], timedelta(hours=1))
    assert await due_at() == before
    await outbox.extend([current], timedelta(hours=1))
    assert await due_at() != before
