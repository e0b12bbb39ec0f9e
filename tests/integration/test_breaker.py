"""An outage of a destination is one event: its entries are held, and are sent by themselves afterwards."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from aigen_bridge.domain.destination import N8N, BreakerConfig
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.outbox import Advance, Claim, Dead, Done, Fail, Held, Outcome, Retry, Settlement
from aigen_bridge.domain.request import FailureCode, NewRequest, Status, Step
from aigen_bridge.store.database import Database
from aigen_bridge.store.destinations import Destinations
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from outages import rows, write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
CONFIG = BreakerConfig(failures=5, probe_every=timedelta(seconds=60), hold=timedelta(minutes=10))
AWAY = Retry(datetime.now(UTC), TransientError("http_503", "N8N answered 503.", http_status=503))
REFUSED = PermanentError("http_403", "no")
OPEN = "UPDATE destinations SET failures = 5, opened_at = now(), probe_at = now() WHERE name = 'n8n'"
PROBE_DUE = "UPDATE destinations SET probe_at = now() WHERE name = 'n8n'"
ATTEMPTS = "SELECT attempts FROM outbox WHERE step = 'dispatch' ORDER BY id"


@pytest.fixture
def workers(database: Database) -> list[Outbox]:
    """The outbox as several workers have it."""
    return [Outbox(database, DEADLINES, PostgresImages(database), {N8N: CONFIG}) for _ in range(6)]


async def accept(database: Database, count: int) -> None:
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(count)]
    await Requests(database, DEADLINES, PostgresImages(database)).accept_all(wanted)


async def claim(outbox: Outbox, limit: int = 100) -> list[Claim]:
    return await outbox.claim(Step.DISPATCH, limit=limit, lease=timedelta(seconds=60), owner="test")


async def settle(outbox: Outbox, outcome: Outcome, *claims: Claim) -> list[Outcome | None]:
    return await outbox.settle_all([Settlement(c, outcome, timedelta(0)) for c in claims])


async def test_many_failures_at_once_over_two_workers_open_it_once(database: Database, workers: list[Outbox]) -> None:
    await accept(database, 40)
    one, two = workers[:2]
    hands = await claim(one, 20), await claim(two, 20)
    settled = await asyncio.gather(
        *(settle(outbox, AWAY, c) for outbox, hand in zip((one, two), hands, strict=True) for c in hand)
    )

    ended = [outcome for [outcome] in settled]
    assert sum(isinstance(outcome, Retry) for outcome in ended) == 5  # these opened it
    assert sum(isinstance(outcome, Held) for outcome in ended) == 35
    assert await rows(database, "SELECT cause, times FROM incidents") == [("n8n_down", 1)]
    assert await rows(database, "SELECT count(*) FROM outbox WHERE step = 'alert'") == [(1,)]


async def test_a_held_try_costs_no_attempt_and_stands_in_the_timeline(
    database: Database, workers: list[Outbox]
) -> None:
    await accept(database, 1)
    await write(database, OPEN)
    for _ in range(6):  # more than the tries that it has
        [probe] = await claim(workers[0])
        [outcome] = await settle(workers[0], AWAY, probe)
        assert isinstance(outcome, Held)
        await write(database, PROBE_DUE)

    assert await rows(database, ATTEMPTS) == [(0,)]
    assert await rows(database, "SELECT outcome, count(*) FROM attempts GROUP BY outcome") == [("held", 6)]


async def test_of_all_workers_one_gets_one_probe(database: Database, workers: list[Outbox]) -> None:
    await accept(database, 30)
    await write(database, OPEN)
    for _ in range(3):
        hands = await asyncio.gather(*(claim(outbox) for outbox in workers))
        [probe] = [c for hand in hands for c in hand]
        assert [await claim(outbox) for outbox in workers] == [[]] * len(workers)
        await settle(workers[0], AWAY, probe)
        await write(database, PROBE_DUE)


async def test_workers_that_got_nothing_sleep_until_the_next_probe(database: Database, workers: list[Outbox]) -> None:
    await accept(database, 2)
    await write(database, OPEN)
    await claim(workers[0])
    pause = (await workers[1].next_due(Step.DISPATCH)).after

    assert pause is not None
    assert timedelta(seconds=50) < pause <= CONFIG.probe_every


async def test_an_entry_that_always_fails_does_not_keep_the_others_from_being_tried(
    database: Database, workers: list[Outbox]
) -> None:
    await accept(database, 3)
    await write(database, OPEN)
    probed = []
    for _ in range(6):
        [probe] = await claim(workers[0])
        probed.append(probe.entry_id)
        await settle(workers[0], AWAY, probe)
        await write(database, PROBE_DUE)

    assert len(set(probed[:3])) == 3
    assert probed[3:] == probed[:3]


@pytest.mark.parametrize(
    "outcome", [Done(Advance(Status.DISPATCHED)), Dead(REFUSED, Fail(FailureCode.DISPATCH_FAILED, "no"))]
)
async def test_one_success_closes_it_and_a_refusal_does_not(
    database: Database, workers: list[Outbox], outcome: Outcome
) -> None:
    await accept(database, 3)
    await write(database, OPEN)
    [probe] = await claim(workers[0])
    await settle(workers[0], outcome, probe)
    n8n = next(s for s in await Destinations(database).states() if s.destination.name == "n8n")

    closed = isinstance(outcome, Done)
    assert (n8n.opened_at is None) is closed
    assert len(await claim(workers[1])) == (2 if closed else 0)


async def test_one_success_closes_it_for_those_that_failed_beside_it(database: Database, workers: list[Outbox]) -> None:
    await accept(database, 8)
    claims = await claim(workers[0])
    await write(database, OPEN)
    settlements = [Settlement(c, AWAY, timedelta(0)) for c in claims[:7]]
    last = Settlement(claims[7], Done(Advance(Status.DISPATCHED)), timedelta(0))
    ended = await workers[0].settle_all([*settlements, last])

    assert sum(isinstance(outcome, Held) for outcome in ended) == 7
    assert len(await claim(workers[1])) == 7


async def test_what_was_held_too_long_is_given_up_by_whoever_may_probe(
    database: Database, workers: list[Outbox]
) -> None:
    await accept(database, 4)
    await write(database, OPEN)
    await write(database, "UPDATE outbox SET created_at = now() - interval '11 minutes' WHERE id <= 3")
    first = await claim(workers[0])
    [probe] = await claim(workers[1])

    assert [c.held_too_long for c in first] == [True] * 3
    assert not probe.held_too_long


async def test_an_entry_that_fails_alone_is_held_without_stopping_the_others(
    database: Database, workers: list[Outbox]
) -> None:
    """A proxy answers 502 to this one only, for instance because of its size."""
    gone = TransientError("http_502", "N8N answered 502.", http_status=502, away=True)
    await accept(database, 2)
    poison, other = await claim(workers[0])
    for _ in range(3):
        await settle(workers[0], Retry(datetime.now(UTC), gone), poison)
        [poison] = await claim(workers[0])
    assert poison.attempt == 4
    await settle(workers[0], Done(Advance(Status.DISPATCHED)), other)
    [ended] = await settle(workers[0], Dead(gone, Fail(FailureCode.DISPATCH_FAILED, "gone")), poison)

    assert isinstance(ended, Held)
    assert await claim(workers[0]) == []  # not at once: after a pause as long as between two probes
    [n8n] = [state for state in await Destinations(database).states() if state.destination.name == "n8n"]
    assert n8n.opened_at is None
    assert await rows(database, "SELECT count(*) FROM incidents") == [(0,)]


async def test_after_a_time_without_workers_it_is_probed_before_anything_is_given_up(
    database: Database, workers: list[Outbox]
) -> None:
    """The bridge itself was down: whether the destination is still away is not known."""
    await accept(database, 3)
    await write(database, OPEN)
    await write(database, "UPDATE destinations SET probe_at = now() - interval '1 hour' WHERE name = 'n8n'")
    await write(database, "UPDATE outbox SET created_at = now() - interval '2 hours'")
    [probe] = await claim(workers[0])
    assert not probe.held_too_long

    await settle(workers[0], AWAY, probe)
    await write(database, PROBE_DUE)
    assert [c.held_too_long for c in await claim(workers[1])] == [True] * 3


async def test_a_failure_of_a_late_worker_opens_nothing_that_is_not_out(
    database: Database, workers: list[Outbox]
) -> None:
    """Its entry is another worker's by now; what it saw still says that N8N did not answer."""
    await accept(database, 1)
    [late] = await claim(workers[0])
    await write(database, "UPDATE outbox SET due_at = now() WHERE step = 'dispatch'")
    await claim(workers[1])

    assert await settle(workers[0], AWAY, late) == [None]
    assert await rows(database, "SELECT failures FROM destinations WHERE name = 'n8n'") == [(1,)]
    assert await rows(database, ATTEMPTS) == [(2,)]
