"""Connections to PostgreSQL: connection arguments, session settings and timeouts.

The session sets what the statements and psycopg rely on, whatever the defaults of the database or role are. Two
timeouts detect a connection that died silently: TCP keepalives in the kernel, and `TIMEOUT` for each caller.
"""

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Self

import psycopg
from psycopg.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg.pq import TransactionStatus

from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store.cut import cut_after
from aigen_bridge.store.hosts import Place, each_server, number_of_hosts, seconds_for_answer, seconds_for_one
from aigen_bridge.store.parameters import completed
from aigen_bridge.store.passwords import Passwords
from aigen_bridge.store.pooled import pooled_cursor
from aigen_bridge.store.session import (
    APPLY,
    COMPARE,
    asked,
    is_pooled,
    refusals_explained,
    refuse_differences,
    refuse_encoding,
    refuse_lost,
    refuse_transaction_mode,
    unanswered,
)
from aigen_bridge.store.url import parse

TIMEOUT = timedelta(seconds=10)
PATIENCE = 3
"""Factor on the timeout of statements that carry images or delete many rows."""
SCHEME = "postgresql+psycopg://"

MEANING: dict[str, str] = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "default_transaction_isolation": "read committed",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
"""Settings that affect the meaning of statements or the format of values. `search_path`, `role` and
`default_transaction_read_only` are left to the administrator."""

STALE = (InvalidSqlStatementName, DuplicatePreparedStatement, FeatureNotSupported)
"""Errors for a stale prepared statement: a table changed ("cached plan must not change result type"), or a pooler
switched to another server connection. They are raised before the statement runs, never after."""

Session = Mapping[str, str]


def session(timeout: timedelta) -> Session:
    """Returns the session settings of everything except migrations.

    Their timeouts make PostgreSQL end long statements even after the client has died. Each statement finds its rows by
    index whatever its parameters are, so it is planned once.
    """
    milliseconds = _milliseconds(timeout)
    return MEANING | {
        "statement_timeout": f"{milliseconds * PATIENCE}ms",
        "lock_timeout": f"{milliseconds // 2}ms",
        "idle_in_transaction_session_timeout": f"{milliseconds}ms",
        "plan_cache_mode": "force_generic_plan",
    }


def connect_arguments(
    url: str, *, name: str, timeout: timedelta, settings: Session, prepared_statements: bool = True
) -> dict[str, Any]:
    """Returns the arguments for psycopg's `connect`. Connection parameters in the URL override the defaults.

    `settings` are the session settings. `name` is the application name in PostgreSQL. Several hosts are tried one after
    the other, all within the timeout, until one is the primary. Without prepared statements, transactions set the
    session settings. Raises `UnsuitableDatabaseError` if the URL has other parameters.
    """
    from_url = completed(_parameters(url))
    seconds, hosts = timeout.total_seconds(), number_of_hosts(from_url)
    defaults = {
        "connect_timeout": str(seconds_for_one(timeout, hosts)),
        "keepalives": "1",
        "keepalives_idle": str(max(1, round(seconds / 2))),
        "keepalives_interval": str(max(1, round(seconds / 5))),
        "keepalives_count": "3",
        "tcp_user_timeout": str(_milliseconds(timeout)),
    }
    if hosts > 1:
        defaults["target_session_attrs"] = "primary"
    if prepared_statements:
        session_options = " ".join(f"-c {key}={_escaped(value)}" for key, value in settings.items())
        options = f"{from_url.get('options', '')} {session_options}".strip()  # the last one wins
    else:
        _refuse_options(from_url)
        options = ""
    return defaults | from_url | {"options": options, "client_encoding": "UTF8", "application_name": name}


