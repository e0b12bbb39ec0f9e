"""Runs the migrations from the folder beside the sources, or from the copy in the wheel."""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, closing, suppress
from datetime import timedelta
from functools import cache, partial
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import (
    DeadlockDetected,
    InsufficientPrivilege,
    InvalidSchemaName,
    LockNotAvailable,
    ReadOnlySqlTransaction,
)
from sqlalchemy import Connection, Engine, create_engine, text
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.pool import NullPool

from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store.connection import (
    MEANING,
    SCHEME,
    TIMEOUT,
    Session,
    connect_arguments,
    named,
    reason,
    secrets_hidden,
    session,
    together,
    unavailable,
)
from aigen_bridge.store.cut import cut_in_thread_after
from aigen_bridge.store.database import Database
from aigen_bridge.store.hosts import each_server_in_thread, seconds_for_answer
from aigen_bridge.store.listening import WHICH, naming_listen_url, refuse_another_database
from aigen_bridge.store.pooled import set_local
from aigen_bridge.store.rights import MISSING, NEEDED_TO_MIGRATE, refuse_lacking
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
from aigen_bridge.store.waiting import Blockers, watching

_PACKAGE = Path(__file__).parents[1]
SESSION = MEANING | {"statement_timeout": "1h", "lock_timeout": "1s", "idle_in_transaction_session_timeout": "1h"}
"""Session settings of a migration, which may rewrite a large table. The lock timeout is short, because other sessions
queue behind a migration that waits for a lock. It does not apply to `CREATE INDEX CONCURRENTLY` (migrations/env.py)."""
LOCK_PATIENCE = timedelta(minutes=10)
"""The time during which a migration is retried while a lock is not free or another migration is running."""
LOCK_PAUSE = timedelta(seconds=2)
"""The pause between two tries, longer than the lock timeout: what queued behind the migration catches up."""
NOT_FREE = (LockNotAvailable, DeadlockDetected)


def folder() -> Path:
    """Returns the folder of the migrations."""
    inside_wheel = _PACKAGE / "migrations"
    return inside_wheel if inside_wheel.is_dir() else _PACKAGE.parents[1] / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    return config


def migrate(url: str, revision: str = "head", *, timeout: timedelta = TIMEOUT) -> None:
    """Migrates the database to `revision`. `base` drops all tables of the bridge.

    Safe to run repeatedly and concurrently: migrations wait for each other. Raises `StoreUnavailableError`, which says
    how far it came.
    """
    arguments = connect_arguments(url, name="aigen-bridge migrate", timeout=timeout, settings=SESSION)
    _opened(arguments, SESSION, timeout).close()
    engine = create_engine(SCHEME, creator=partial(_connect, arguments, SESSION, timeout), poolclass=NullPool)
    blockers = Blockers()
    before = None
    try:
        before = _revision(engine)
        until = time.monotonic() + LOCK_PATIENCE.total_seconds()
        while not _migrated(engine, revision, partial(watching, arguments, blockers), until):
            time.sleep(LOCK_PAUSE.total_seconds())
    except DBAPIError as error:
        detail = f"The database could not be migrated: {reason(error)}. {_progress(engine, error, before)}."
        raise UnsuitableDatabaseError(detail, _advice(engine, error, blockers)) from error


def _migrated(
    engine: Engine, revision: str, watch: Callable[[int], AbstractContextManager[None]], until: float
) -> bool:
    """Runs the migrations. Returns False if a lock was not free; raises if it is too late to try again."""
    config = _config()
    try:
        with engine.connect() as connection, watch(connection.scalar(text("SELECT pg_backend_pid()")) or 0):
            connection.rollback()
            config.attributes["connection"] = connection
            command.downgrade(config, revision) if revision == "base" else command.upgrade(config, revision)
    except OperationalError as error:
        if time.monotonic() > until or not isinstance(error.orig, NOT_FREE):
            raise
        return False
    return True


def _revision(engine: Engine) -> str | None:
    with engine.connect() as connection:
        return _current(connection)


def _progress(engine: Engine, error: DBAPIError, before: str | None) -> str:
    try:
        found = _revision(engine)
    except (DBAPIError, StoreUnavailableError):
        return f"It was at revision {before}, and where it is now could not be read"
    if "CONCURRENTLY" in (error.statement or ""):
        return f"It is at revision {found}; an unfinished index may be left, which the next run replaces"
    if before != found:
        return f"It was migrated from revision {before} up to {found}"
    return f"It is still at revision {found}" if found else "Nothing was changed"


def _advice(engine: Engine, error: DBAPIError, blockers: Blockers) -> str:
    again = "Run 'aigen-bridge migrate' again then: it continues where it stopped."
    if isinstance(error.orig, NOT_FREE):
        holders = blockers.last or "another session"
        return f"It waited for {holders}. Wait for its end, or end it with pg_terminate_backend. {again}"
    if isinstance(error.orig, InsufficientPrivilege | InvalidSchemaName):
        with suppress(DBAPIError), engine.connect() as connection:
            remedies = " ".join(connection.scalars(text(NEEDED_TO_MIGRATE)))
            return f"As the owner of the tables or a superuser: {remedies} {again}"
    if isinstance(error.orig, ReadOnlySqlTransaction):
        return f"Name the primary in AIGEN_DATABASE_URL, or take back what made the database read-only. {again}"
    return f"Correct that. {again}"


