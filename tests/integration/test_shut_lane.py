"""A lane whose destination takes nothing more is not kept busy by new entries."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from uuid import uuid4

import pytest

from aigen_bridge.domain.destination import N8N, BreakerConfig
from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.outbox import Claim, Due, Effect
from aigen_bridge.domain.request import NewRequest, Step
from aigen_bridge.pipeline.dispatch import POLICY
from aigen_bridge.settings.sections import WorkerSettings
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.worker.lanes import Lane
from outages import write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
FAR_AWAY = timedelta(minutes=5)
SHUT = """
    UPDATE destinations SET failures = 5, opened_at = now(), probe_at = now() + interval '5 minutes' WHERE name = 'n8n'
"""
LATER = "UPDATE outbox SET due_at = now() + interval '5 minutes'"


class Watched(Outbox):
    """Says when a lane has looked in vain and goes to sleep."""

    def __init__(self, database: Database) -> None:
        breaker = BreakerConfig(failures=5, probe_every=FAR_AWAY, hold=timedelta(hours=1))
        super().__init__(database, DEADLINES, PostgresImages(database), {N8N: breaker})
        self.looked = asyncio.Event()

    async def next_due(self, step: Step) -> Due:
        due = await super().next_due(step)
        self.looked.set()
        return due


class Never:
    """A step that is not to be run."""

    step, policy, concurrency = Step.DISPATCH, POLICY, 10

    async def run(self, claim: Claim) -> Effect:
        raise AssertionError(claim)

    def gave_up(self, error: StepError) -> Effect:
        raise AssertionError(error)


@pytest.fixture
async def asleep(database: Database, request: pytest.FixtureRequest) -> AsyncIterator[Lane[Claim]]:
    """A lane that has found nothing to claim and sleeps; the parameter is what the database is told before."""
    outbox = Watched(database)
    requests = Requests(database, DEADLINES, PostgresImages(database))
    await requests.accept(NewRequest(uuid4(), uuid4(), make_event()))
    await write(database, request.param)
    lane = Lane(Never(), outbox, WorkerSettings(poll=FAR_AWAY))
    stop = asyncio.Event()
    running = asyncio.create_task(lane.run(stop))
    async with asyncio.timeout(10):
        await outbox.looked.wait()
    yield lane
    stop.set()
    lane.wake.set()
    await running


@pytest.mark.parametrize("asleep", [SHUT], indirect=True)
async def test_new_entries_do_not_wake_it(asleep: Lane[Claim]) -> None:
    asleep.on_new_entry()
    assert not asleep.wake.is_set()


@pytest.mark.parametrize("asleep", [LATER], indirect=True)
async def test_they_wake_one_that_merely_has_nothing_to_do(asleep: Lane[Claim]) -> None:
    asleep.on_new_entry()
    assert asleep.wake.is_set()
