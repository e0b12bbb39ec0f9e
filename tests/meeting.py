"""Two writers that meet: the first one's transaction stays open until the second waits for it, or is through."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.store.database import Database


class OpenTransaction(Database):
    """The database as one writer sees it whose transaction somebody else ends. A refusal undoes what it has written."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.timeout = timedelta(seconds=10)

    @asynccontextmanager
    async def transaction(self, **_how: bool) -> AsyncIterator[AsyncConnection]:
        async with self._connection.begin_nested():
            yield self._connection

    reading = writing = transaction


async def waits_or_is_through(database: Database, task: asyncio.Task[Any]) -> bool:
    """Returns true as soon as the task waits for a lock, and false when it is through."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10), database.reading() as connection:
        while not task.done():
            if await connection.scalar(query):
                return True
            await asyncio.sleep(0.001)
    return False
