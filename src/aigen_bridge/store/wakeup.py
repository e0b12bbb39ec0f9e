"""Wakes workers for new outbox entries with LISTEN and NOTIFY. Polling finds what a notification misses."""

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
    reason,
    session,
)
from aigen_bridge.store.cut import cut_after
from aigen_bridge.store.database import LISTENER
from aigen_bridge.store.hosts import connecting_seconds
from aigen_bridge.store.passwords import Passwords

CHANNEL = "aigen_outbox"
"""The channel of the notifications. The payload is the queue."""
EVERYTHING = ""
"""The payload that wakes every lane, including those whose destination accepts no more calls."""

RECONNECT_AFTER = 1.0
CHECK_EVERY = 10.0
"""Seconds between checks of the connection. A connection that only listens does not detect that it is dead."""

_NOTIFY = text("SELECT pg_notify(:channel, :queue)")

log = structlog.get_logger(__name__)


async def listen(
    url: str | None, wake: Callable[[str], None], patience: timedelta = TIMEOUT, passwords: Passwords | None = None
) -> None:
    """Calls `wake` with the queue of each new entry, and with `EVERYTHING` after each (re)connection. Never returns.

    Without a URL it returns at once: behind a pooler in transaction mode, only polling finds new entries.
    """
    if url is None:
        log.warning(
            "outbox.polling", reason="AIGEN_DATABASE__LISTEN_URL is not set, and a pooler passes no notifications"
        )
        return
    settings = session(patience)
    arguments = connect_arguments(url, name=LISTENER, timeout=patience, settings=settings)
    connect, connecting = Connector(arguments, settings, passwords), connecting_seconds(arguments, patience)
    while True:
        try:
            async with asyncio.timeout(connecting):
                connection = await connect(autocommit=True, prepare_threshold=None)
            await _listen_on(connection, wake, patience.total_seconds())
        except StoreUnavailableError as error:
            log.warning("outbox.listen_interrupted", reason=error.reason)
        except (psycopg.Error, OSError) as error:  # a TimeoutError is an OSError
            log.warning("outbox.listen_interrupted", reason=reason(error))
        except Exception:  # a bug must not stop listening
            log.exception("outbox.listen_bug")
        await asyncio.sleep(RECONNECT_AFTER)


async def notify(connection: AsyncConnection, queue: str) -> None:
    """Wakes the workers of a queue when this transaction commits."""
    await connection.execute(_NOTIFY, {"channel": CHANNEL, "queue": str(queue)})


async def _listen_on(opened: psycopg.AsyncConnection[Any], wake: Callable[[str], None], seconds: float) -> None:
    async with opened as connection:
        await _execute_within_deadline(connection, f"LISTEN {CHANNEL}", seconds)
        wake(EVERYTHING)
        while True:
            async for notification in connection.notifies(timeout=min(seconds, CHECK_EVERY)):
                wake(notification.payload)
            await _execute_within_deadline(connection, "SELECT 1", seconds)


async def _execute_within_deadline(connection: psycopg.AsyncConnection[Any], statement: str, seconds: float) -> None:
    """Executes the statement. Shuts the connection down if there is no answer within `seconds`."""
    with cut_after(seconds) as cut:
        cut.watch(connection)
        await connection.execute(statement)
    metrics.LOOPS.labels("listen").set_to_current_time()
