"""Figure 5: how fast workers hand queued requests to a webhook that answers at once, against bare httpx.

The load is a full queue; the ceiling is a Python generator, because httpx is what it is the ceiling of.
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
"""Two workers, PostgreSQL and the webhook need so many to run side by side."""
NEVER_SLOWER = 0.95
"""Within what one run differs from the next."""


async def measure(ground: Ground) -> Figure:
    """Dispatches a second: bare httpx, one worker, two workers."""
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
    """What bare httpx does with the same bodies."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.posting", f"{webhook.url}/webhook", str(REQUESTS), str(CONCURRENCY)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    said, _ = await process.communicate(json.dumps(DISPATCHED).encode())
    return float(said)
