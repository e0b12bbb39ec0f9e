"""Odoo is not flooded: what it gets at once is limited over all workers, and follows how quickly it answers."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from aigen_bridge.domain.destination import ODOO, BreakerConfig
from aigen_bridge.domain.errors import TransientError
from aigen_bridge.domain.outbox import Claim, Delivered, Done, Retry, Settlement
from aigen_bridge.domain.request import NewRequest, Status, Step, Transition
from aigen_bridge.sim.calls import Call, Calls
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from outages import rows, write
from stage import Stage, make_event, working

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
CONFIG = BreakerConfig(concurrency_limit=4, slow_after=timedelta(seconds=2))
QUICK, SLOW = timedelta(milliseconds=50), timedelta(seconds=3)


@pytest.fixture
def workers(database: Database) -> list[Outbox]:
    """The outbox as several workers have it."""
    return [Outbox(database, DEADLINES, PostgresImages(database), {ODOO: CONFIG}) for _ in range(4)]


async def enqueue_deliveries(database: Database, count: int) -> None:
    """So many deliveries."""
    requests = Requests(database, DEADLINES, PostgresImages(database))
    for _ in range(count):
        new = NewRequest(uuid4(), uuid4(), make_event())
        await requests.accept_all([new])
        queued = frozenset({Status.QUEUED})
        await requests.apply(Transition(request_id=new.request_id, before=queued, after=Status.CANCELLED))


async def claim(outbox: Outbox, limit: int = 10) -> list[Claim]:
    return await outbox.claim(Step.DELIVER, limit=limit, lease=timedelta(seconds=60), owner="test")


async def settle(outbox: Outbox, claims: list[Claim], took: timedelta) -> None:
    await outbox.settle_all([Settlement(c, Done(Delivered(c.request.version)), took) for c in claims])


def in_flight(calls: Calls) -> list[int]:
    """How many calls the simulator has in hand, noted each time when one more arrives."""
    noted: list[int] = []
    arrived = calls.arrived

    def counted(**details: Any) -> Call:
        call = arrived(**details)
        noted.append(sum(one.status is None for one in calls))
        return call

    calls.arrived = counted  # type: ignore[method-assign]
    return noted


async def test_two_workers_never_call_a_slow_odoo_more_than_twice_at_once(idle_stage: Stage) -> None:
    idle_stage.chain.odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.2, times=None))
    noted = in_flight(idle_stage.chain.odoo.calls)
    async with working(idle_stage.settings), working(idle_stage.settings):
        asked = await asyncio.gather(*(idle_stage.ask() for _ in range(20)))
        for one in asked:
            await idle_stage.until_delivered(one["requestId"], seconds=60)

    assert max(noted) == 2


async def test_an_odoo_that_stays_slow_ends_with_one_call_at_a_time(idle_stage: Stage, database: Database) -> None:
    idle_stage.chain.odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=0.3, times=None))
    noted = in_flight(idle_stage.chain.odoo.calls)
    odoo = idle_stage.settings.odoo.model_copy(update={"concurrency": 4, "slow_after": timedelta(seconds=0.1)})
    settings = idle_stage.settings.model_copy(update={"odoo": odoo})
    async with working(settings), working(settings):
        asked = await asyncio.gather(*(idle_stage.ask() for _ in range(16)))
        for one in asked:
            await idle_stage.until_delivered(one["requestId"], seconds=60)

    assert max(noted) <= 4
    assert set(noted[-4:]) == {1}
    assert await rows(database, "SELECT allowance FROM destinations WHERE name = 'odoo'") == [(1.0,)]


async def test_workers_that_ask_at_the_same_moment_share_the_limit(database: Database, workers: list[Outbox]) -> None:
    await enqueue_deliveries(database, 12)
    hands = await asyncio.gather(*(claim(outbox, limit=3) for outbox in workers))

    assert sum(len(hand) for hand in hands) == 4


async def test_the_share_of_a_killed_worker_comes_back_with_the_end_of_its_lease(
    database: Database, workers: list[Outbox]
) -> None:
    await enqueue_deliveries(database, 8)
    killed, other = workers[:2]
    assert len(await claim(killed)) == 4
    assert await claim(other) == []
    pause = (await other.next_due(Step.DELIVER)).after
    await write(database, "UPDATE outbox SET due_at = now() WHERE lease_owner IS NOT NULL")

    assert pause == timedelta(seconds=0.5)  # it looks again, because nobody will tell it
    assert len(await claim(other)) == 4


async def test_slow_answers_shrink_it_and_quick_ones_grow_it(database: Database, workers: list[Outbox]) -> None:
    await enqueue_deliveries(database, 30)
    shares = []
    for took in (SLOW, SLOW, SLOW, QUICK, QUICK, QUICK, QUICK, QUICK):
        claims = await claim(workers[0])
        shares.append(len(claims))
        await settle(workers[0], claims, took)

    assert shares[:4] == [4, 2, 1, 1]
    assert shares[4] == 2
    assert shares[-1] == 4


async def test_failures_shrink_it_for_all_workers(database: Database, workers: list[Outbox]) -> None:
    await enqueue_deliveries(database, 8)
    away = Retry(datetime.now(UTC) + timedelta(hours=1), TransientError("http_502", "bad gateway"))
    claims = await claim(workers[0])
    await workers[0].settle_all([Settlement(c, away, QUICK) for c in claims])

    assert len(await claim(workers[1])) == 2


async def test_a_smaller_limit_in_the_settings_counts_at_once(database: Database, workers: list[Outbox]) -> None:
    await enqueue_deliveries(database, 8)
    modest = Outbox(database, DEADLINES, PostgresImages(database), {ODOO: BreakerConfig(concurrency_limit=1)})
    assert len(await claim(modest)) == 1
    assert len(await claim(workers[0])) == 3  # during a rolling change, each keeps to its own