def check(
    url: str, timeout: timedelta = TIMEOUT, *, prepared_statements: bool = True, listener_url: str | None = None
) -> None:
    """Checks the session and the rights that `serve` and `worker` will have, and where the listener's URL leads.

    Raises `UnsuitableDatabaseError`, or `StoreUnavailableError` if the database does not answer.
    """
    elsewhere = None if listener_url == url else listener_url
    if elsewhere is not None:
        with naming_listen_url():  # now, because the database may be away
            connect_arguments(elsewhere, name="aigen-bridge start", timeout=timeout, settings={})
    refuse_lacking(_ask(url, timeout, MISSING, prepared_statements=prepared_statements))
    if elsewhere is not None:
        expected = _ask(url, timeout, WHICH, prepared_statements=prepared_statements)
        with naming_listen_url():
            refuse_another_database(expected, _ask(elsewhere, timeout, WHICH))


def _ask(url: str, timeout: timedelta, statement: str, *, prepared_statements: bool = True) -> list[Any]:
    """Returns the rows of the statement, over a connection whose session is verified."""
    settings = session(timeout)
    arguments = connect_arguments(
        url, name="aigen-bridge start", timeout=timeout, settings=settings, prepared_statements=prepared_statements
    )
    try:
        with (
            closing(_opened(arguments, settings, timeout, prepared_statements=prepared_statements)) as connection,
            cut_in_thread_after(timeout.total_seconds(), connection),
        ):
            return connection.execute(statement).fetchall()
    except psycopg.Error as error:
        raise unavailable(error) from error


def _opened(
    arguments: Mapping[str, Any], settings: Session, timeout: timedelta, *, prepared_statements: bool = True
) -> psycopg.Connection[Any]:
    try:
        return _connect(arguments, settings, timeout, prepared_statements=prepared_statements)
    except psycopg.Error as error:
        raise StoreUnavailableError(f"Could not connect to the database: {reason(error)}", reason(error)) from error


def _connect(
    arguments: Mapping[str, Any], settings: Session, timeout: timedelta, *, prepared_statements: bool = True
) -> psycopg.Connection[Any]:
    """Opens a connection to the first server that answers, and verifies its session, as `Connector` does."""
    errors: dict[str, psycopg.OperationalError] = {}
    with refusals_explained(arguments), secrets_hidden(arguments):
        for server in each_server_in_thread(arguments):
            try:
                return _settled({**arguments, **server}, settings, timeout, prepared_statements=prepared_statements)
            except psycopg.OperationalError as error:
                errors[named(server)] = error
        raise together(errors)


def _settled(
    arguments: Mapping[str, Any], settings: Session, timeout: timedelta, *, prepared_statements: bool
) -> psycopg.Connection[Any]:
    connection = psycopg.connect(**arguments)
    try:
        with cut_in_thread_after(timeout.total_seconds(), connection):
            if prepared_statements:
                _settle(connection, arguments, settings)
            else:
                _settle_transactions(connection, arguments, settings)
    except BaseException:
        connection.close()
        raise
    return connection


def _settle(connection: psycopg.Connection[Any], arguments: Mapping[str, Any], settings: Session) -> None:
    refuse_encoding(connection)
    pid, differences = _compared(connection, arguments, settings)
    connection.rollback()
    if is_pooled(connection, pid):
        refuse_transaction_mode(connection, arguments)
        connection.execute(APPLY, asked(settings))
        connection.commit()
        connection.prepare_threshold = None
    else:
        refuse_differences(differences)


def _settle_transactions(connection: psycopg.Connection[Any], arguments: Mapping[str, Any], settings: Session) -> None:
    refuse_encoding(connection)
    _, differences = _compared(connection, arguments, settings, set_local(settings))
    connection.rollback()
    connection.prepare_threshold = None
    refuse_lost(differences)


def _compared(
    connection: psycopg.Connection[Any], arguments: Mapping[str, Any], settings: Session, *before: str
) -> tuple[int, list[str]]:
    """Executes the statements `before`, and returns the result of `COMPARE`."""
    seconds = seconds_for_answer(arguments)
    with cut_in_thread_after(seconds, connection) as [cut]:
        try:
            for statement in before:
                connection.execute(statement)
            return connection.execute(COMPARE, asked(settings)).fetchone() or (0, [])
        except psycopg.OperationalError as error:
            if cut.made:
                raise unanswered(seconds) from error
            raise


def head() -> str:
    """Returns the newest revision that this version of the service knows."""
    return _revisions()[0]


def is_older(revision: str) -> bool:
    """Returns whether this version of the service knows the revision and a newer one."""
    return revision in _revisions()[1:]


@cache
def _revisions() -> tuple[str, ...]:
    """Returns the revisions that this version of the service knows, newest first. Reading them takes 50 ms."""
    return tuple(script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions())


async def current(database: Database) -> str | None:
    """Returns the revision of the database; None if it was never migrated."""
    async with database.reading() as connection:
        return await connection.run_sync(_current)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
