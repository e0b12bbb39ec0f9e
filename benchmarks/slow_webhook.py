"""Figure 8: a two-second webhook does not slow down accepting, and one worker keeps 200 dispatches in flight."""

import asyncio
import time

from benchmarks.accept import sender
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.sender import Sender
from benchmarks.turns import in_turns, medians, rate_ratio
from benchmarks.waiting import make_slow, stats
from benchmarks.wrk import Load

SLOW, IN_FLIGHT = 2.0, 200
REACHED_WITHIN = 30
"""Seconds in which the worker must reach that concurrency."""


async def measure(ground: Ground) -> Figure:
    """Measures accepted requests per second with a fast and a slow webhook, while the worker is running."""
    async with ground.stand_in("webhook") as webhook, ground.database() as database:
        n8n = {"webhook_url": f"{webhook.url}/webhook", "api_key": "k", "concurrency": IN_FLIGHT}
        async with ground.api(database) as api, ground.worker(database, n8n=n8n):
            send = sender(ground, api)
            found = await in_turns(
                ground.repetitions,
                {"quick": lambda: _with(webhook, 0, send), "slow": lambda: _with(webhook, SLOW, send)},
            )
            await make_slow(webhook.url, SLOW)  # resets the maximum of calls in flight
            most = await _most_in_flight(webhook)
    checks = [
        Check("accept, webhook slow / quick", rate_ratio(found["slow"], found["quick"]), least=0.9),
        Check("dispatches in flight, one worker", most, least=IN_FLIGHT, unit="calls"),
    ]
    return Figure(8, "slow_webhook", "A webhook that takes 2 s", checks, medians(found))


async def _most_in_flight(webhook: Running) -> int:
    """Returns the concurrency that the worker reaches with a long queue."""
    until, most = time.monotonic() + REACHED_WITHIN, 0
    while most < IN_FLIGHT and time.monotonic() < until:
        await asyncio.sleep(0.2)
        most = (await stats(webhook.url))["most_in_flight"]
    return most


async def _with(webhook: Running, seconds: float, send: Sender) -> Load:
    await make_slow(webhook.url, seconds)
    return await send()
