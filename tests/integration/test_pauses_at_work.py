"""Pauses and limits with real workers, N8N and Odoo: effective at once, without a restart, and surviving one."""

import asyncio
from typing import Any

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from outages import impatient, rows
from stage import Stage, staged, working

PATH = "/api/v1/ops/destinations"
SECONDS = 5
"""The promise: a change acts on all workers within this time."""


async def change(stage: Stage, method: str, path: str, **body: Any) -> dict[str, Any]:
    answer = await stage.api.request(method, PATH + path, json=body, headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def delivered(stage: Stage, asked: list[dict[str, Any]]) -> set[str]:
    return {(await stage.until_delivered(one["requestId"], seconds=60))["status"] for one in asked}


async def test_a_paused_n8n_gets_nothing_from_any_worker_not_even_from_one_that_starts_and_all_of_it_afterwards(
    idle_stage: Stage, database: Database
) -> None:
    async with working(idle_stage.settings), working(idle_stage.settings):
        assert await delivered(idle_stage, [await idle_stage.ask()]) == {"completed"}
        await change(idle_stage, "POST", "/n8n/pause", reason="An upgrade.")
        called = len(idle_stage.chain.n8n.calls.to("webhook"))
        asked = await asyncio.gather(*(idle_stage.ask() for _ in range(5)))
        await asyncio.sleep(1)  # both are woken at once otherwise
    async with working(idle_stage.settings), working(idle_stage.settings):
        await asyncio.sleep(1)
        waiting = [await idle_stage.read(one["requestId"]) for one in asked]
        assert len(idle_stage.chain.n8n.calls.to("webhook")) == called
        assert {(one["status"], one["held"]["destination"], one["held"]["paused"]) for one in waiting} == {
            ("queued", "n8n", True)
        }
        await change(idle_stage, "POST", "/n8n/resume")
        await idle_stage.chain.n8n.calls.seen(called + 5, "webhook", seconds=SECONDS)
        assert await delivered(idle_stage, asked) == {"completed"}
    assert await rows(database, "SELECT count(*) FROM incidents") == [(0,)]


async def test_without_notifications_workers_find_out_by_polling(database_url: str, database: Database) -> None:
    pooled = {"prepared_statements": False}
    async with staged(database_url, database=pooled, worker={"poll": "600s"}) as stage:
        await change(stage, "POST", "/n8n/pause", reason="An upgrade.")
        asked = [await stage.ask()]
        async with working(stage.settings):
            await asyncio.sleep(0.5)
            await change(stage, "POST", "/n8n/resume")
            await stage.chain.n8n.calls.seen(1, "webhook", seconds=SECONDS)
            assert stage.chain.n8n.calls.to("webhook")
    assert asked


async def test_a_paused_odoo_that_is_stopped_alarms_nobody_and_gets_its_results_afterwards(
    idle_stage: Stage, database: Database
) -> None:
    settings = impatient(idle_stage.settings, "odoo", failures=2)
    await change(idle_stage, "POST", "/odoo/pause", reason="An upgrade.")
    idle_stage.chain.odoo.faults.add(Fault(kind=FaultKind.STATUS, status=502, times=None))
    async with working(settings):
        asked = await asyncio.gather(*(idle_stage.ask() for _ in range(3)))
        for one in asked:
            found = await idle_stage.until(one["requestId"], lambda r: r["status"] == "completed")
            assert found["held"]["destination"] == "odoo"
        idle_stage.chain.odoo.faults.clear()
        await change(idle_stage, "POST", "/odoo/resume")
        assert await delivered(idle_stage, list(asked)) == {"completed"}
    assert await rows(database, "SELECT count(*) FROM incidents") == [(0,)]
    assert await rows(database, "SELECT max(number) FROM attempts WHERE step = 'deliver'") == [(1,)]


@pytest.mark.timeout(120)
async def test_a_limit_is_lowered_and_raised_above_the_setting_while_a_single_worker_is_at_work(
    database_url: str, database: Database
) -> None:
    in_flight = "SELECT count(*) FROM outbox WHERE step = 'deliver' AND state = 'pending' AND lease_owner IS NOT NULL"

    async def until_in_flight(number: int) -> None:
        async with asyncio.timeout(SECONDS):
            while await rows(database, in_flight) != [(number,)]:
                await asyncio.sleep(0.05)

    async with staged(database_url) as stage:
        odoo = stage.settings.odoo.model_copy(update={"concurrency": 2})
        stage.chain.odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=8, times=None))
        await change(stage, "PATCH", "/odoo", concurrency=1)
        async with working(stage.settings.model_copy(update={"odoo": odoo})) as stop:
            await asyncio.gather(*(stage.ask() for _ in range(12)))
            async with asyncio.timeout(20):
                while await rows(database, "SELECT count(*) FROM requests WHERE status = 'completed'") != [(12,)]:
                    await asyncio.sleep(0.1)
            await until_in_flight(1)
            await change(stage, "PATCH", "/odoo", concurrency=None)
            await until_in_flight(2)
            await change(stage, "PATCH", "/odoo", concurrency=6)
            await until_in_flight(6)
            stage.chain.odoo.faults.clear()
            stop.set()
