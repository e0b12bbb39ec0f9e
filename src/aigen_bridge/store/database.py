"""The connection pool. Translates driver errors into `StoreUnavailableError`."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction, UndefinedColumn, UndefinedTable
from sqlalchemy import event
from sqlalchemy.engine.interfaces import ExceptionContext
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store import readable
from aigen_bridge.store.connection import (
    PATIENCE,
    SCHEME,
    STALE,
    TIMEOUT,
    Connector,
    connect_arguments,
    reason,
    session,
    unavailable,
)
from aigen_bridge.store.cut import Cut, cut_after
from aigen_bridge.store.hosts import connecting_seconds
from aigen_bridge.store.passwords import Passwords

LISTENER = "aigen-bridge listen"
"""Application name of the connection on which a worker listens for new entries. It is open while the worker runs."""
PREPARE_AFTER = 5
"""Number of executions after which a statement is prepared."""

_AFTER_COMMIT = "aigen_after_commit"


def after_commit(connection: AsyncConnection, act: Callable[[], None]) -> None:
    """Calls `act` after this transaction commits, and not at all if it rolls back. `act` must not raise."""
    connection.info[_AFTER_COMMIT].append(act)


def open_engine(
    url: str,
    *,
    pool_size: int,
    name: str,
    timeout: timedelta = TIMEOUT,
    prepared_statements: bool = True,
    passwords: Passwords | None = None,
) -> AsyncEngine:
    """Opens a pool of at most `pool_size` connections. `name` is their application name in PostgreSQL.

    `passwords` replace the one in the URL.
    """
    settings = session(timeout)
    arguments = connect_arguments(
        url, name=name, timeout=timeout, settings=settings, prepared_statements=prepared_statements
    )
    connector = Connector(arguments, settings, passwords, prepared_statements=prepared_statements)
    engine = create_async_engine(
        SCHEME,
        json_deserializer=readable.parse_json,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds() / 2,
        pool_use_lifo=True,  # reuses the same few connections, which have their statements prepared
        isolation_level="AUTOCOMMIT",  # most calls are a single statement
        hide_parameters=True,  # keeps prompts and images out of error messages
        connect_args={"async_creator_fn": connector, "prepare_threshold": PREPARE_AFTER},
        execution_options={"connecting_seconds": connecting_seconds(arguments, timeout)},
    )
    event.listen(engine.sync_engine, "connect", lambda opened, _: readable.register(opened.driver_connection))
    event.listen(engine.sync_engine, "handle_error", _drop_when_stale)
    return engine


def _drop_when_stale(context: ExceptionContext) -> None:
    """Replaces all connections of the pool: a statement that is stale in one is stale in all.

    A connection that takes no writes is replaced too. It leads to a standby, such as a former primary to which the
    host's name still led after a failover, and it would stay open when the name leads to the new primary.
    """
    if isinstance(context.original_exception, (*STALE, ReadOnlySqlTransaction)):
        context.is_disconnect = True


@contextmanager
def _translated(cut: Cut, seconds: float) -> Iterator[None]:
    try:
        yield
    except PoolTimeoutError as error:
        detail = f"The database did not answer ({type(error).__name__})."
        raise StoreUnavailableError(detail, "all connections of this process are in use") from error
    except DBAPIError as error:
        if cut.made:
            detail = f"The database did not answer ({type(error.orig).__name__})."
            raise StoreUnavailableError(detail, f"no answer within {seconds:g} s; the connection is dropped") from error
        if isinstance(error.orig, UndefinedTable | UndefinedColumn):
            raise StoreUnavailableError(
                "The database does not have the tables of this version: run 'aigen-bridge migrate'.",
                str(error.orig).partition("\n")[0],
            ) from error
        if isinstance(error.orig, InsufficientPrivilege):
            detail = "The database denies the bridge a right that it needs: run 'aigen-bridge doctor'."
            raise StoreUnavailableError(detail, reason(error)) from error
        if isinstance(error, OperationalError | InterfaceError | InternalError) or error.connection_invalidated:
            raise unavailable(error) from error
        raise


class Database:
    """Runs transactions and single statements, each with a deadline. Raises `StoreUnavailableError`.

    `patient` multiplies the deadline by `PATIENCE`, for statements that carry images or delete many rows.
    """

    def __init__(self, engine: AsyncEngine, timeout: timedelta = TIMEOUT) -> None:
        self._engine = engine
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")
        self.timeout = timeout

    @asynccontextmanager
    async def transaction(self, *, prepared: bool = False, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """Opens a transaction, which is committed when the block ends.

        `prepared` prepares its statements. A prepared statement can become stale, so use it only for frequent
        transactions whose callers retry them.
        """
        async with self._writing(self._transactional, patient=patient) as connection:
            driver = await _driver(connection)
            usual = driver.prepare_threshold  # None behind a pooler
            driver.prepare_threshold = usual if prepared else None
            try:
                async with connection.begin():
                    yield connection
            finally:
                driver.prepare_threshold = usual

    @asynccontextmanager
    async def reading(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """Opens a connection for single statements, each in its own transaction."""
        async with self._connected(self._engine, patient=patient) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """Opens a connection for a single statement that commits by itself: one round trip instead of three."""
        async with self._writing(self._engine, patient=patient) as connection:
            yield connection

    @asynccontextmanager
    async def _writing(self, engine: AsyncEngine, *, patient: bool) -> AsyncIterator[AsyncConnection]:
        callbacks: list[Callable[[], None]] = []
        async with self._connected(engine, patient=patient) as connection:
            connection.info[_AFTER_COMMIT] = callbacks
            yield connection
        for act in callbacks:
            act()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine, *, patient: bool) -> AsyncIterator[AsyncConnection]:
        """Opens a connection. A block that exceeds its deadline has it shut down instead of returned to the pool."""
        seconds = self.timeout.total_seconds() * (PATIENCE if patient else 1)
        with cut_after(seconds) as cut, _translated(cut, seconds):
            connection = await self._open(engine)
            try:
                cut.watch(await _driver(connection))
                yield connection
            finally:
                await asyncio.shield(connection.close())

    async def _open(self, engine: AsyncEngine) -> AsyncConnection:
        seconds = engine.get_execution_options()["connecting_seconds"]
        try:
            async with asyncio.timeout(seconds):
                return await engine.connect()
        except TimeoutError as error:
            detail = "The database did not answer (ConnectionTimeout)."
            raise StoreUnavailableError(detail, f"no connection within {seconds:g} s") from error

    async def close(self) -> None:
        """Closes all connections."""
        await self._engine.dispose()


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection
