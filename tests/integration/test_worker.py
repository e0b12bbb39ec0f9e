"""The loop: it wakes at once, drains when told to, and survives a database that goes away."""

import asyncio
import time
from datetime import timedelta

import pytest
from sqlalchemy import text

from aigen_bridge.domain.request import Step
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.transitions import Deadlines
from stage import REQUESTS, Stage, working


async def test_new_work_is_taken_at_once_although_the_poll_is_far_away(idle_stage: Stage) -> None:
    patient = idle_stage.settings.worker.model_copy(update={"poll": idle_stage.settings.callback.deadline})
    async with working(idle_stage.settings.model_copy(update={"worker": patient})):
        for _ in range(2):
            ended = await idle_stage.until_delivered((await idle_stage.ask())["requestId"], seconds=10)
            assert ended["status"] == "completed"


async def test_what_was_accepted_while_no_worker_ran_is_carried_out_later(idle_stage: Stage) -> None:
    asked = [await idle_stage.ask() for _ in range(3)]
    async with working(idle_stage.settings):
        for one in asked:
            assert (await idle_stage.until_delivered(one["requestId"]))["status"] == "completed"


async def test_stopping_finishes_what_is_in_hand(idle_stage: Stage) -> None:
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.DELAY, route="webhook", delay=0.5))
    async with working(idle_stage.settings) as stop:
        asked = await idle_stage.ask()
        await _webhook_called(idle_stage)
        stop.set()

    [tried] = [e for e in await idle_stage.timeline(asked["requestId"]) if e["kind"] == "attempt"]
    assert (tried["step"], tried["outcome"]) == ("dispatch", "done")


async def test_what_is_not_finished_within_the_grace_time_is_given_back(idle_stage: Stage, database: Database) -> None:
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.DELAY, route="webhook", delay=5))
    hasty = idle_stage.settings.worker.model_copy(update={"grace": idle_stage.settings.worker.poll / 50})
    started = time.monotonic()
    async with working(idle_stage.settings.model_copy(update={"worker": hasty})) as stop:
        await idle_stage.ask()
        await _webhook_called(idle_stage)
        stop.set()

    assert time.monotonic() - started < 4
    async with database.reading() as connection:
        row = (await connection.execute(text("SELECT state, attempts, lease_owner FROM outbox"))).one()
    assert tuple(row) == ("pending", 0, None)


async def test_a_slow_odoo_does_not_hold_up_dispatching(idle_stage: Stage) -> None:
    idle_stage.chain.odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=3, times=None))
    async with working(idle_stage.settings):
        asked = [await idle_stage.ask() for _ in range(10)]
        assert len(await idle_stage.chain.n8n.calls.seen(10, "webhook", seconds=2.5)) == 10
        idle_stage.chain.odoo.faults.clear()
        for one in asked:
            await idle_stage.until_delivered(one["requestId"])


async def test_a_worker_survives_losing_all_its_connections(idle_stage: Stage, database: Database) -> None:
    async with working(idle_stage.settings):
        await idle_stage.until_delivered((await idle_stage.ask())["requestId"])
        async with database.reading() as connection:
            await connection.execute(
                text("""SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                        WHERE datname = current_database() AND application_name LIKE 'aigen-bridge worker%'
                           OR datname = current_database() AND application_name = 'aigen-bridge listen'""")
            )
        assert (await idle_stage.until_delivered((await idle_stage.ask())["requestId"]))["status"] == "completed"


async def test_a_step_that_takes_longer_than_its_lease_keeps_it(idle_stage: Stage) -> None:
    """Two workers, a lease of half a second, an N8N that takes two: it is called once."""
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.DELAY, route="webhook", delay=2))
    short = idle_stage.settings.worker.model_copy(update={"lease": timedelta(seconds=0.5)})
    settings = idle_stage.settings.model_copy(update={"worker": short})
    async with working(settings), working(settings):
        asked = await idle_stage.ask()
        ended = await idle_stage.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert len(idle_stage.chain.n8n.calls.to("webhook")) == 1


@pytest.mark.parametrize("step", ["dispatch", "deliver"])
async def test_an_entry_that_takes_its_workers_down_ends_dead(idle_stage: Stage, database: Database, step: str) -> None:
    asked = await idle_stage.ask()
    if step == "deliver":
        path = f"{REQUESTS}/{asked['requestId']}/cancel"
        await idle_stage.api.post(path, headers=idle_stage.as_client("odoo"))
    outbox = Outbox(database, Deadlines(timedelta(minutes=1), timedelta(minutes=1)), PostgresImages(database))
    for _ in range(5):  # each of these workers dies with it
        assert await outbox.claim(Step(step), limit=1, lease=timedelta(seconds=60), owner="dead worker")
        async with database.transaction() as connection:
            await connection.execute(text("UPDATE outbox SET due_at = now() WHERE state = 'pending'"))
    async with working(idle_stage.settings), asyncio.timeout(10):
        while not (dead := await _dead(database, step)):
            await asyncio.sleep(0.02)

    assert dead == "lease_lost"
    assert idle_stage.chain.n8n.calls.to("webhook") == []


async def _dead(database: Database, step: str) -> str | None:
    async with database.reading() as connection:
        query = text("SELECT error_code FROM outbox WHERE state = 'dead' AND step = :step")
        return await connection.scalar(query, {"step": step})


async def _webhook_called(stage: Stage) -> None:
    async with asyncio.timeout(10):
        while not stage.chain.n8n.calls.to("webhook"):
            await asyncio.sleep(0.01)
