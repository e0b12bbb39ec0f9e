"""The connection pool, and the translation of its errors into ours."""

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager

from psycopg.errors import UndefinedColumn, UndefinedTable
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, InterfaceError, InternalError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store import readable

SESSION = {
    "statement_timeout": "15s",
    "lock_timeout": "5s",
    "idle_in_transaction_session_timeout": "30s",
    "TimeZone": "UTC",
    "plan_cache_mode": "force_generic_plan",
}
"""No statement of ours takes long; one that does must not hold others up. Each finds its rows by index whatever its
parameters are, so it is planned once: planning a move again each time costs more than making it."""
LISTENER = "aigen-bridge listen"
"""The name under which PostgreSQL shows a worker as long as it lives: the connection on which it hears of work."""


_AFTER_COMMIT = "aigen_after_commit"


def after_commit(connection: AsyncConnection, act: Callable[[], None]) -> None:
    """Call `act` once this transaction is committed; never when it is not. It must not raise."""
    connection.info[_AFTER_COMMIT].append(act)


def open_engine(url: str, *, pool_size: int, name: str) -> AsyncEngine:
    """A pool of at most `pool_size` connections, shown in PostgreSQL under `name`."""
    options = " ".join(f"-c {key}={value}" for key, value in SESSION.items())
    engine = create_async_engine(
        url,
        json_deserializer=readable.parse_json,
        pool_size=pool_size,
        max_overflow=0,
        pool_timeout=5,
        pool_use_lifo=True,  # the same few again and again: they have their statements prepared
        isolation_level="AUTOCOMMIT",  # what is done most is a statement that stands alone
        hide_parameters=True,  # prompts and images stay out of error messages
        connect_args={"options": options, "connect_timeout": 5, "application_name": name},
    )
    event.listen(engine.sync_engine, "connect", lambda opened, _: readable.register(opened.driver_connection))
    return engine


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, InternalError, PoolTimeoutError) as error:
        raise StoreUnavailableError(_reason(error)) from error
    except DBAPIError as error:
        if isinstance(error.orig, UndefinedTable | UndefinedColumn):
            raise StoreUnavailableError(
                "The database does not have the tables of this version: run 'aigen-bridge migrate'."
            ) from error
        if error.connection_invalidated:
            raise StoreUnavailableError(_reason(error)) from error
        raise


def _reason(error: Exception) -> str:
    cause = getattr(error, "orig", None) or error
    return f"The database did not answer ({type(cause).__name__})."


class Database:
    """Transactions and single reads. Raises `StoreUnavailableError` when PostgreSQL is away."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._transactional = engine.execution_options(isolation_level="READ COMMITTED")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """Everything inside is committed together when the block ends, before anybody is answered."""
        async with self._using(self._transactional.begin()) as connection:
            yield connection

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """For single statements: each stands alone."""
        with _translated():
            async with self._engine.connect() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """For one statement that is a whole transaction: committed when it returns, in one round trip and not three."""
        async with self._using(self._engine.connect()) as connection:
            yield connection

    @staticmethod
    @asynccontextmanager
    async def _using(opening: AbstractAsyncContextManager[AsyncConnection]) -> AsyncIterator[AsyncConnection]:
        later: list[Callable[[], None]] = []
        with _translated():
            async with opening as connection:
                connection.info[_AFTER_COMMIT] = later
                yield connection
        for act in later:
            act()

    async def close(self) -> None:
        """Close every connection."""
        await self._engine.dispose()
