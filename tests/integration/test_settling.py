"""What is written down about a try: once, and by the one whose turn it was."""

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.errors import TransientError
from aigen_bridge.domain.outbox import Claim, Settlement
from aigen_bridge.domain.outcome import Advance, Dead, Done, Fail, Outcome, Retry
from aigen_bridge.domain.request import FailureCode, NewRequest, Status, Step
from aigen_bridge.domain.timeline import AttemptRecord
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
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


async def settle(outbox: Outbox, *settled: tuple[Claim, Outcome]) -> list[bool]:
    settlements = [Settlement(claimed, outcome, timedelta(0)) for claimed, outcome in settled]
    return [written is not None for written in await outbox.settle_all(settlements)]


async def make_due(database: Database) -> None:
    async with database.transaction() as connection:
        await connection.execute(text("UPDATE outbox SET due_at = now() - interval '1 s' WHERE state = 'pending'"))


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

    async with database.reading() as connection:
        entries = (await connection.execute(text("SELECT step, state FROM outbox"))).all()
    found = await Requests(database, DEADLINES, PostgresImages(database)).get(asked)
    assert answers == [place != stale_at for place in range(2)]
    assert [tuple(entry) for entry in entries] == [("dispatch", "done")]
    assert found is not None
    assert (found.status, found.version) == (Status.DISPATCHED, 2)
