"""Figure 14: the console's first page at a million requests of a day: its first paint, and ten open pages.

The first paint is measured in a new API process, which has nothing in memory yet, from asking for the page until its
script and styles are there. The ten pages ask every two seconds, as the page does, of few and of a million requests in
turns; the quickest run of each counts, because other work on the machine only makes runs slower. What they cost is the
processor time of the API and of PostgreSQL, as a share of one processor.
"""

import asyncio
import re
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from benchmarks import rows
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.usage import cpu_seconds
from benchmarks.wrk import KEY

MANY = 1_000_000
PAGES, EVERY, ROUNDS = 10, 2.0, 15
PAGE = "/console"
FIRST_PAINT_MOST_MS, ANSWER_MOST, SHARE_MOST = 1000, 1.5, 0.25


async def measure(ground: Ground) -> Figure:
    """Measures both, and what the same pages cost with few requests."""
    async with ground.database() as few, ground.database() as many:
        await rows.finished(few, 1000)
        await rows.finished(many, MANY)
        paints = [await _first_paint(ground, many) for _ in range(ground.repetitions)]
        runs = [[await _open_pages(ground, each) for each in (few, many)] for _ in range(ground.repetitions)]
    before, after = (min(each, key=lambda run: run["median, ms"]) for each in zip(*runs, strict=True))
    checks = [
        Check("first paint at a million", max(paints) * 1000, most=FIRST_PAINT_MOST_MS, unit="ms"),
        Check("an open page, a million / few", after["median, ms"] / before["median, ms"], most=ANSWER_MOST),
        Check("processors for ten open pages", after["processors"], most=SHARE_MOST, unit="CPU"),
    ]
    facts = {"first paint, median, ms": statistics.median(paints) * 1000}
    facts |= {f"{name}, few": value for name, value in before.items()}
    facts |= {f"{name}, a million": value for name, value in after.items()}
    return Figure(14, "overview", "The console's first page", checks, facts)


async def _first_paint(ground: Ground, database: str) -> float:
    """Returns the seconds until the page and its files are there."""
    async with ground.api(database) as api, _signed_in(api) as console:
        began = time.perf_counter()
        page = await _get(console, PAGE)
        await asyncio.gather(*(_get(console, path) for path in re.findall(r'"(/console/static/[^"]+)"', page)))
        return time.perf_counter() - began


async def _open_pages(ground: Ground, database: str) -> dict[str, float]:
    async with ground.api(database) as api, _signed_in(api) as console:
        took: list[float] = []
        async with asyncio.TaskGroup() as pages:
            for number in range(PAGES):
                pages.create_task(_page(console, number * EVERY / PAGES, took))
            await asyncio.sleep(2 * EVERY)  # everything is in memory
            began, cpu, server = time.monotonic(), cpu_seconds(api.pid), ground.postgres_cpu()
            took.clear()
            await asyncio.sleep(EVERY * (ROUNDS - 4))
            seconds = time.monotonic() - began
            spent = cpu_seconds(api.pid) - cpu, ground.postgres_cpu() - server
    return {
        "median, ms": statistics.median(took) * 1000,
        "p95, ms": statistics.quantiles(took, n=20)[-1] * 1000,
        "processors of the API": spent[0] / seconds,
        "processors of PostgreSQL": spent[1] / seconds,
        "processors": sum(spent) / seconds,
    }


async def _page(console: httpx.AsyncClient, delay: float, took: list[float]) -> None:
    await asyncio.sleep(delay)
    for _ in range(ROUNDS):
        began = time.perf_counter()
        await _get(console, PAGE, {"HX-Request": "true"})
        took.append(time.perf_counter() - began)
        await asyncio.sleep(EVERY)


@asynccontextmanager
async def _signed_in(api: Running) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as console:
        answer = await console.post("/console/sign-in", data={"key": KEY})
        assert answer.status_code == httpx.codes.SEE_OTHER, answer.text
        yield console


async def _get(console: httpx.AsyncClient, path: str, headers: dict[str, str] | None = None) -> str:
    answer = await console.get(path, headers=headers)
    answer.raise_for_status()
    return answer.text
