"""Figure 9: dispatches and callbacks while Odoo is healthy, takes ten seconds, or is down, with deliveries due."""

import statistics
from contextlib import AsyncExitStack
from typing import Any

from benchmarks import rows
from benchmarks.failed import PATH
from benchmarks.figure import Check, Figure
from benchmarks.ground import AWAY, Ground, Running
from benchmarks.pictures import failed
from benchmarks.sender import Sender
from benchmarks.turns import in_turns, medians, rate_ratio, ratio
from benchmarks.waiting import dispatches_per_second, make_slow
from benchmarks.wrk import Call, Load, new_ids

SLOW, REQUESTS, CALLERS, IDS_PER_SECOND = 10, 400, 32, 6000
LEAST = 0.9
STATES = ("well", "slow", "dead")


async def measure(ground: Ground) -> Figure:
    """Measures each state of Odoo with a separate database, API and worker, alternating between the states."""
    async with AsyncExitStack() as running:
        odoo = {state: await running.enter_async_context(ground.stand_in("odoo")) for state in ("well", "slow")}
        webhook = await running.enter_async_context(ground.stand_in("webhook"))
        await make_slow(odoo["slow"].url, SLOW)
        urls = {state: odoo[state].url if state in odoo else AWAY for state in STATES}
        callbacks, dispatching = {}, {}
        for state, url in urls.items():
            database = await running.enter_async_context(ground.database())
            api = await _bridge(running, ground, database, webhook, url)
            call = Call(api.url + PATH, failed())
            callbacks[state] = Sender(ground, api, call, CALLERS, IDS_PER_SECOND, database)
            dispatching[state] = _Dispatching(database)
        reported: dict[str, list[Load]] = await in_turns(ground.repetitions, callbacks)
        # deliveries that are still pending would use CPU during the other measurements
        await rows.delivered(dispatching["well"].database)
        dispatched: dict[str, list[float]] = await in_turns(ground.repetitions, dispatching)
    facts = medians(reported) | {f"{s}, dispatches per second": statistics.median(r) for s, r in dispatched.items()}
    checks = []
    for state in STATES[1:]:
        checks += [
            Check(f"callbacks, Odoo {state} / well", rate_ratio(reported[state], reported["well"]), least=LEAST),
            Check(f"dispatching, Odoo {state} / well", ratio(dispatched[state], dispatched["well"]), least=LEAST),
        ]
    return Figure(9, "slow_odoo", "Odoo slow or dead", checks, facts)


class _Dispatching:
    def __init__(self, database: str) -> None:
        self.database = database

    async def __call__(self) -> float:
        return await dispatches_per_second(self.database, new_ids(REQUESTS))


async def _bridge(running: AsyncExitStack, ground: Ground, database: str, webhook: Running, odoo: str) -> Running:
    sections: dict[str, Any] = {
        "n8n": {"webhook_url": f"{webhook.url}/webhook", "api_key": "k"},
        "odoo": {"url": odoo, "database": "d", "login": "l", "api_key": "k"},
    }
    await running.enter_async_context(ground.worker(database, **sections))
    return await running.enter_async_context(ground.api(database, **sections))
