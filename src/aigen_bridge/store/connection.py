"""How a connection to PostgreSQL is made, by everything that makes one: its arguments, its session, and its end.

The session sets what our statements and psycopg rely on, so that the defaults of a database or role cannot change what
they mean. A link that dies without a word is noticed: by the kernel, and by whoever waits longer than `TIMEOUT`.
"""

import asyncio
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, Self
from urllib.parse import urlsplit

import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.errors import DuplicatePreparedStatement, FeatureNotSupported, InvalidSqlStatementName
from psycopg.pq import TransactionStatus
from sqlalchemy import make_url
from sqlalchemy.dialects.postgresql.psycopg import dialect
from sqlalchemy.exc import ArgumentError

from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError

TIMEOUT = timedelta(seconds=10)
PATIENCE = 3
"""Times the timeout: for what carries images, or removes many rows."""
HOST_SECONDS_MIN, HOST_SECONDS_MAX = 2, 5.0
"""For connecting to one host; libpq takes less than 2 s for 2 s."""
SCHEME = "postgresql+psycopg://"

MEANING: dict[str, str] = {
    "DateStyle": "ISO",
    "IntervalStyle": "postgres",
    "TimeZone": "UTC",
    "default_transaction_isolation": "read\\ committed",
    "standard_conforming_strings": "on",
    "array_nulls": "on",
    "bytea_output": "hex",
    "extra_float_digits": "1",
}
"""Settings on which the meaning of our statements, or the form of values, depends. `search_path`, `role` and
`default_transaction_read_only` are the administrator's to choose."""

REPORTED: Mapping[str, str] = {"client_encoding": "UTF8", "DateStyle": "ISO", "IntervalStyle": "postgres"}
"""Parameters whose actual values PostgreSQL reports when it connects, and how each value must begin."""

STALE = (InvalidSqlStatementName, DuplicatePreparedStatement, FeatureNotSupported)
"""A prepared statement is not what it was: a table changed ("cached plan must not change result type"), or a pooler
handed out another server connection. None of them is raised once a statement runs."""

Session = Mapping[str, str]


def session(timeout: timedelta) -> Session:
    """The session of everything but migrations.

    PostgreSQL ends what takes longest even when we are gone. Each statement finds its rows by index whatever its
    parameters are, so it is planned once.
    """
    milliseconds = _milliseconds(timeout)
    return MEANING | {
        "statement_timeout": f"{milliseconds * PATIENCE}ms",
        "lock_timeout": f"{milliseconds // 2}ms",
        "idle_in_transaction_session_timeout": f"{milliseconds}ms",
        "plan_cache_mode": "force_generic_plan",
    }


def connect_arguments(url: str, *, name: str, timeout: timedelta, settings: Session) -> dict[str, Any]:
    """What to call `connect` of psycopg with; what the URL says about the link goes before our defaults.

    `settings` are those of the session, `name` is shown in PostgreSQL. Several hosts are tried one after the other,
    all within the timeout.
    """
    given = _parameters(url)
    seconds, hosts = timeout.total_seconds(), _hosts(given)
    link = {
        "connect_timeout": str(max(HOST_SECONDS_MIN, int(min(HOST_SECONDS_MAX, seconds / (hosts + 1))))),
        "keepalives": "1",
        "keepalives_idle": str(max(1, round(seconds / 2))),
        "keepalives_interval": str(max(1, round(seconds / 5))),
        "keepalives_count": "3",
        "tcp_user_timeout": str(_milliseconds(timeout)),
    }
    ours = " ".join(f"-c {key}={value}" for key, value in settings.items())
    options = f"{given.get('options', '')} {ours}".strip()  # the last one wins
    return link | given | {"options": options, "client_encoding": "UTF8", "application_name": name}


def connecting_seconds(arguments: Mapping[str, Any], timeout: timedelta) -> float:
    """How long connecting may take: the timeout, or longer if that is too short for a try at every host."""
    return max(timeout.total_seconds(), int(arguments["connect_timeout"]) * _hosts(arguments) + 1.0)


def _hosts(arguments: Mapping[str, Any]) -> int:
    return len(str(arguments.get("host", "")).split(","))


@contextmanager
def secrets_hidden(arguments: Mapping[str, Any]) -> Iterator[None]:
    """Removes the secrets among these arguments from the messages of connection errors."""
    try:
        yield
    except psycopg.Error as error:
        said = str(error)
        for secret in (arguments.get("password"), arguments.get("sslpassword")):
            said = said.replace(str(secret), "***") if secret else said
        error.args = (said,)
        raise


def _milliseconds(timeout: timedelta) -> int:
    return round(timeout.total_seconds() * 1000)


def _parameters(url: str) -> dict[str, Any]:
    """The URL's parts, as SQLAlchemy reads it, or as libpq does (`h1,h2:5433`). Raises `UnsuitableDatabaseError`."""
    if "," not in urlsplit(url).netloc.rpartition("@")[2]:
        sqlalchemy: Any = dialect
        with suppress(ArgumentError, ValueError):
            _, parameters = sqlalchemy().create_connect_args(make_url(url))
            return {name: value for name, value in parameters.items() if name != "context"}
    try:
        return dict(conninfo_to_dict(url.replace(SCHEME, "postgresql://", 1)))
    except psycopg.Error:  # its text quotes the URL, and so perhaps the password
        raise UnsuitableDatabaseError(
            "AIGEN_DATABASE_URL cannot be read.",
            "Write it as postgresql://user:password@host1,host2:port/database?parameter=value, with the parameters of "
            "libpq, and percent-encode special characters of the password.",
        ) from None


