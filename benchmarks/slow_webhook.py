"""Figure 8: a webhook that takes two seconds does not slow accepting, and one worker keeps 200 dispatches in flight."""

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
"""Seconds."""


async def measure(ground: Ground) -> Figure:
    """Accepts a second with the webhook quick and slow, the worker at work."""
    async with ground.stand_in("webhook") as webhook, ground.database() as database:
        n8n = {"webhook_url": f"{webhook.url}/webhook", "api_key": "k", "concurrency": IN_FLIGHT}
        async with ground.api(database) as api, ground.worker(database, n8n=n8n):
            send = sender(ground, api)
            found = await in_turns(
                ground.repetitions,
                {"quick": lambda: _with(webhook, 0, send), "slow": lambda: _with(webhook, SLOW, send)},
            )
            await make_slow(webhook.url, SLOW)  # starts the count of the most in flight afresh
            most = await _most_in_flight(webhook)
    checks = [
        Check("accept, webhook slow / quick", rate_ratio(found["slow"], found["quick"]), least=0.9),
        Check("dispatches in flight, one worker", most, least=IN_FLIGHT, unit="calls"),
    ]
    return Figure(8, "slow_webhook", "A webhook that takes 2 s", checks, medians(found))


async def _most_in_flight(webhook: Running) -> int:
    """With a long queue: what the worker reaches within some seconds."""
    until, most = time.monotonic() + REACHED_WITHIN, 0
    while most < IN_FLIGHT and time.monotonic() < until:
        await asyncio.sleep(0.2)
        most = (await stats(webhook.url))["most_in_flight"]
    return most


async def _with(webhook: Running, seconds: float, send: Sender) -> Load:
    await make_slow(webhook.url, seconds)
    return await send()
