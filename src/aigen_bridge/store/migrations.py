"""Runs the migrations from the folder beside the sources, or from the copy in the wheel."""

import time
from collections.abc import Mapping
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from psycopg.errors import DeadlockDetected, LockNotAvailable
from sqlalchemy import Connection, Engine, create_engine
from sqlalchemy.exc import InternalError, OperationalError

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.connection import (
    MEANING,
    SCHEME,
    TIMEOUT,
    connect_arguments,
    reason,
    refuse_unsuitable,
    secrets_hidden,
)
from aigen_bridge.store.database import Database

_PACKAGE = Path(__file__).parents[1]
SESSION = MEANING | {"statement_timeout": "1h", "lock_timeout": "2s", "idle_in_transaction_session_timeout": "1h"}
"""Session settings of a migration, which may rewrite a large table. The lock timeout is short, because other sessions
queue behind a migration that waits for a lock."""
LOCK_PATIENCE = timedelta(minutes=10)
"""The time during which a migration is retried while a lock is not free or another migration is running."""


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

    Safe to run repeatedly and concurrently: migrations wait for each other.
    """
    arguments = connect_arguments(url, name="aigen-bridge migrate", timeout=timeout, settings=SESSION)
    engine = create_engine(SCHEME, creator=partial(_connect, arguments))
    try:
        check(url, timeout)
        until = time.monotonic() + LOCK_PATIENCE.total_seconds()
        while not _migrated(engine, revision, is_last=time.monotonic() > until):
            time.sleep(1)
    except (OperationalError, InternalError) as error:
        message = reason(error)
        raise StoreUnavailableError(f"The database could not be migrated: {message}", message) from error
    finally:
        engine.dispose()


def _migrated(engine: Engine, revision: str, *, is_last: bool) -> bool:
    """Runs the migrations. Returns False if a lock was not free; raises if this was the last attempt."""
    config = _config()
    try:
        with engine.connect() as connection:
            config.attributes["connection"] = connection
            command.downgrade(config, revision) if revision == "base" else command.upgrade(config, revision)
    except OperationalError as error:
        if is_last or not isinstance(error.orig, LockNotAvailable | DeadlockDetected):
            raise
        return False
    return True


def check(url: str, timeout: timedelta = TIMEOUT) -> None:
    """Opens a connection and closes it. Raises `UnsuitableDatabaseError` or `StoreUnavailableError`."""
    arguments = connect_arguments(url, name="aigen-bridge start", timeout=timeout, settings=SESSION)
    try:
        _connect(arguments).close()
    except psycopg.Error as error:
        raise StoreUnavailableError(f"Could not connect to the database: {reason(error)}", reason(error)) from error


def _connect(arguments: Mapping[str, Any]) -> psycopg.Connection[Any]:
    with secrets_hidden(arguments):
        connection = psycopg.connect(**arguments)
    refuse_unsuitable(connection)
    return connection


def head() -> str:
    """Returns the newest revision that this version of the service knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - the folder is never empty
    return revision


def is_older(revision: str) -> bool:
    """Returns whether this version of the service knows the revision and a newer one."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return revision in known and revision != head()


async def current(database: Database) -> str | None:
    """Returns the revision of the database; None if it was never migrated."""
    async with database.reading() as connection:
        return await connection.run_sync(_current)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
