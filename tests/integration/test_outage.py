"""N8N out, with real workers: nothing dies of it that need not, and nobody has to do anything afterwards."""

import asyncio
import itertools
from typing import Any

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from outages import impatient, rows
from stage import Stage, staged, working

OUT = "SELECT name FROM destinations WHERE opened_at IS NOT NULL"
DEAD = "SELECT count(*) FROM outbox WHERE state = 'dead'"


async def until_out(database: Database) -> None:
    async with asyncio.timeout(60):
        while not await rows(database, OUT):
            await asyncio.sleep(0.05)


async def until_none_waits(database: Database) -> None:
    """Until Odoo knows how every request ended."""
    async with asyncio.timeout(200):
        while await rows(database, "SELECT FROM requests WHERE delivered_at IS NULL LIMIT 1"):
            await asyncio.sleep(0.1)


def break_n8n(stage: Stage, kind: FaultKind = FaultKind.STATUS) -> None:
    stage.chain.n8n.faults.add(Fault(kind=kind, route="webhook", times=None))


@pytest.mark.timeout(300)
async def test_all_that_was_accepted_during_an_outage_goes_out_by_itself(idle_stage: Stage, database: Database) -> None:
    settings = impatient(idle_stage.settings, "n8n", failures=20, probe_every=0.5)
    break_n8n(idle_stage, FaultKind.DROP)
    async with working(settings), working(settings):
        for _ in range(4):
            await asyncio.gather(*(idle_stage.ask() for _ in range(50)))
            await asyncio.sleep(0.5)
        await until_out(database)
        idle_stage.chain.n8n.faults.clear()
        await until_none_waits(database)

    ended = await rows(database, "SELECT status, count(*) FROM requests GROUP BY status")
    assert ended == [("completed", 200)]
    assert await rows(database, DEAD) == [(0,)]
    assert {idle_stage.chain.odoo.records[r.request_id].applied for r in idle_stage.chain.odoo.records} == {1}
    assert await rows(database, "SELECT cause, recovered_at IS NULL FROM incidents") == [("n8n_down", False)]


async def test_while_it_is_out_it_gets_one_probe_at_a_time_from_all_workers(
    idle_stage: Stage, database: Database
) -> None:
    settings = impatient(idle_stage.settings, "n8n", probe_every=0.5)
    break_n8n(idle_stage)
    async with working(settings), working(settings), working(settings):
        await asyncio.gather(*(idle_stage.ask() for _ in range(20)))
        await until_out(database)
        begun = len(idle_stage.chain.n8n.calls.to("webhook"))
        calls = await idle_stage.chain.n8n.calls.seen(begun + 6, "webhook", seconds=60)

    at = [call.at for call in calls[-4:]]  # the last ones: what was in flight when it opened is long over
    assert all(later - earlier > 0.4 for earlier, later in itertools.pairwise(at))


async def test_what_is_held_for_too_long_fails_and_the_person_is_told(idle_stage: Stage, database: Database) -> None:
    settings = impatient(idle_stage.settings, "n8n", hold=2)
    break_n8n(idle_stage)
    async with working(settings):
        asked = await asyncio.gather(*(idle_stage.ask() for _ in range(10)))
        await until_none_waits(database)

    told = [idle_stage.chain.odoo.records[one["requestId"]].error_code for one in asked]
    letters = await rows(database, "SELECT step, error_code, attempts FROM outbox WHERE state = 'dead'")
    assert told == ["dispatch_failed"] * 10
    assert all((step, code) == ("dispatch", "destination_out") and attempts <= 4 for step, code, attempts in letters)
    assert len(letters) == 10


async def test_a_worker_that_starts_during_an_outage_neither_floods_nor_spends_tries(
    idle_stage: Stage, database: Database
) -> None:
    settings = impatient(idle_stage.settings, "n8n", probe_every=30)
    break_n8n(idle_stage)
    async with working(settings):
        await asyncio.gather(*(idle_stage.ask() for _ in range(10)))
        await until_out(database)
    spent = await rows(database, "SELECT sum(attempts) FROM outbox")
    called = len(idle_stage.chain.n8n.calls.to("webhook"))
    async with working(settings):
        await idle_stage.ask()
        await asyncio.sleep(1)
    assert len(idle_stage.chain.n8n.calls.to("webhook")) <= called + 1
    assert await rows(database, "SELECT sum(attempts) FROM outbox") == spent

    idle_stage.chain.n8n.faults.clear()
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE destinations SET probe_at = now() WHERE opened_at IS NOT NULL")
    async with working(settings):
        await until_none_waits(database)
    assert await rows(database, DEAD) == [(0,)]


async def test_a_lone_request_is_tried_as_specified_and_given_up(idle_stage: Stage, database: Database) -> None:
    break_n8n(idle_stage)
    async with working(idle_stage.settings):
        asked = await idle_stage.ask()
        ended = await idle_stage.until_delivered(asked["requestId"], seconds=60)

    at = [call.at for call in idle_stage.chain.n8n.calls.to("webhook")]
    gaps = [later - earlier for earlier, later in itertools.pairwise(at)]
    assert ended["errorCode"] == "dispatch_failed"
    assert len(gaps) == 3
    assert all(gap >= wait for gap, wait in zip(gaps, (1, 2, 4), strict=True))
    assert await rows(database, OUT) == []


async def test_readiness_shows_which_destination_is_out_since_when_and_what_waits(
    idle_stage: Stage, database: Database
) -> None:
    async def destinations() -> dict[str, Any]:
        answer = await idle_stage.api.get("/health/ready")
        assert answer.status_code == 200  # requests are taken all the same
        return dict(answer.json()["destinations"])

    well = {"state": "ok", "since": None, "probeAt": None, "held": 0}
    assert await destinations() == {"n8n": well, "odoo": well}
    break_n8n(idle_stage)
    settings = impatient(idle_stage.settings, "n8n", probe_every=30)
    async with working(settings):
        await asyncio.gather(*(idle_stage.ask() for _ in range(8)))
        await until_out(database)
        found = await destinations()

    assert found["odoo"] == well
    assert (found["n8n"]["state"], found["n8n"]["held"]) == ("out", 8)
    assert found["n8n"]["since"] < found["n8n"]["probeAt"]


async def test_an_odoo_that_is_out_holds_results_and_gets_them_afterwards(
    database_url: str, database: Database
) -> None:
    async with staged(database_url) as stage:
        settings = impatient(stage.settings, "odoo")
        stage.chain.odoo.faults.add(Fault(kind=FaultKind.STATUS, status=502, times=None))
        async with working(settings):
            asked = await asyncio.gather(*(stage.ask() for _ in range(10)))
            await until_out(database)
            stage.chain.odoo.faults.clear()
            await until_none_waits(database)

    assert {stage.chain.odoo.records[one["requestId"]].applied for one in asked} == {1}
    causes = await rows(database, "SELECT cause, times, recovered_at IS NOT NULL FROM incidents")
    assert causes == [("odoo_down", 1, True)]
