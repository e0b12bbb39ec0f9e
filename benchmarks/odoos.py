"""Figure 12: a request beside 10,000 of another Odoo, and deliveries to two Odoos while a third is dead or hangs."""

import asyncio
import statistics
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Any

import psycopg
from psycopg import sql

from benchmarks import rows
from benchmarks.figure import Check, Figure
from benchmarks.ground import AWAY, Ground, Running
from benchmarks.turns import in_turns, ratio
from benchmarks.waiting import PATIENCE, make_slow
from benchmarks.wrk import new_ids

DEFAULT, NORTH, SOUTH = "default", "north", "south"
FLOOD, SINGLES, RESULTS, SHORTER = 10_000, 9, 50, 3
"""Requests of the Odoo that floods the bridge, single requests beside them, and results of each Odoo in one run. Runs
are short and `SHORTER` times as many: turns that are close together differ least."""
HANGS = 3600.0
"""Seconds: longer than any call may take."""
OF_THE_FLOOD, LEAST = 0.1, 0.9
"""The longest wait of a single request, as a share of the time that the flood takes. Without turns it is nearly 1."""


async def measure(ground: Ground) -> Figure:
    """Measures fairness between Odoos on the way to N8N, and their independence on the way back."""
    alone, beside, flood = await _singles(ground)
    delivered = await _delivered(ground)
    checks = [
        Check("single request beside 10,000, slowest / the 10,000", max(beside) / flood, most=OF_THE_FLOOD),
        Check("delivering, third Odoo dead / well", ratio(delivered["dead"], delivered["well"]), least=LEAST),
        Check("delivering, third Odoo hangs / well", ratio(delivered["hangs"], delivered["well"]), least=LEAST),
    ]
    facts = {f"third Odoo {state}, delivered per second": statistics.median(r) for state, r in delivered.items()}
    facts |= {"single request alone, median s": statistics.median(alone)}
    facts |= {"single request beside 10,000, median s": statistics.median(beside), "the 10,000, s": flood}
    return Figure(12, "odoos", "Several Odoos", checks, facts)


async def _singles(ground: Ground) -> tuple[list[float], list[float], float]:
    """Returns the seconds until N8N had a single request, alone and beside the flood, and those of the whole flood.

    The last is extrapolated from what was done of the flood when the last single request arrived.
    """
    async with ground.stand_in("webhook") as webhook, ground.database() as database:
        n8n = {"webhook_url": f"{webhook.url}/webhook", "api_key": "k"}
        async with ground.worker(database, n8n=n8n, odoos={NORTH: _odoo(AWAY)}):
            alone = [await _until(database, "dispatched_at", rows.queued, {DEFAULT: 1}) for _ in range(SINGLES)]
            began = time.monotonic()
            await rows.queued(database, new_ids(FLOOD), NORTH)
            beside = [await _until(database, "dispatched_at", rows.queued, {DEFAULT: 1}) for _ in range(SINGLES)]
            queued = await _queued(database)
            assert queued, "The flood was over before the last single request: nothing was measured."
            return alone, beside, (time.monotonic() - began) * FLOOD / (FLOOD - queued)


async def _delivered(ground: Ground) -> dict[str, list[float]]:
    """Returns the results that two Odoos got in a second, by the state of the third."""
    async with AsyncExitStack() as running:
        here, there, third, hangs = [await running.enter_async_context(ground.stand_in("odoo")) for _ in range(4)]
        await make_slow(hangs.url, HANGS)
        sides = {
            state: _Delivering(await _bridge(running, ground, here, there, url))
            for state, url in {"well": third.url, "dead": AWAY, "hangs": hangs.url}.items()
        }
        return await in_turns(SHORTER * ground.repetitions, sides)


async def _bridge(running: AsyncExitStack, ground: Ground, here: Running, there: Running, third: str) -> str:
    """Starts a worker for three Odoos on a database of its own, and returns the database's URL."""
    database = await running.enter_async_context(ground.database())
    odoos = {NORTH: _odoo(there.url), SOUTH: _odoo(third)}
    await running.enter_async_context(ground.worker(database, odoo=_odoo(here.url), odoos=odoos))
    return database


def _odoo(url: str) -> dict[str, Any]:
    return {"url": url, "database": "d", "login": "l", "api_key": "k"}


class _Delivering:
    """One run: every Odoo has results that are due, and the two that are well get theirs."""

    def __init__(self, database: str) -> None:
        self._database = database

    async def __call__(self) -> float:
        await rows.ended(self._database, new_ids(RESULTS), SOUTH)
        took = await _until(self._database, "delivered_at", rows.ended, {DEFAULT: RESULTS, NORTH: RESULTS})
        return 2 * RESULTS / took


async def _until(database: str, column: str, insert: Any, many: Mapping[str, int]) -> float:
    """Inserts requests of each Odoo and returns the seconds until all of them have a time in this column."""
    ids = {odoo: new_ids(number) for odoo, number in many.items()}
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        began = time.monotonic()
        for odoo, own in ids.items():
            await insert(database, own, odoo)
        async with asyncio.timeout(PATIENCE):
            while not await _all_have(connection, column, [each for own in ids.values() for each in own]):
                await asyncio.sleep(0.01)
        return time.monotonic() - began


async def _all_have(connection: psycopg.AsyncConnection, column: str, ids: Sequence[str]) -> bool:
    statement = sql.SQL("SELECT count({}) FROM requests WHERE request_id = ANY(%s::uuid[])")
    found = await connection.execute(statement.format(sql.Identifier(column)), [list(ids)])
    row = await found.fetchone()
    return bool(row) and row[0] == len(ids)


async def _queued(database: str) -> int:
    """Returns how many requests of the flood are still on their way to N8N."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        found = await connection.execute("SELECT count(*) FROM requests WHERE odoo = %s AND status = 'queued'", [NORTH])
        row = await found.fetchone()
    return int(row[0]) if row else 0
