"""Runs the migrations: from the folder beside the sources, or from the copy that the wheel carries."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine
from sqlalchemy.exc import OperationalError

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.database import Database

_PACKAGE = Path(__file__).parents[1]


def folder() -> Path:
    """Where the migrations are."""
    inside_wheel = _PACKAGE / "migrations"
    return inside_wheel if inside_wheel.is_dir() else _PACKAGE.parents[1] / "migrations"


def _config() -> Config:
    config = Config()
    config.set_main_option("script_location", str(folder()).replace("%", "%%"))
    return config


def migrate(url: str, revision: str = "head") -> None:
    """Bring the database to `revision` (`base`: no table of ours is left).

    Safe to run twice, and by several at once: they wait for each other.
    """
    engine = create_engine(url, connect_args={"connect_timeout": 10})
    try:
        with engine.connect() as connection:
            config = _config()
            config.attributes["connection"] = connection
            command.downgrade(config, revision) if revision == "base" else command.upgrade(config, revision)
    except OperationalError as error:
        raise StoreUnavailableError(f"Could not connect to the database: {error.orig}".strip()) from error
    finally:
        engine.dispose()


def head() -> str:
    """The newest revision that this version of the service knows."""
    revision = ScriptDirectory.from_config(_config()).get_current_head()
    assert revision is not None  # noqa: S101 - the folder is never empty
    return revision


def is_older(revision: str) -> bool:
    """Whether this version of the service knows the revision, and a newer one."""
    known = {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}
    return revision in known and revision != head()


async def current(database: Database) -> str | None:
    """The revision that the database is at; None when it was never migrated."""
    async with database.reading() as connection:
        return await connection.run_sync(_current)


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()
