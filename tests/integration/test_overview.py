"""The overview's facts: counted from real rows, for all Odoos or one, and shared between callers."""

import asyncio
from datetime import timedelta
from typing import Any

import pytest

from aigen_bridge.domain.destination import BreakerConfig, with_breaker
from aigen_bridge.domain.incident import Cause
from aigen_bridge.domain.overview import Hop, Outcome, OverviewFacts, verdict
from aigen_bridge.store import overview as module
from aigen_bridge.store.database import Database
from aigen_bridge.store.overview import Overview
from outages import rows, write
from stage import Stage, working

BREAKERS = {
    each: BreakerConfig(concurrency_limit=4 if each.name != "n8n" else None) for each in with_breaker(["north"])
}
INSERT = """
    INSERT INTO requests (request_id, correlation_id, event, odoo, status, failed_by, image, created_at, dispatched_at,
        completed_at, delivered_at)
    SELECT gen_random_uuid(), gen_random_uuid(), '{}', :odoo, CAST(:status AS text), CAST(:failed_by AS text),
        CASE WHEN :status = 'completed' THEN CAST('{}' AS jsonb) END, at, at + interval '1 second',
        CASE WHEN :status IN ('completed', 'failed', 'cancelled') THEN at + interval '11 seconds' END,
        CASE WHEN :status IN ('completed', 'failed', 'cancelled') THEN at + interval '13 seconds' END
    FROM generate_series(1, :number), CAST(now() - make_interval(secs => :age) AS timestamptz) AS at
"""


async def add(database: Database, number: int = 1, status: str = "completed", age: float = 60, **more: Any) -> None:
    given = {"odoo": "default", "failed_by": None} | more
    await write(database, INSERT, number=number, status=status, age=age, **given)


async def read(database: Database, odoo: str | None = None) -> OverviewFacts:
    fresh = Overview(database, BREAKERS)
    facts = await fresh.read(odoo)
    await fresh.aclose()
    return facts


async def occur(database: Database, cause: str, *request_ids: Any, detail: str = "why") -> None:
    await write(
        database, "INSERT INTO incidents (cause, times) VALUES (:cause, :times)", cause=cause, times=len(request_ids)
    )
    for request_id in request_ids:
        await write(
            database,
            "INSERT INTO occurrences (incident_id, request_id, detail) "
            "SELECT max(id), :request_id, :detail FROM incidents",
            request_id=request_id,
            detail=detail,
        )


async def test_an_empty_bridge_has_zeros_and_a_shape(database: Database) -> None:
    facts = await read(database)

    assert (len(facts.hour.buckets), facts.hour.step) == (12, timedelta(minutes=5))
    assert facts.day
    assert (len(facts.day.buckets), facts.day.total(), facts.hour.total()) == (24, 0, 0)
    assert [each.name for each in facts.destinations] == ["n8n", "odoo", "odoo:north"]
    assert [(each.backlog, each.oldest, each.in_flight, each.concurrency) for each in facts.destinations] == [
        (0, None, 0, None),
        (0, None, 0, 4),
        (0, None, 0, 4),
    ]
    assert set(facts.dead.values()) == {0}
    assert (facts.incidents, facts.hops, facts.waits, facts.workers) == ((), (), (), 0)


async def test_requests_are_counted_by_outcome_in_the_bucket_of_their_acceptance(database: Database) -> None:
    await add(database, 3)
    await add(database, 2, "failed", failed_by="n8n")
    await add(database, 1, "failed", failed_by="bridge", age=7 * 60)
    await add(database, 4, "cancelled", age=59 * 60)
    await add(database, 5, "dispatched", age=30)
    await add(database, 6, age=23.5 * 3600)
    await add(database, 7, age=25 * 3600)
    facts = await read(database)

    assert facts.day
    assert {each: facts.hour.total(each) for each in Outcome} == {
        Outcome.COMPLETED: 3,
        Outcome.FAILED_BY_N8N: 2,
        Outcome.FAILED_BY_BRIDGE: 1,
        Outcome.CANCELLED: 4,
        Outcome.OPEN: 5,
    }
    assert facts.hour.of(Outcome.FAILED_BY_BRIDGE)[-2:] == [1, 0]
    assert facts.hour.of(Outcome.CANCELLED)[0] == 4
    assert facts.day.of(Outcome.COMPLETED)[0] == 6
    assert (facts.day.total(), facts.hour.is_capped) == (21, False)


async def test_an_operator_of_one_odoo_sees_nothing_of_another(database: Database) -> None:
    await add(database, 3)
    await add(database, 2, odoo="north")
    await add(database, 1, "failed", failed_by="bridge")
    await add(database, 1, "dispatched", age=600)
    for odoo, number in (("default", 2), ("north", 1)):
        await write(
            database,
            "INSERT INTO outbox (request_id, step, state, finished_at) "
            "SELECT request_id, 'deliver', 'dead', now() FROM requests WHERE odoo = :odoo LIMIT :number",
            odoo=odoo,
            number=number,
        )
    [(failed,)] = await rows(database, "SELECT request_id FROM requests WHERE status = 'failed'")
    await occur(database, "timed_out", failed, detail="a secret of the other Odoo")
    await occur(database, "odoo_down", failed)
    await occur(database, "odoo_down:north")
    facts = await read(database, "north")

    assert facts.day
    assert (facts.hour.total(), facts.day.total(), facts.dead["deliver"]) == (2, 2, 1)
    assert [each.name for each in facts.destinations] == ["n8n", "odoo:north"]
    assert [(each.cause, each.odoo, each.times) for each in facts.incidents] == [(Cause.ODOO_DOWN, "north", 0)]
    assert (facts.waits, {each.count for each in facts.hops}) == ((), {2})
    everything = await read(database)
    assert (everything.hour.total(), everything.dead["deliver"], len(everything.incidents)) == (7, 3, 3)


