"""Figure 5: the rate at which workers dispatch queued requests to a fast webhook, against bare httpx.

The load is a full queue. The ceiling is generated in Python, because it measures httpx.
"""

import asyncio
import json
import os
import statistics
import sys
from contextlib import AsyncExitStack

from aigen_bridge.contracts.examples import DISPATCHED
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.turns import in_turns, ratio
from benchmarks.waiting import dispatches_per_second
from benchmarks.wrk import new_ids

CONCURRENCY, REQUESTS = 200, 600
CORES_FOR_TWO = 4
"""Number of cores that two workers, PostgreSQL and the webhook need to run in parallel."""
NEVER_SLOWER = 0.95
"""Tolerance for the variation between runs."""


async def measure(ground: Ground) -> Figure:
    """Measures dispatches per second: bare httpx, one worker, two workers."""
    async with ground.stand_in("webhook") as webhook, ground.database() as one, ground.database() as two:
        n8n = {"webhook_url": f"{webhook.url}/webhook", "api_key": "k", "concurrency": CONCURRENCY}
        async with AsyncExitStack() as running:
            for database in (one, two, two):
                await running.enter_async_context(ground.worker(database, n8n=n8n))
            found = await in_turns(
                ground.repetitions,
                {
                    "bare httpx": lambda: posts_per_second(webhook),
                    "one worker": lambda: dispatches_per_second(one, new_ids(REQUESTS)),
                    "two workers": lambda: dispatches_per_second(two, new_ids(REQUESTS)),
                },
            )
    least = 1.5 if (os.cpu_count() or 1) >= CORES_FOR_TWO else NEVER_SLOWER
    checks = [
        Check("one worker / bare httpx", ratio(found["one worker"], found["bare httpx"]), least=0.5),
        Check("two workers / one", ratio(found["two workers"], found["one worker"]), least=least),
    ]
    facts = {f"{side}, per second": statistics.median(rates) for side, rates in found.items()}
    return Figure(5, "drain", "Dispatching a full queue, webhook that answers at once", checks, facts)


async def posts_per_second(webhook: Running) -> float:
    """Measures bare httpx with the same bodies."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.posting", f"{webhook.url}/webhook", str(REQUESTS), str(CONCURRENCY)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate(json.dumps(DISPATCHED).encode())
    return float(output)
