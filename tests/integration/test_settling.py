"""What is recorded about an attempt: once, and by the worker that held the lease."""

import asyncio
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.errors import TransientError
from aigen_bridge.domain.outbox import Advance, Claim, Dead, Done, Fail, Outcome, Retry, Settlement
from aigen_bridge.domain.request import FailedBy, FailureCode, NewRequest, Status, Step, VersionedTransition
from aigen_bridge.domain.timeline import AttemptRecord
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.leases import CLAIM, CLAIMED, claim_parameters
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from outages import rows, write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
BROKEN = TransientError("http_500", "N8N answered 500.", http_status=500)
GIVEN_UP = Dead(BROKEN, Fail(FailureCode.DISPATCH_FAILED, "too late"))
TAKEN = Done(Advance(Status.DISPATCHED))


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, DEADLINES, PostgresImages(database))


@pytest.fixture
async def asked(database: Database) -> UUID:
    request_id = uuid4()
    requests = Requests(database, DEADLINES, PostgresImages(database))
    await requests.accept(NewRequest(request_id, uuid4(), make_event()))
    return request_id


async def claim(outbox: Outbox) -> Claim:
    [claimed] = await outbox.claim(Step.DISPATCH, limit=10, lease=timedelta(seconds=60), owner="test")
    return claimed


async def settle(outbox: Outbox, *settled: tuple[Claim, Outcome], seconds: int = 0) -> list[bool]:
    settlements = [Settlement(claimed, outcome, timedelta(seconds=seconds)) for claimed, outcome in settled]
    return [written is not None for written in await outbox.settle_all(settlements)]


async def attempts(database: Database) -> list[tuple[str, int]]:
    """The outcome and the number of every attempt that is recorded, in the order of their records."""
    return [(row[0], row[1]) for row in await rows(database, "SELECT outcome, number FROM attempts ORDER BY id")]


async def make_due(database: Database) -> None:
    await write(database, "UPDATE outbox SET due_at = now() - interval '1 s' WHERE state = 'pending'")


def retry(claimed: Claim) -> Retry:
    return Retry(claimed.claimed_at + timedelta(minutes=5), BROKEN)


async def test_giving_back_what_was_settled_a_moment_ago_keeps_its_wait_and_its_count(
    asked: UUID, outbox: Outbox, database: Database
) -> None:
    """A worker that is stopped while it settles gives back what it may have settled already."""
    first = await claim(outbox)
    await settle(outbox, (first, retry(first)))
    await outbox.release([first])
    due = (await outbox.next_due(Step.DISPATCH)).after
    await make_due(database)

    assert due is not None
    assert due > timedelta(minutes=4)
    assert (await claim(outbox)).attempt == 2


@pytest.mark.parametrize("outcome", [TAKEN, GIVEN_UP, None], ids=["done", "dead", "retry"])
async def test_a_try_is_recorded_once_when_it_is_settled_again(
    asked: UUID, outbox: Outbox, database: Database, outcome: Outcome | None
) -> None:
    """The answer to a commit may be lost; the worker then settles once more."""
    held = await claim(outbox)
    ended = outcome or retry(held)

    assert await settle(outbox, (held, ended)) == [True]
    assert await settle(outbox, (held, ended)) == [False]
    tries = [entry for entry in await Timelines(database).read(asked) if isinstance(entry, AttemptRecord)]
    assert [t.number for t in tries] == [1]


@pytest.mark.parametrize("stale_at", [0, 1])
async def test_a_stale_claim_has_no_effect_beside_the_current_one_in_the_same_commit(
    asked: UUID, outbox: Outbox, database: Database, stale_at: int
) -> None:
    """A worker that was paused takes its own entry again, and both of its tries end at once."""
    stale = await claim(outbox)
    await make_due(database)
    current = await claim(outbox)
    settled: list[tuple[Claim, Outcome]] = [(current, TAKEN)]
    settled.insert(stale_at, (stale, GIVEN_UP))
    answers = await settle(outbox, *settled)

    entries = await rows(database, "SELECT step, state FROM outbox")
    found = await Requests(database, DEADLINES, PostgresImages(database)).get(asked)
    assert answers == [place != stale_at for place in range(2)]
    assert entries == [("dispatch", "done")]
    assert found is not None
    assert (found.status, found.version) == (Status.DISPATCHED, 2)


async def test_a_settlement_that_is_sent_again_with_another_duration_is_recorded_once(
    asked: UUID, outbox: Outbox, database: Database
) -> None:
    held = await claim(outbox)

    assert await settle(outbox, (held, TAKEN), seconds=1) == [True]
    assert await settle(outbox, (held, TAKEN), seconds=2) == [False]
    took = "SELECT round(extract(epoch FROM finished_at - started_at)) FROM attempts"
    assert await rows(database, took) == [(1,)]


