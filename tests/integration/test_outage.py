"""N8N out, with real workers: nothing dies of it that need not, and nobody has to do anything afterwards."""

import asyncio
import itertools
from datetime import timedelta
from typing import Any

import pytest
from prometheus_client import REGISTRY

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from outages import impatient, rows, write
from stage import REQUESTS, Stage, staged, working

OUT = "SELECT name FROM destinations WHERE opened_at IS NOT NULL"
DEAD = "SELECT count(*) FROM outbox WHERE state = 'dead'"


async def until_out(database: Database) -> None:
    await until(database, OUT)


async def until_none_waits(database: Database) -> None:
    """Until Odoo knows how every request ended."""
    async with asyncio.timeout(200):
        while await rows(database, "SELECT FROM requests WHERE delivered_at IS NULL LIMIT 1"):
            await asyncio.sleep(0.1)


async def until(database: Database, query: str) -> None:
    """Waits until the query finds a row."""
    async with asyncio.timeout(60):
        while not await rows(database, query):
            await asyncio.sleep(0.05)


async def until_looked(times: int) -> None:
    """Waits until the only worker has begun to look for requests to dispatch so many times."""

    def last() -> float | None:
        return REGISTRY.get_sample_value("aigen_worker_loop_timestamp_seconds", {"loop": "dispatch"})

    async with asyncio.timeout(20):
        for _ in range(times):
            before = last()
            while last() == before:
                await asyncio.sleep(0.01)


async def database_closes_the_breaker(database: Database) -> None:
    await write(database, "UPDATE destinations SET failures = 0, opened_at = NULL, probe_at = NULL")
    await write(database, "SELECT pg_notify('aigen_outbox', '')")


def break_n8n(stage: Stage, kind: FaultKind = FaultKind.STATUS, *, status: int = 503) -> None:
    stage.chain.n8n.faults.add(Fault(kind=kind, route="webhook", status=status, times=None))


@pytest.mark.timeout(300)
async def test_all_that_was_accepted_during_an_outage_goes_out_by_itself(idle_stage: Stage, database: Database) -> None:
    settings = impatient(idle_stage.settings, "n8n", failures=20, probe_every=0.5)
    break_n8n(idle_stage, FaultKind.DROP)
    async with working(settings), working(settings):
        await asyncio.gather(*(idle_stage.ask() for _ in range(100)))
        await until_out(database)
        await asyncio.gather(*(idle_stage.ask() for _ in range(100)))
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
    settings = impatient(idle_stage.settings, "n8n", probe_every=600)
    break_n8n(idle_stage)
    async with working(settings):
        await asyncio.gather(*(idle_stage.ask() for _ in range(10)))
        await until_out(database)
    spent = await rows(database, "SELECT sum(attempts) FROM outbox")
    called = len(idle_stage.chain.n8n.calls.to("webhook"))
    often = settings.worker.model_copy(update={"poll": timedelta(seconds=0.1)})
    async with working(settings.model_copy(update={"worker": often})):
        await idle_stage.ask()
        await until_looked(3)
    assert len(idle_stage.chain.n8n.calls.to("webhook")) == called
    assert await rows(database, "SELECT sum(attempts) FROM outbox") == spent

    idle_stage.chain.n8n.faults.clear()
    async with database.transaction() as connection:
        await connection.exec_driver_sql("UPDATE destinations SET probe_at = now() WHERE opened_at IS NOT NULL")
    async with working(settings):
        await until_none_waits(database)
    assert await rows(database, DEAD) == [(0,)]


AWAY = [
    Fault(kind=FaultKind.DROP, route="webhook", times=None),
    *(Fault(kind=FaultKind.STATUS, route="webhook", status=status, times=None) for status in (404, 502, 503, 504)),
]


