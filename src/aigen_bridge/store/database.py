"""The connection pool, and the translation of its errors into ours."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any

from psycopg.errors import UndefinedColumn, UndefinedTable
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
    Cut,
    connect_arguments,
    connecting_seconds,
    cut_after,
    session,
    unavailable,
)

LISTENER = "aigen-bridge listen"
"""The name under which PostgreSQL shows a worker as long as it lives: the connection on which it hears of work."""
PREPARE_AFTER = 5
"""Executions after which a statement is prepared."""

_AFTER_COMMIT = "aigen_after_commit"


def after_commit(connection: AsyncConnection, act: Callable[[], None]) -> None:
    """Call `act` once this transaction is committed; never when it is not. It must not raise."""
    connection.info[_AFTER_COMMIT].append(act)


def open_engine(url: str, *, pool_size: int, name: str, timeout: timedelta = TIMEOUT) -> AsyncEngine:
    """A pool of at most `pool_size` connections, shown in PostgreSQL under `name`."""
    arguments = connect_arguments(url, name=name, timeout=timeout, settings=session(timeout))
    engine = create_async_engine(
        SCHEME,
        json_deserializer=readable.parse_json,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=timeout.total_seconds() / 2,
        pool_use_lifo=True,  # the same few again and again: they have their statements prepared
        isolation_level="AUTOCOMMIT",  # what is done most is a statement that stands alone
        hide_parameters=True,  # prompts and images stay out of error messages
        connect_args={"async_creator_fn": Connector(arguments), "prepare_threshold": PREPARE_AFTER},
        execution_options={"connecting_seconds": connecting_seconds(arguments, timeout)},
    )
    event.listen(engine.sync_engine, "connect", lambda opened, _: readable.register(opened.driver_connection))
    event.listen(engine.sync_engine, "handle_error", _drop_when_stale)
    return engine


def _drop_when_stale(context: ExceptionContext) -> None:
    """Replace all connections of the pool: what is stale in one of them is stale in the others."""
    if isinstance(context.original_exception, STALE):
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
        if isinstance(error, OperationalError | InterfaceError | InternalError) or error.connection_invalidated:
            raise unavailable(error) from error
        raise


class Database:
    """Transactions and single statements, each with a deadline. Raises `StoreUnavailableError` when PostgreSQL is away.

    `patient` multiplies the deadline by `PATIENCE`, for statements that carry images or remove many rows.
    """

    def __init__(self, engine: AsyncEngine, timeout: timedelta = TIMEOUT) -> None:
        self._engine = engine
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")
        self.timeout = timeout

    @asynccontextmanager
    async def transaction(self, *, prepared: bool = False, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """Everything inside is committed together when the block ends, before anybody is answered.

        `prepared` prepares its statements: only for frequent transactions whose callers begin them again, because a
        prepared statement can go stale.
        """
        async with self._writing(self._transactional, patient=patient) as connection:
            driver = await _driver(connection)
            driver.prepare_threshold = PREPARE_AFTER if prepared else None
            try:
                async with connection.begin():
                    yield connection
            finally:
                driver.prepare_threshold = PREPARE_AFTER

    @asynccontextmanager
    async def reading(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """For single statements: each stands alone."""
        async with self._connected(self._engine, patient=patient) as connection:
            yield connection

    @asynccontextmanager
    async def writing(self, *, patient: bool = False) -> AsyncIterator[AsyncConnection]:
        """For one statement that is a whole transaction: committed when it returns, in one round trip and not three."""
        async with self._writing(self._engine, patient=patient) as connection:
            yield connection

    @asynccontextmanager
    async def _writing(self, engine: AsyncEngine, *, patient: bool) -> AsyncIterator[AsyncConnection]:
        later: list[Callable[[], None]] = []
        async with self._connected(engine, patient=patient) as connection:
            connection.info[_AFTER_COMMIT] = later
            yield connection
        for act in later:
            act()

    @asynccontextmanager
    async def _connected(self, engine: AsyncEngine, *, patient: bool) -> AsyncIterator[AsyncConnection]:
        """A connection that is cut, and not given back, when the block is not over in time."""
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
            reason = f"no connection within {seconds:g} s"
            raise StoreUnavailableError(detail, reason) from error

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()


async def _driver(connection: AsyncConnection) -> Any:
    return (await connection.get_raw_connection()).driver_connection
