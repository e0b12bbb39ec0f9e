"""Waiting for what a worker does."""

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import httpx
import psycopg

from benchmarks import rows

PATIENCE = 120
"""Seconds until a benchmark gives up."""


async def dispatches_per_second(database: str, ids: Sequence[str]) -> float:
    """Queue requests for all of these ids in one commit; how fast the workers that run get them dispatched."""
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
    """What a stand-in saw."""
    async with httpx.AsyncClient() as client:
        return dict((await client.get(f"{url}/stats")).json())


async def make_slow(url: str, seconds: float) -> None:
    """Let a stand-in answer so late."""
    async with httpx.AsyncClient() as client:
        (await client.post(f"{url}/delay?{seconds}")).raise_for_status()
