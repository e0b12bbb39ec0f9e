"""LISTEN for new outbox entries, so that a worker wakes at once. A hint: polling finds what it misses."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import structlog
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.connection import (
    TIMEOUT,
    Connector,
    connect_arguments,
    connecting_seconds,
    cut_after,
    reason,
    session,
)
from aigen_bridge.store.database import LISTENER

CHANNEL = "aigen_outbox"
"""NOTIFY wakes workers here; the payload is the step. A hint only: a worker that misses it polls."""
EVERYTHING = ""
"""The payload after which every lane looks, also one whose destination took nothing more."""

RECONNECT_AFTER = 1.0
CHECK_EVERY = 10.0
"""Seconds between two checks of the link: a connection that only listens does not notice that its link is dead."""

_NOTIFY = text("SELECT pg_notify(:channel, :step)")

log = structlog.get_logger(__name__)


async def listen(url: str, wake: Callable[[str], None], patience: timedelta = TIMEOUT) -> None:
    """Call `wake` with the step of each new entry, with `EVERYTHING` after each (re)connection. Until cancelled."""
    arguments = connect_arguments(url, name=LISTENER, timeout=patience, settings=session(patience))
    connect, connecting = Connector(arguments), connecting_seconds(arguments, patience)
    while True:
        try:
            async with asyncio.timeout(connecting):
                connection = await connect(autocommit=True, prepare_threshold=None)
            await _listen_on(connection, wake, patience.total_seconds())
        except StoreUnavailableError as error:
            log.warning("outbox.listen_interrupted", reason=error.reason)
        except (psycopg.Error, OSError) as error:  # a TimeoutError is an OSError
            log.warning("outbox.listen_interrupted", reason=reason(error))
        except Exception:  # a bug must not end the listening
            log.exception("outbox.listen_bug")
        await asyncio.sleep(RECONNECT_AFTER)


async def notify(connection: AsyncConnection, step: str) -> None:
    """Wake the workers of a step when this transaction is committed."""
    await connection.execute(_NOTIFY, {"channel": CHANNEL, "step": str(step)})


async def _listen_on(opened: psycopg.AsyncConnection[Any], wake: Callable[[str], None], seconds: float) -> None:
    async with opened as connection:
        await _answered(connection, f"LISTEN {CHANNEL}", seconds)
        wake(EVERYTHING)
        while True:
            async for notice in connection.notifies(timeout=min(seconds, CHECK_EVERY)):
                wake(notice.payload)
            await _answered(connection, "SELECT 1", seconds)


async def _answered(connection: psycopg.AsyncConnection[Any], statement: str, seconds: float) -> None:
    """The link works, or is cut."""
    with cut_after(seconds) as cut:
        cut.watch(connection)
        await connection.execute(statement)
    metrics.LOOPS.labels("listen").set_to_current_time()
