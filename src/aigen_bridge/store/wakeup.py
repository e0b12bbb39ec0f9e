"""LISTEN for new outbox entries, so that a worker wakes at once. A hint: polling finds what it misses."""

import asyncio
from collections.abc import Callable

import psycopg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.store.database import LISTENER

CHANNEL = "aigen_outbox"
"""NOTIFY wakes workers here; the payload is the step. A hint only: a worker that misses it polls."""
EVERYTHING = ""
"""The payload after which every lane looks, also one whose destination took nothing more."""

RECONNECT_AFTER = 1.0
"""Seconds."""

_NOTIFY = text("SELECT pg_notify(:channel, :step)")

log = structlog.get_logger(__name__)


async def listen(url: str, wake: Callable[[str], None]) -> None:
    """Call `wake` with the step of each new entry, with `EVERYTHING` after each (re)connection. Until cancelled."""
    conninfo = url.replace("postgresql+psycopg://", "postgresql://", 1)
    while True:
        try:
            await _listen_once(conninfo, wake)
        except psycopg.Error as error:
            log.warning("outbox.listen_interrupted", reason=type(error).__name__)
        await asyncio.sleep(RECONNECT_AFTER)


async def notify(connection: AsyncConnection, step: str) -> None:
    """Wake the workers of a step when this transaction is committed."""
    await connection.execute(_NOTIFY, {"channel": CHANNEL, "step": str(step)})


async def _listen_once(conninfo: str, wake: Callable[[str], None]) -> None:
    connecting = psycopg.AsyncConnection.connect(
        conninfo, autocommit=True, connect_timeout=5, application_name=LISTENER
    )
    async with await connecting as connection:
        await connection.execute(f"LISTEN {CHANNEL}")
        wake(EVERYTHING)
        async for notice in connection.notifies():
            wake(notice.payload)