def refuse_unsuitable(connection: psycopg.Connection[Any] | psycopg.AsyncConnection[Any]) -> None:
    """Close a connection that would change what we store or read. Raises `UnsuitableDatabaseError`."""
    reported = connection.info.parameter_status
    encoding = reported("server_encoding")
    changed = {name: found for name, begin in REPORTED.items() if not (found := reported(name) or "").startswith(begin)}
    if encoding == "UTF8" and not changed:
        return
    database = connection.info.dbname
    connection.pgconn.finish()
    if encoding != "UTF8":
        raise UnsuitableDatabaseError(
            f"The database {database!r} has the encoding {encoding}, which cannot hold every prompt; it must be UTF8.",
            "Create another one (CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0), restore a pg_dump of this one "
            "into it if it holds requests, and name it in AIGEN_DATABASE_URL.",
        )
    found = ", ".join(f"{name} {value!r}" for name, value in changed.items())
    raise UnsuitableDatabaseError(
        f"The session has {found}, although the bridge asked for {', '.join(REPORTED[name] for name in changed)}.",
        "See what stands between the bridge and PostgreSQL: a pooler that ignores 'options', or PGDATESTYLE.",
    )


class Cursor(psycopg.AsyncCursor[Any]):
    """Executes a statement that stands alone once more when its prepared form went stale."""

    async def execute(self, query: Any, params: Any = None, **how: Any) -> Self:
        """As in psycopg. Inside a transaction the error is raised: its caller has to begin the transaction again."""
        try:
            return await super().execute(query, params, **how)
        except STALE:
            if self.connection.info.transaction_status is not TransactionStatus.IDLE:
                raise
            await self.connection.execute("DEALLOCATE ALL")
            return await super().execute(query, params, **how)


_DEPENDABLE = """
    SELECT set_config(name, CASE name WHEN 'synchronous_commit' THEN 'on' ELSE '0' END, false) FROM pg_settings
    WHERE (name = 'synchronous_commit' AND setting = 'off') OR (name = 'idle_session_timeout' AND setting <> '0')
"""
"""What is committed is on disk, and an idle connection stays. PostgreSQL 13 does not know the second setting, so it
cannot be a startup option; stricter values of the first are the administrator's to choose."""


class Connector:
    """Makes connections with these arguments, to a database that suits us.

    Of several hosts, the one that was the right one last is tried first: a silent one costs time once, not each time.
    """

    def __init__(self, arguments: Mapping[str, Any]) -> None:
        self._arguments = dict(arguments)

    async def __call__(self, conninfo: str = "", **more: Any) -> psycopg.AsyncConnection[Any]:
        """A new connection; `more` are further arguments for psycopg."""
        with secrets_hidden(self._arguments):
            arguments = self._arguments | more
            connection = await psycopg.AsyncConnection.connect(conninfo, cursor_factory=Cursor, **arguments)
        refuse_unsuitable(connection)
        await connection.execute(_DEPENDABLE)
        if not connection.autocommit:
            await connection.commit()
        self._arguments |= first(self._arguments, connection.info.host, connection.info.port)
        return connection


def first(arguments: Mapping[str, Any], host: str, port: int) -> dict[str, str]:
    """Hosts and ports with the given one first. Empty unless `target_session_attrs` picks the server by its role."""
    if arguments.get("target_session_attrs", "any") == "any" or "hostaddr" in arguments:
        return {}
    hosts = str(arguments.get("host", "")).split(",")
    ports = [port or "5432" for port in str(arguments.get("port", "")).split(",")]
    if len(hosts) == 1 or len(ports) not in {1, len(hosts)}:
        return {}
    places = list(zip(hosts, ports * (len(hosts) // len(ports)), strict=True))
    places.sort(key=lambda place: place != (host, str(port)))  # stable: the others keep their order
    return {"host": ",".join(place[0] for place in places), "port": ",".join(place[1] for place in places)}


class Cut:
    """Breaks a connection when its time is over: what waits on it fails at once, whether or not packets arrive.

    Cancelling would not do: psycopg then asks the server to stop, and waits for its answer.
    """

    def __init__(self) -> None:
        self.made = False
        self._connection: psycopg.AsyncConnection[Any] | None = None

    def watch(self, connection: psycopg.AsyncConnection[Any]) -> None:
        """Sets the connection to break when the time is over; breaks it at once if it is over already."""
        self._connection = connection
        if self.made:  # the time was over before there was a connection
            self.make()

    def make(self) -> None:
        """Break it now."""
        self.made = True
        if self._connection and not self._connection.closed:
            with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as link:
                link.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_after(seconds: float) -> Iterator[Cut]:
    """Break the connection that is watched inside when the block is not over in time."""
    cut = Cut()
    timer = asyncio.get_running_loop().call_later(seconds, cut.make)
    try:
        yield cut
    finally:
        timer.cancel()


def reason(error: BaseException) -> str:
    """What PostgreSQL or its client said, on one line, with the SQLSTATE; for logs, not for callers."""
    cause: Any = getattr(error, "orig", None) or error
    said = " ".join(str(cause).split()) or type(cause).__name__
    code = getattr(cause, "sqlstate", None)
    return f"{said} ({code})" if code else said


def unavailable(error: BaseException) -> StoreUnavailableError:
    """Translates an error of the driver into `StoreUnavailableError`."""
    cause = getattr(error, "orig", None) or error
    return StoreUnavailableError(f"The database did not answer ({type(cause).__name__}).", reason(error))
