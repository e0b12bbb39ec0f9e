"""The ground: one PostgreSQL with its normal settings (every commit waits for the disk), databases, processes."""

import asyncio
import contextlib
import json
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import httpx
import psycopg

from aigen_bridge.embedded import postgres
from aigen_bridge.store.migrations import migrate
from benchmarks.usage import cpu_seconds
from benchmarks.wrk import KEY

AWAY = "http://127.0.0.1:9"
READY_WITHIN = 60
"""Seconds."""
PYTHON = (sys.executable, "-m")
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Running:
    """A process that was started, and where it listens, if it does."""

    pid: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """Where a benchmark stands. `seconds` is how long one run under load takes, `repetitions` how many there are."""

    folder: Path
    server: str
    repetitions: int
    seconds: float

    def postgres_cpu(self) -> float:
        """CPU seconds of all of PostgreSQL so far; 0 when it is not ours."""
        told = self.folder / "data" / "postmaster.pid"
        return cpu_seconds(int(told.read_text().split()[0])) if told.exists() else 0.0

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """The URL of a new database with the tables of this version."""
        name = f"bench_{next(_numbers)}"
        async with await psycopg.AsyncConnection.connect(self.server, autocommit=True) as connection:
            await connection.execute(f"CREATE DATABASE {name}")
            url = urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))
            await asyncio.to_thread(migrate, url.replace("postgresql://", "postgresql+psycopg://", 1))
            yield url
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def api(self, database: str, *, processes: int = 1, **sections: Any) -> AsyncIterator[Running]:
        """`aigen-bridge serve`."""
        port = _free_port()
        command = ("aigen_bridge", "serve", "--port", str(port), "--processes", str(processes))
        async with self._started(*command, environment=_settings(database, sections)) as pid:
            url = f"http://127.0.0.1:{port}"
            await _answers(f"{url}/health/live")
            yield Running(pid, url)

    @asynccontextmanager
    async def worker(self, database: str, **sections: Any) -> AsyncIterator[Running]:
        """`aigen-bridge worker`, ready to claim."""
        before = await _listeners(database)
        async with self._started("aigen_bridge", "worker", environment=_settings(database, sections)) as pid:
            async with asyncio.timeout(READY_WITHIN):
                while await _listeners(database) <= before:
                    await asyncio.sleep(0.1)
            yield Running(pid)

    @asynccontextmanager
    async def ceiling(self, app: str, *, processes: int = 1, database: str = "") -> AsyncIterator[Running]:
        """One of the apps in `benchmarks/ceilings` (their factories end in `create`), under the same server as ours."""
        port = _free_port()
        command = ("uvicorn", f"benchmarks.ceilings.{app}", "--port", str(port), "--workers", str(processes))
        options = ["--no-access-log", "--log-level", "warning", "--timeout-keep-alive", "75"]
        options += ["--factory"] if app.endswith(":create") else []
        environment = _settings(database or "postgresql://nobody@127.0.0.1:9/none", {}) | {"CEILING_DATABASE": database}
        async with self._started(*command, *options, environment=environment) as pid:
            url = f"http://127.0.0.1:{port}"
            await _answers(f"{url}/health/live")
            yield Running(pid, url)

    @asynccontextmanager
    async def stand_in(self, name: str) -> AsyncIterator[Running]:
        """`benchmarks.stand_ins`: N8N's webhook or Odoo, as cheap as can be."""
        port = _free_port()
        async with self._started("benchmarks.stand_ins", name, str(port), environment={}) as pid:
            await _answers(f"http://127.0.0.1:{port}/stats")
            yield Running(pid, f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def _started(self, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[int]:
        said = self.folder / f"process-{next(_numbers)}.log"
        with said.open("wb") as log:  # written as in production; a pipe would cost the reader
            process = await asyncio.create_subprocess_exec(
                *PYTHON, *arguments, env=os.environ | environment, stdout=log, stderr=log
            )
            try:
                yield process.pid
            except BaseException:
                sys.stderr.write(f"{' '.join(arguments)} said at the end:\n{said.read_text()[-2000:]}\n")
                raise
            finally:
                await _end(process)


@contextmanager
def prepared(*, repetitions: int, seconds: float) -> Iterator[Ground]:
    """PostgreSQL from BENCH_DATABASE_URL (a superuser's, database `postgres`), or an embedded one."""
    with TemporaryDirectory(prefix="aigen-bench-") as folder, contextlib.ExitStack() as running:
        given = os.environ.get("BENCH_DATABASE_URL")
        server = given or running.enter_context(postgres(Path(folder) / "data"))
        yield Ground(Path(folder), server, repetitions, seconds)


def _settings(database: str, sections: Mapping[str, Any]) -> dict[str, str]:
    given: dict[str, Any] = {
        "clients": {"all": {"keys": [KEY], "scopes": ["requests", "callbacks", "ops"]}},
        "n8n": {"webhook_url": f"{AWAY}/webhook", "api_key": "k"},
        "odoo": {"url": AWAY, "database": "d", "login": "l", "api_key": "k"},
        "requests": {"rate_limit": "1000000/second"},
        "callback": {"rate_limit": "1000000/second"},
        **sections,
    }
    plain = {"AIGEN_DATABASE_URL": database, "AIGEN_PUBLIC_URL": "http://127.0.0.1", "AIGEN_LOG__FORMAT": "json"}
    return plain | {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in given.items()}


async def _answers(url: str) -> None:
    async with asyncio.timeout(READY_WITHIN), httpx.AsyncClient() as client:
        while True:
            with contextlib.suppress(httpx.HTTPError):
                await client.get(url)
                return
            await asyncio.sleep(0.1)


async def _listeners(database: str) -> int:
    async with await psycopg.AsyncConnection.connect(database) as connection:
        found = await connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'aigen-bridge listen' "
            "AND datname = current_database() AND query LIKE 'LISTEN%'"
        )
        row = await found.fetchone()
    return int(row[0]) if row else 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as door:
        return int(door.getsockname()[1])


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError, ProcessLookupError):
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)
    if process.returncode is None:
        process.kill()
    await process.wait()
