"""Figure 7: memory of the API with 16 concurrent callbacks of 10 MB, and of a worker that delivers them.

The load is generated in Python, because the figure is about sixteen simultaneous calls, not about a rate.
"""

import asyncio
import statistics
import time
from collections.abc import Sequence
from typing import Any

import httpx

from benchmarks import rows
from benchmarks.completed import FORM, V1, V2
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.pictures import completed, completed_beside, noise
from benchmarks.usage import memory_mb
from benchmarks.waiting import PATIENCE, stats
from benchmarks.wrk import ID, KEY, new_ids

AT_ONCE, MEGABYTES, PEAK_MAX, AFTER_MAX = 16, 10, 500, 1.2
SETTLES = 10
"""Seconds in which a process may return memory."""


async def measure(ground: Ground) -> Figure:
    """Measures megabytes: before, at the peak, and afterwards."""
    picture = noise(MEGABYTES)
    facts: dict[str, float] = {}
    checks: list[Check] = []
    async with ground.stand_in("odoo") as odoo:
        for version, path, build, kind in (
            ("v1", V1, completed, "application/json"),
            ("v2", V2, completed_beside, FORM),
        ):
            body = build(picture)
            async with ground.database() as database, ground.api(database) as api:
                await _at_once(api, database, path, body, kind)  # warms up: pools, threads, buffers
                before = await _resting(api.pid)
                health = await _at_once(api, database, path, body, kind)
                facts[f"{version}, /health/live meanwhile, median ms"] = statistics.median(health) * 1000
                checks += await _judge(f"API, {version}", api.pid, before, facts)
                if version == "v1":
                    checks += await _delivery(ground, database, odoo, facts)
    return Figure(7, "memory", "16 callbacks of 10 MB at once, and their delivery", checks, facts)


async def _delivery(ground: Ground, database: str, odoo: Running, facts: dict[str, float]) -> list[Check]:
    """Delivers all reported images to Odoo. The first half warms the worker up."""
    section: dict[str, Any] = {"url": odoo.url, "database": "d", "login": "l", "api_key": "k"}
    known = (await stats(odoo.url))["calls"]
    async with ground.worker(database, odoo=section) as worker:
        await _called(odoo, known + AT_ONCE)
        before = await _resting(worker.pid)
        await _called(odoo, known + 2 * AT_ONCE)
        return await _judge("worker", worker.pid, before, facts)


async def _called(odoo: Running, times: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while (await stats(odoo.url))["calls"] < times:
            await asyncio.sleep(0.05)


async def _judge(who: str, pid: int, before: float, facts: dict[str, float]) -> list[Check]:
    peak, after = memory_mb(pid, "VmHWM"), await _resting(pid)
    facts |= {f"{who}, before, MB": before, f"{who}, at the most, MB": peak, f"{who}, afterwards, MB": after}
    return [
        Check(f"{who}, at the most", peak, most=PEAK_MAX, unit="MB"),
        Check(f"{who}, afterwards / before", after / before, most=AFTER_MAX),
    ]


async def _resting(pid: int) -> float:
    """Returns the lowest memory use within `SETTLES` seconds."""
    seen = []
    until = time.monotonic() + SETTLES
    while time.monotonic() < until:
        seen.append(memory_mb(pid, "VmRSS"))
        await asyncio.sleep(0.5)
    return min(seen)


async def _at_once(api: Running, database: str, path: str, body: bytes, kind: str) -> Sequence[float]:
    """Sends all callbacks at once. Returns the response times of /health/live meanwhile, in seconds."""
    ids = new_ids(AT_ONCE)
    await rows.dispatched(database, ids)
    headers = {"X-API-Key": KEY, "Content-Type": kind}
    async with httpx.AsyncClient(base_url=api.url, headers=headers, timeout=120) as client:
        sending = [asyncio.create_task(client.post(path, content=body.replace(ID, i.encode(), 1))) for i in ids]
        health = []
        while not all(task.done() for task in sending):
            began = time.perf_counter()
            await client.get("/health/live")
            health.append(time.perf_counter() - began)
            await asyncio.sleep(0.02)
        for answer in await asyncio.gather(*sending):
            answer.raise_for_status()
    return health
