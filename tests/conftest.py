"""Fixtures with a real PostgreSQL: one server per session, one database per test, cloned from a migrated template."""

import gc
import json
import os
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from itertools import count
from pathlib import Path
from shutil import disk_usage
from tempfile import TemporaryDirectory
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import structlog
from psycopg import sql

from aigen_bridge.embedded import postgres
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import migrate
from aigen_bridge.worker import run
from real_odoo import RealOdoo, odoo_command, odoo_versions, running_odoo
from stage import CLIENTS, UNREACHABLE, Stage, make_settings, sqlalchemy_url, staged, working

for name in set(os.environ) - {"PGPASSWORD", "PGPASSFILE"}:
    if name.startswith("PG"):
        del os.environ[name]  # libpq would take what a URL leaves open, such as the port, from the developer's shell

structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)  # as the service logs: the usual traceback shows the values of all variables, which can take a minute

MEMORY = Path("/dev/shm")  # noqa: S108 - only a folder with a random name is made in it
ROOM = 4 * 2**30
"""Free bytes that /dev/shm must have. A server uses about 100 MB, and each process of pytest-xdist has its own."""
TEMPLATE = f"aigen_template_{os.getpid()}"
"""One for each process of pytest-xdist: they may share the server that AIGEN_TEST_DATABASE_URL names."""
_numbers = count(1)


def pytest_xdist_auto_num_workers() -> int:
    """Most tests wait for something rather than use a processor."""
    return 2 * (os.cpu_count() or 1)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collects without garbage collection, which would take a third of the time and free nothing."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a server: AIGEN_TEST_DATABASE_URL, or an embedded server with fsync off."""
    if given := os.environ.get("AIGEN_TEST_DATABASE_URL"):
        yield given
        return
    with _embedded_postgres() as url:
        yield url


@contextmanager
def _embedded_postgres() -> Iterator[str]:
    # Outside pytest's own folders: a later session deletes those of an earlier session that is still running.
    with TemporaryDirectory(prefix="aigen-postgres-", dir=_memory()) as folder, postgres(Path(folder) / "data") as url:
        _admin(url, "ALTER SYSTEM SET fsync = off", "SELECT pg_reload_conf()")
        yield url


def _memory() -> Path | None:
    """Returns the folder in memory, where a database is created in a fraction of the time, if there is room."""
    return MEMORY if MEMORY.is_dir() and disk_usage(MEMORY).free > ROOM else None


@pytest.fixture(scope="session")
def odoo_of(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], RealOdoo]]:
    """A function that returns the real Odoo of a version, started when it is first asked for.

    Each has a PostgreSQL server of its own, so that the databases have the same name. Skips the test where that version
    is not installed.
    """
    with ExitStack() as running:

        @cache
        def started(version: str) -> RealOdoo:
            odoo_command(version)
            url = running.enter_context(_embedded_postgres())
            return running.enter_context(running_odoo(url, tmp_path_factory.mktemp(f"odoo{version}"), version))

        yield started


@pytest.fixture(scope="session", params=odoo_versions())
def real_odoo(request: pytest.FixtureRequest, odoo_of: Callable[[str], RealOdoo]) -> RealOdoo:
    """A real Odoo with the addon, of each version that is installed."""
    return odoo_of(request.param)


@pytest.fixture(scope="session")
def template_url(postgres_url: str) -> Iterator[str]:
    """A migrated database that tests clone and never use directly."""
    _admin(postgres_url, f"CREATE DATABASE {TEMPLATE}")
    url = _with_database(postgres_url, TEMPLATE)
    migrate(sqlalchemy_url(url))
    yield url
    _admin(postgres_url, f"DROP DATABASE {TEMPLATE} WITH (FORCE)")


@pytest.fixture
def database_url(postgres_url: str, template_url: str) -> Iterator[str]:
    """A migrated database for one test, as a URL for the settings."""
    with _clone(postgres_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_database_url(postgres_url: str, template_url: str) -> Iterator[str]:
    """A migrated database for the tests of a module."""
    with _clone(postgres_url) as url:
        yield url


@contextmanager
def _clone(postgres_url: str) -> Iterator[str]:
    name = f"aigen_test_{os.getpid()}_{next(_numbers)}"
    _admin(postgres_url, f"CREATE DATABASE {name} TEMPLATE {TEMPLATE}")
    yield _with_database(postgres_url, name)
    _admin(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def untended_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers move no images to the object store, and delete none there."""

    async def idle(*_: object) -> None:
        return

    monkeypatch.setattr(run, "tend_images", idle)


@pytest.fixture
def empty_database_url(postgres_url: str) -> Iterator[str]:
    """A database without tables."""
    with _empty_database(postgres_url) as url:
        yield url


@pytest.fixture(scope="session")
def new_database(postgres_url: str) -> Iterator[Callable[[], str]]:
    """A function that makes a database without tables for the rest of the session, and returns its URL."""
    with ExitStack() as made:
        yield lambda: made.enter_context(_empty_database(postgres_url))


@contextmanager
def _empty_database(postgres_url: str) -> Iterator[str]:
    name = f"aigen_empty_{os.getpid()}_{next(_numbers)}"
    _admin(postgres_url, f"CREATE DATABASE {name}")
    yield _with_database(postgres_url, name)
    _admin(postgres_url, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Isolates tests from the environment, the `.env` and the secret files of the machine."""
    for name in list(os.environ):
        if name.upper().startswith("AIGEN_") and name != "AIGEN_TEST_DATABASE_URL":
            monkeypatch.delenv(name)
    monkeypatch.setenv("AIGEN_SECRETS_DIR", str(tmp_path / "no-secrets"))


def _admin(url: str, *statements: str) -> None:
    with closing(psycopg.connect(url, autocommit=True)) as connection:
        for statement in statements:
            connection.execute(sql.SQL(statement))


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
async def stage(database_url: str) -> AsyncIterator[Stage]:
    """API, simulators and a worker."""
    async with staged(database_url) as stage, working(stage.settings):
        yield stage


@pytest.fixture
async def idle_stage(database_url: str) -> AsyncIterator[Stage]:
    """API and simulators without a worker."""
    async with staged(database_url) as stage:
        yield stage


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """The store's own access to the test's database."""
    settings = make_settings(database_url)
    opened = Database(open_engine(settings.database_url.get_secret_value(), pool_size=10, name="test"))
    yield opened
    await opened.close()


@pytest.fixture
def png() -> bytes:
    """A real image of 64x64 pixels."""
    return (Path(__file__).parent / "lighthouse.png").read_bytes()


@pytest.fixture
def configured(database_url: str) -> dict[str, str]:
    """Complete settings as environment variables; N8N and Odoo are unreachable."""
    sections = {**UNREACHABLE, "clients": CLIENTS}
    return {
        "AIGEN_DATABASE_URL": database_url,
        "AIGEN_PUBLIC_URL": "http://bridge.test",
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
    }