async def test_of_two_settlements_of_one_claim_in_a_commit_the_first_counts_and_each_caller_gets_his_answer(
    asked: UUID, outbox: Outbox, database: Database
) -> None:
    await Requests(database, DEADLINES, PostgresImages(database)).accept(NewRequest(uuid4(), uuid4(), make_event()))
    one, other = await outbox.claim(Step.DISPATCH, limit=10, lease=timedelta(seconds=60), owner="test")
    settled = [(one, TAKEN), (one, GIVEN_UP), (other, retry(other))]
    answers = await outbox.settle_all([Settlement(held, outcome, timedelta(0)) for held, outcome in settled])

    assert answers == [TAKEN, TAKEN, retry(other)]
    assert sorted(await attempts(database)) == [("done", 1), ("retry", 1)]
    assert await rows(database, "SELECT status, version FROM requests ORDER BY version") == [
        ("queued", 1),
        ("dispatched", 2),
    ]


@pytest.mark.parametrize("first", [True, False], ids=["callback first", "settled first"])
async def test_an_attempt_is_recorded_once_beside_a_callback_that_ends_the_request(
    asked: UUID, outbox: Outbox, database: Database, *, first: bool
) -> None:
    held = await claim(outbox)
    if first:
        await callback(database, asked, Status.QUEUED, 1)
        assert await settle(outbox, (held, TAKEN), seconds=1) == [False]
    else:
        assert await settle(outbox, (held, TAKEN), seconds=1) == [True]
        await callback(database, asked, Status.DISPATCHED, 2)
    assert await settle(outbox, (held, TAKEN), seconds=2) == [False]

    assert await attempts(database) == [("done", 1)]
    assert await rows(database, "SELECT status, version FROM requests") == [("failed", 2 if first else 3)]


@pytest.mark.parametrize("outcome", [TAKEN, GIVEN_UP], ids=["done", "dead"])
async def test_a_worker_that_lost_its_lease_records_nothing_and_the_lost_lease_is_recorded_once(
    asked: UUID, outbox: Outbox, database: Database, outcome: Outcome
) -> None:
    late = await claim(outbox)
    await make_due(database)
    current = await claim(outbox)

    assert await settle(outbox, (late, outcome)) == [False]
    assert await settle(outbox, (late, outcome), seconds=1) == [False]
    assert await settle(outbox, (current, TAKEN)) == [True]
    assert await settle(outbox, (late, outcome), seconds=2) == [False]
    assert await attempts(database) == [("lost", 1), ("done", 2)]


async def test_a_settlement_that_waits_for_the_claim_of_another_worker_records_nothing(
    asked: UUID, outbox: Outbox, database: Database
) -> None:
    """The lease ends while the settlement is on its way."""
    late = await claim(outbox)
    await make_due(database)
    async with database.transaction() as connection:
        parameters = claim_parameters((Step.DISPATCH,), 10, timedelta(seconds=60), "other")
        await connection.execute(text(f"{CLAIM} SELECT {CLAIMED} FROM claimed AS c"), parameters)  # noqa: S608 - constants
        settling = asyncio.create_task(settle(outbox, (late, TAKEN)))
        await somebody_waits(database)

    assert await settling == [False]
    assert await attempts(database) == [("lost", 1)]
    assert await rows(database, "SELECT status, version FROM requests") == [("queued", 1)]


async def test_an_attempt_that_an_older_version_recorded_without_a_fence_does_not_disturb(
    asked: UUID, outbox: Outbox, database: Database
) -> None:
    """Two of them even: NULL is distinct from NULL."""
    first = await claim(outbox)
    await settle(outbox, (first, retry(first)))
    await write(database, "UPDATE attempts SET fence = NULL")
    await make_due(database)
    second = await claim(outbox)
    await settle(outbox, (second, retry(second)))
    await write(database, "UPDATE attempts SET fence = NULL")
    await make_due(database)
    third = await claim(outbox)

    assert await settle(outbox, (third, TAKEN)) == [True]
    assert await settle(outbox, (third, TAKEN), seconds=1) == [False]
    assert await attempts(database) == [("retry", 1), ("retry", 2), ("done", 3)]


async def callback(database: Database, request_id: UUID, status: Status, version: int) -> None:
    """As when N8N reports a failure."""
    failed = VersionedTransition(
        request_id=request_id,
        version=version,
        before=frozenset({status}),
        after=Status.FAILED,
        failed_by=FailedBy.N8N,
        error_message="The prompt was flagged.",
    )
    assert await Requests(database, DEADLINES, PostgresImages(database)).apply_versioned(failed)


async def somebody_waits(database: Database) -> None:
    """Waits until a transaction waits for a lock."""
    query = "SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with asyncio.timeout(10):
        while not await rows(database, query):
            await asyncio.sleep(0.01)
