"""Figure 6: a claim, and pages of the request list, with a million and with a thousand finished requests.

One caller makes one call after another and alternates between the databases. The load is generated in Python, because
the figure is about single calls.
"""

import statistics
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

import httpx
import psycopg

from aigen_bridge.domain.destination import N8N, BreakerConfig
from aigen_bridge.domain.request import Step
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.transitions import Deadlines
from benchmarks import rows
from benchmarks.accept import PATH
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.wrk import KEY, new_ids

MANY, FEW, DUE = 1_000_000, 1_000, 200
CLAIMED, ROUNDS, WARM_UP = 10, 200, 20
LEASE, HOUR = timedelta(seconds=90), timedelta(hours=1)
MOST = 1.3
Side = Callable[[], Awaitable[None]]


async def measure(ground: Ground) -> Figure:
    """Measures the median time of each call in the large database, divided by that in the small one."""
    async with ground.database() as small, ground.database() as large:
        began = time.monotonic()
        await rows.finished(small, FEW)
        await rows.finished(large, MANY)
        facts = {"filling the tables, s": time.monotonic() - began}
        found = await _claims(small, large)
        async with ground.api(small) as few, ground.api(large) as many:
            for name, query in (await _pages(large)).items():
                found[name] = await _in_turns(_page(few, query), _page(many, query))
    for name, (before, after) in found.items():
        facts |= {f"{name}, few, ms": before * 1000, f"{name}, a million, ms": after * 1000}
    checks = [Check(f"{name}, a million / few", after / before, most=MOST) for name, (before, after) in found.items()]
    return Figure(6, "growth", "With a million finished requests", checks, facts)


async def _claims(small: str, large: str) -> dict[str, tuple[float, float]]:
    sides = []
    databases = [_opened(url) for url in (small, large)]
    for url, database in zip((small, large), databases, strict=True):
        await rows.queued(url, new_ids(DUE))
        deadlines = Deadlines(callback=HOUR, image_url=HOUR)
        config = BreakerConfig(failures=20, probe_every=timedelta(seconds=5), hold=HOUR)
        sides.append(_claim(Outbox(database, deadlines, PostgresImages(database), {N8N: config})))
    found = await _in_turns(*sides)
    for database in databases:
        await database.close()
    return {"claim": found}


def _opened(url: str) -> Database:
    return Database(open_engine(url.replace("postgresql://", "postgresql+psycopg://", 1), pool_size=1, name="bench"))


def _claim(outbox: Outbox) -> Side:
    async def claim() -> None:
        claims = await outbox.claim(Step.DISPATCH, limit=CLAIMED, lease=LEASE, owner="bench")
        assert len(claims) == CLAIMED
        await outbox.release(claims)

    return claim


def _page(api: Running, query: Mapping[str, str]) -> Side:
    client = httpx.AsyncClient(base_url=api.url, headers={"X-API-Key": KEY}, timeout=30)

    async def page() -> None:
        answer = await client.get(PATH, params=query)
        answer.raise_for_status()
        assert len(answer.json()["items"]) > 1

    return page


async def _pages(large: str) -> dict[str, dict[str, str]]:
    """Returns the queries: first pages, and pages from the middle of the time range that both databases cover."""
    async with await psycopg.AsyncConnection.connect(large) as connection:
        found = await connection.execute("SELECT now() - interval '12 hours'")
        row = await found.fetchone()
    assert row
    middle = {"createdBefore": row[0].isoformat(), "limit": "50"}
    return {
        "first page": {"limit": "50"},
        "a page in the middle": middle,
        "first page of a status": {"status": "completed", "limit": "50"},
        "a page of a status in the middle": middle | {"status": "completed"},
    }


async def _in_turns(small: Side, large: Side) -> tuple[float, float]:
    times: tuple[list[float], list[float]] = ([], [])
    for number in range(ROUNDS + WARM_UP):
        for side, into in zip((small, large), times, strict=True):
            began = time.perf_counter()
            await side()
            if number >= WARM_UP:
                into.append(time.perf_counter() - began)
    return statistics.median(times[0]), statistics.median(times[1])
