"""Waits for the effects of a worker."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
import psycopg

from benchmarks import rows

PATIENCE = 120
"""Seconds after which a benchmark gives up."""


async def dispatches_per_second(database: str, ids: Sequence[str]) -> float:
    """Queues requests with these ids in one commit. Returns the rate at which the running workers dispatch them."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        before = await _finished(connection)
        await rows.queued(database, ids)
        queued = time.monotonic()
        async with asyncio.timeout(PATIENCE):
            while await _finished(connection) - before < len(ids):
                await asyncio.sleep(0.02)
        return len(ids) / (time.monotonic() - queued)


async def _finished(connection: psycopg.AsyncConnection) -> int:
    found = await connection.execute("SELECT count(*) FROM outbox WHERE step = 'dispatch' AND state = 'done'")
    row = await found.fetchone()
    return int(row[0]) if row else 0


async def stats(url: str) -> dict[str, Any]:
    """Returns the counts of a stand-in."""
    async with httpx.AsyncClient() as client:
        return dict((await client.get(f"{url}/stats")).json())


async def make_slow(url: str, seconds: float) -> None:
    """Makes a stand-in delay its responses."""
    async with httpx.AsyncClient() as client:
        (await client.post(f"{url}/delay?{seconds}")).raise_for_status()