@contextmanager
def secrets_hidden(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Replaces the secrets in these arguments with `***` in the messages of connection errors."""
    try:
        yield
    except psycopg.Error as error:
        message = str(error)
        for secret in (arguments.get("password"), arguments.get("sslpassword")):
            message = message.replace(str(secret), "***") if secret else message
        error.args = (message,)
        raise


def _refuse_options(parameters: Mapping[str, str]) -> None:
    if options := parameters.get("options"):
        raise UnsuitableDatabaseError(
            f"AIGEN_DATABASE_URL sets options to {options!r}, which a pooler in transaction mode refuses or drops "
            "(AIGEN_DATABASE__PREPARED_STATEMENTS is false).",
            "Remove options from it, and give the role these settings: ALTER ROLE … SET search_path = … and the like.",
        )


def _escaped(value: str) -> str:
    return value.replace(" ", "\\ ")


def _milliseconds(timeout: timedelta) -> int:
    return round(timeout.total_seconds() * 1000)


def _parameters(url: str) -> dict[str, str]:
    """Returns the URL's parameters. Raises `UnsuitableDatabaseError`."""
    try:
        return parse(url)
    except ValueError as error:
        raise UnsuitableDatabaseError(
            f"AIGEN_DATABASE_URL {error}.",
            "Write it as postgresql://user:password@host1,host2:port/database?parameter=value, with the parameters of "
            "libpq, and percent-encode special characters of the password.",
        ) from None


class Cursor(psycopg.AsyncCursor[Any]):
    """Retries a single statement once if its prepared form is stale."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Self:
        """Executes as in psycopg. Inside a transaction the error is raised: the caller has to retry the transaction."""
        try:
            return await super().execute(query, params, **options)
        except STALE:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                raise
            await self.connection.execute("DEALLOCATE ALL")
            return await super().execute(query, params, **options)


_DURABLE_SESSION = """
    SELECT set_config(name, CASE name WHEN 'synchronous_commit' THEN 'on' ELSE '0' END, false) FROM pg_settings
    WHERE (name = 'synchronous_commit' AND setting = 'off') OR (name = 'idle_session_timeout' AND setting <> '0')
"""
"""Makes commits durable and keeps idle connections open. PostgreSQL 13 does not know the second setting, so it cannot
be a startup option. Stricter values of the first are left to the administrator."""


class Connector:
    """Opens connections with these arguments, and refuses an unsuitable database.

    Without prepared statements, each transaction of a connection begins with the settings. `passwords` replace the one
    in the arguments.
    """

    def __init__(
        self,
        arguments: Mapping[str, Any],
        settings: Session,
        passwords: Passwords | None = None,
        *,
        prepared_statements: bool = True,
    ) -> None:
        self._arguments = dict(arguments)
        own = Passwords(self._arguments.pop("password", None))
        self._passwords = passwords or own
        self._prepared_statements = prepared_statements
        self._cursor = Cursor if prepared_statements else pooled_cursor(settings)
        self._asked = asked(settings)
        self._last: Place | None = None
        self._session_pools: set[tuple[str, int]] = set()
        self._proving = asyncio.Lock()

    async def __call__(self, conninfo: str = "", **more: Any) -> psycopg.AsyncConnection[Any]:
        """Opens a connection. `more` are further arguments for psycopg.

        Each server is tried with each password before the next one, so an unresponsive server costs time only once.
        """
        errors: dict[str, psycopg.OperationalError] = {}
        with refusals_explained(self._arguments):
            for server in await each_server(self._arguments, self._last):
                place = tuple(server.get(name, "") for name in ("host", "hostaddr", "port"))
                arguments = self._arguments | server | more
                try:
                    connection = await self._passwords.connect(partial(self._open, conninfo, arguments))
                except psycopg.OperationalError as error:
                    errors[named(server)] = error
                except asyncio.CancelledError:  # too late for the other servers: the next call goes on here
                    self._last = place
                    raise
                else:
                    self._last = place
                    return connection
            raise together(errors)

    async def _open(
        self, conninfo: str, arguments: Mapping[str, Any], password: str | None
    ) -> psycopg.AsyncConnection[Any]:
        arguments = {**arguments, **({"password": password} if password else {})}
        with secrets_hidden(arguments):
            connection = await psycopg.AsyncConnection.connect(conninfo, cursor_factory=self._cursor, **arguments)
            try:
                await self._settle(connection, seconds_for_answer(arguments))
            except BaseException:  # nobody else has this connection, not even when the caller is cancelled
                connection.pgconn.finish()
                raise
        return connection

    async def _settle(self, connection: psycopg.AsyncConnection[Any], seconds: int) -> None:
        """Verifies the encoding and the session settings. A pooler in session mode keeps those that are set later."""
        refuse_encoding(connection)
        pid, differences = await self._compared(connection, seconds)
        if not self._prepared_statements:
            refuse_lost(differences)
            await connection.rollback()
            connection.prepare_threshold = None
            return
        if is_pooled(connection, pid):
            await connection.rollback()  # releases the pooler's connection
            await self._settle_behind_pooler(connection)
        else:
            refuse_differences(differences)
        await connection.execute(_DURABLE_SESSION)
        if not connection.autocommit:
            await connection.commit()

    async def _compared(self, connection: psycopg.AsyncConnection[Any], seconds: int) -> tuple[int, list[str]]:
        """Returns the result of `COMPARE`, or raises `ConnectionTimeout`, so that the next server has its turn."""
        with cut_after(seconds) as cut:
            cut.watch(connection)
            try:
                return await (await connection.execute(COMPARE, self._asked)).fetchone() or (0, [])
            except psycopg.OperationalError as error:
                if cut.made:
                    raise unanswered(seconds) from error
                raise

    async def _settle_behind_pooler(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Sets what the pooler dropped.

        Nothing is prepared: if the pooler's mode changes, a prepared statement could be one of another client.
        """
        pooler = connection.info.host, connection.info.port
        async with self._proving:
            if pooler not in self._session_pools:
                await asyncio.to_thread(refuse_transaction_mode, connection, self._arguments)
                self._session_pools.add(pooler)
        await connection.execute(APPLY, self._asked)
        connection.prepare_threshold = None


def named(server: Mapping[str, str]) -> str:
    """Returns the server's address, or its host's name, and its port."""
    return f"{server.get('hostaddr') or server.get('host', '')}:{server.get('port', '')}"


def together(errors: Mapping[str, psycopg.OperationalError]) -> psycopg.OperationalError:
    """Returns one error for those of several servers, of the last one's type."""
    *_, last = errors.values()
    return type(last)("; ".join(f"{server}: {error}" for server, error in errors.items())) if len(errors) > 1 else last


def reason(error: BaseException) -> str:
    """Returns the message of PostgreSQL or its client on one line, with the SQLSTATE. For logs, not for callers."""
    cause: Any = getattr(error, "orig", None) or error
    message = " ".join(str(cause).split()) or type(cause).__name__
    code = getattr(cause, "sqlstate", None)
    return f"{message} ({code})" if code else message


def unavailable(error: BaseException) -> StoreUnavailableError:
    """Translates a driver error into `StoreUnavailableError`."""
    cause = getattr(error, "orig", None) or error
    return StoreUnavailableError(f"The database did not answer ({type(cause).__name__}).", reason(error))