@pytest.mark.parametrize("fault", AWAY, ids=lambda fault: f"{fault.kind}-{fault.status}")
async def test_a_lone_request_is_tried_as_specified_then_held_until_n8n_is_back(
    idle_stage: Stage, database: Database, fault: Fault
) -> None:
    settings = impatient(idle_stage.settings, "n8n", failures=20, probe_every=0.5)
    idle_stage.chain.n8n.faults.add(fault)
    async with working(settings):
        asked = await idle_stage.ask()
        await until_out(database)
        calls = await idle_stage.chain.n8n.calls.seen(6, "webhook", seconds=60)
        held = await idle_stage.read(asked["requestId"])
        [listed] = (await idle_stage.api.get(REQUESTS, headers=idle_stage.as_client("ops"))).json()["items"]
        open_incidents = await rows(database, "SELECT cause, times FROM incidents WHERE recovered_at IS NULL")
        idle_stage.chain.n8n.faults.clear()
        ended = await idle_stage.until_delivered(asked["requestId"], seconds=60)

    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(calls[:4])]
    assert all(gap >= wait for gap, wait in zip(gaps, (1, 2, 4), strict=True))
    assert (held["status"], held["version"], held["held"]["destination"]) == ("queued", asked["version"], "n8n")
    assert listed["held"] == held["held"]
    assert held["createdAt"] < held["held"]["since"] < held["held"]["until"]
    assert open_incidents == [("n8n_down", 1)]
    assert (ended["status"], ended["held"]) == ("completed", None)
    assert await rows(database, "SELECT cause, recovered_at IS NULL FROM incidents") == [("n8n_down", False)]


async def test_a_held_request_has_all_its_tries_once_n8n_is_back(idle_stage: Stage, database: Database) -> None:
    """An N8N that has just started is slow: its first errors must not end what waited for it."""
    settings = impatient(idle_stage.settings, "n8n", failures=20, probe_every=3)
    break_n8n(idle_stage, FaultKind.DROP)
    async with working(settings):
        asked = await idle_stage.ask()
        await until_out(database)
        await database_closes_the_breaker(database)
        idle_stage.chain.n8n.faults.clear()
        idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=500, times=3))
        ended = await idle_stage.until_delivered(asked["requestId"], seconds=60)

    assert ended["status"] == "completed"


async def test_a_404_that_lasts_is_an_incident_of_its_own_until_the_webhook_is_back(
    idle_stage: Stage, database: Database
) -> None:
    settings = impatient(idle_stage.settings, "n8n", failures=20, probe_every=0.3)
    break_n8n(idle_stage, FaultKind.STATUS, status=404)
    async with working(settings):
        asked = await idle_stage.ask()
        await until_out(database)
        before = await rows(database, "SELECT cause FROM incidents")
        await write(database, "UPDATE destinations SET error_since = now() - interval '61 seconds'")
        await until(database, "SELECT FROM incidents WHERE cause = 'webhook_not_found'")
        called = len(idle_stage.chain.n8n.calls.to("webhook"))
        await idle_stage.chain.n8n.calls.seen(called + 3, "webhook", seconds=30)
        [(detail, times)] = await rows(
            database,
            "SELECT o.detail, i.times FROM incidents AS i JOIN occurrences AS o ON o.incident_id = i.id"
            " WHERE cause = 'webhook_not_found'",
        )
        idle_stage.chain.n8n.faults.clear()
        await idle_stage.until_delivered(asked["requestId"], seconds=60)

    assert before == [("n8n_down",)]
    assert "/webhook/aigen/v1/generate" in detail
    assert times == 1
    assert await rows(database, "SELECT count(*) FROM incidents WHERE recovered_at IS NULL") == [(0,)]


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


@pytest.mark.parametrize("status", [404, 502, 503, 504])
async def test_a_lone_result_waits_for_an_odoo_that_is_away_and_follows_soon_after_it_is_back(
    database_url: str, database: Database, status: int
) -> None:
    """A restart of Odoo behind a proxy: the next try must not be minutes away, nor may 404 end it."""
    async with staged(database_url) as stage:
        settings = impatient(stage.settings, "odoo", failures=20)
        stage.chain.odoo.faults.add(Fault(kind=FaultKind.STATUS, status=status, times=None))
        async with working(settings):
            asked = await stage.ask()
            await until_out(database)
            held = await stage.read(asked["requestId"])
            stage.chain.odoo.faults.clear()
            ended = await stage.until_delivered(asked["requestId"], seconds=5)

    assert (held["status"], held["held"]["destination"]) == ("completed", "odoo")
    assert ended["held"] is None
    assert await rows(database, "SELECT cause, times FROM incidents") == [("odoo_down", 1)]


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