async def test_an_incident_counts_the_requests_of_the_operators_odoo_only(database: Database) -> None:
    await add(database, 2, odoo="north")
    await add(database, 3)
    ids = [each for (each,) in await rows(database, "SELECT request_id FROM requests ORDER BY odoo DESC")]
    await occur(database, "timed_out", *ids)

    [own] = (await read(database, "north")).incidents
    [all_of_it] = (await read(database)).incidents
    assert (own.times, own.request_id in ids[:2], all_of_it.times) == (2, True, 5)


async def test_hops_are_measured_from_the_last_finished_requests(database: Database) -> None:
    await add(database, 5)
    await add(database, 5, age=2 * 3600)
    facts = await read(database)

    assert [(each.hop, each.median.total_seconds(), each.count) for each in facts.hops] == [
        (Hop.TO_N8N, 1, 5),
        (Hop.AT_N8N, 10, 5),
        (Hop.TO_ODOO, 2, 5),
    ]
    assert facts.slowest
    assert facts.slowest.hop is Hop.AT_N8N


async def test_rows_with_times_that_python_cannot_hold_break_nothing(database: Database) -> None:
    await add(database)
    await add(database, 1, "dispatched")
    await write(
        database, "UPDATE requests SET created_at = '-infinity', dispatched_at = 'infinity', updated_at = '-infinity'"
    )

    facts = await read(database)
    assert [each.median >= timedelta(0) for each in facts.hops] == [True] * 3
    assert [each.hop for each in facts.waits] == [Hop.AT_N8N]


async def test_what_waits_longest_is_named_for_each_hop(idle_stage: Stage, database: Database) -> None:
    first = await idle_stage.ask()
    await idle_stage.ask()
    await add(database, 1, "dispatched", age=300)
    await add(database, 1, age=300)
    await write(
        database,
        "INSERT INTO outbox (request_id, step, created_at, due_at) "
        "SELECT request_id, 'deliver', now() - interval '90 s', now() FROM requests WHERE status = 'completed'",
    )
    waits = {each.hop: each for each in (await read(database)).waits}

    assert str(waits[Hop.TO_N8N].request_id) == first["requestId"]
    assert waits[Hop.TO_ODOO].waited >= timedelta(seconds=90)
    assert set(waits) == {Hop.TO_N8N, Hop.AT_N8N, Hop.TO_ODOO}


async def test_an_open_breaker_its_backlog_and_its_incident_are_one_reason(
    idle_stage: Stage, database: Database
) -> None:
    await idle_stage.ask()
    await write(
        database,
        "INSERT INTO destinations (name, opened_at, probe_at, error_code) VALUES ('n8n', now(), now(), 'http_404') "
        "ON CONFLICT (name) DO UPDATE SET opened_at = now(), probe_at = now(), error_code = 'http_404'",
    )
    await occur(database, "webhook_not_found")
    async with working(idle_stage.settings), asyncio.timeout(20):
        while not (facts := await read(database)).workers:
            await asyncio.sleep(0.05)

    assert (facts.destinations[0].backlog, facts.workers) == (1, 1)
    assert [each.text for each in verdict(facts).reasons] == ["N8N is away (http_404): what waits for it is held."]


async def test_a_cause_of_a_newer_version_is_left_out(database: Database) -> None:
    await occur(database, "invented_later")

    assert (await read(database)).incidents == ()


async def test_ten_pages_share_one_read(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    connected = module.connected

    async def counting(connection: Any) -> Any:
        nonlocal reads
        reads += 1
        return await connected(connection)

    monkeypatch.setattr(module, "connected", counting)
    shared = Overview(database, BREAKERS)
    facts = await asyncio.gather(*(shared.read() for _ in range(10)))
    assert (reads, len({each.at for each in facts})) == (1, 1)
    await shared.read("north")
    assert reads == 2
    await shared.aclose()


async def test_a_page_does_not_wait_for_slow_counts_of_the_day(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    released = asyncio.Event()
    count = module.count_outcomes

    async def slow(connection: Any, period: Any, odoo: str | None) -> Any:
        if period is module.DAY:
            await released.wait()
        return await count(connection, period, odoo)

    monkeypatch.setattr(module, "count_outcomes", slow)
    monkeypatch.setattr(module, "FRESH_SECONDS", 0)
    shared = Overview(database, BREAKERS)
    assert (await shared.read()).day is None
    released.set()
    async with asyncio.timeout(10):
        while (await shared.read()).day is None:
            await asyncio.sleep(0.02)
    await shared.aclose()
