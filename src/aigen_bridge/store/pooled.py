"""Transactions behind a pooler in transaction mode, where a session lasts no longer than a transaction.

Each transaction begins with the settings that a session would have, so it does not matter which server process runs it
and what other clients of the pooler set there. Nothing is prepared.
"""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import psycopg
from psycopg.pq import TransactionStatus

_BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED; "
_DURABLE = "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
"""Stricter values are left to the administrator."""


def set_local(settings: Mapping[str, str]) -> str:
    """Returns the statements that make these settings until the end of the transaction, and commits durable."""
    calls = ", ".join(f"set_config('{name}', '{value}', true)" for name, value in settings.items())
    return f"SELECT {calls}; {_DURABLE}"


def pooled_cursor(settings: Mapping[str, str]) -> type[psycopg.AsyncCursor[Any]]:
    """Returns the class of cursors whose transactions begin with these settings.

    A single statement outside of a transaction gets one of its own, which takes two more round trips.
    """
    beginning = set_local(settings)

    class PooledCursor(psycopg.AsyncCursor[Any]):
        async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
            async with self._in_transaction():
                return await super().execute(query, params, **options)

        async def executemany(self, query: Any, params_seq: Any, **options: Any) -> None:
            async with self._in_transaction():
                await super().executemany(query, params_seq, **options)

        @asynccontextmanager
        async def _in_transaction(self) -> AsyncIterator[None]:
            connection, own = self.connection, psycopg.AsyncCursor(self.connection)
            begins, is_single = connection.info.transaction_status is TransactionStatus.IDLE, connection.autocommit
            if begins:  # unless it is single, psycopg begins the transaction
                await own.execute(_BEGIN + beginning if is_single else beginning)
            try:
                yield
            except BaseException:
                if begins and is_single:
                    with suppress(psycopg.Error):  # the connection is broken: nothing is left to undo
                        await own.execute("ROLLBACK")
                raise
            if begins and is_single:
                await own.execute("COMMIT")

    return PooledCursor
