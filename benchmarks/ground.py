"""The test bed: one PostgreSQL with its normal settings (every commit waits for the disk), databases and processes."""

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
"""Seconds in which a process must become ready."""
PYTHON = (sys.executable, "-m")
_numbers = count(1)


@dataclass(frozen=True, slots=True)
class Running:
    """A started process, and its base URL if it listens."""

    pid: int
    url: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """The environment of a benchmark. `seconds` is the duration of one run under load, `repetitions` their number."""

    folder: Path
    server: str
    repetitions: int
    seconds: float

    def postgres_cpu(self) -> float:
        """Returns the CPU seconds of all PostgreSQL processes so far; 0 for a server from BENCH_DATABASE_URL."""
        pid_file = self.folder / "data" / "postmaster.pid"
        return cpu_seconds(int(pid_file.read_text().split()[0])) if pid_file.exists() else 0.0

    @asynccontextmanager
    async def database(self) -> AsyncIterator[str]:
        """Creates a migrated database and yields its URL."""
        name = f"bench_{next(_numbers)}"
        async with await psycopg.AsyncConnection.connect(self.server, autocommit=True) as connection:
            await connection.execute(f"CREATE DATABASE {name}")
            url = urlunsplit(urlsplit(self.server)._replace(path=f"/{name}"))
            await asyncio.to_thread(migrate, url.replace("postgresql://", "postgresql+psycopg://", 1))
            yield url
            await connection.execute(f"DROP DATABASE {name} WITH (FORCE)")

    @asynccontextmanager
    async def api(self, database: str, *, processes: int = 1, **sections: Any) -> AsyncIterator[Running]:
        """Runs `aigen-bridge serve`."""
        port = _free_port()
        command = ("aigen_bridge", "serve", "--port", str(port), "--processes", str(processes))
        async with self._started(*command, environment=_settings(database, sections)) as pid:
            url = f"http://127.0.0.1:{port}"
            await _answers(f"{url}/health/live")
            yield Running(pid, url)

    @asynccontextmanager
    async def worker(self, database: str, **sections: Any) -> AsyncIterator[Running]:
        """Runs `aigen-bridge worker` and waits until it is ready to claim."""
        before = await _listeners(database)
        async with self._started("aigen_bridge", "worker", environment=_settings(database, sections)) as pid:
            async with asyncio.timeout(READY_WITHIN):
                while await _listeners(database) <= before:
                    await asyncio.sleep(0.1)
            yield Running(pid)

    @asynccontextmanager
    async def ceiling(self, app: str, *, processes: int = 1, database: str = "") -> AsyncIterator[Running]:
        """Runs an app of `benchmarks/ceilings` under the same server as the bridge. App factories end in `:create`."""
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
        """Runs `benchmarks.stand_ins`: N8N's webhook or Odoo at minimal cost."""
        port = _free_port()
        async with self._started("benchmarks.stand_ins", name, str(port), environment={}) as pid:
            await _answers(f"http://127.0.0.1:{port}/stats")
            yield Running(pid, f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def flux(self, key: str) -> AsyncIterator[Running]:
        """Runs `benchmarks.flux`: the simulated AI service without its drawing."""
        port = _free_port()
        async with self._started("benchmarks.flux", str(port), key, environment={}) as pid:
            await _answers(f"http://127.0.0.1:{port}/_sim/calls")
            yield Running(pid, f"http://127.0.0.1:{port}")

    @asynccontextmanager
    async def _started(self, *arguments: str, environment: Mapping[str, str]) -> AsyncIterator[int]:
        path = self.folder / f"process-{next(_numbers)}.log"
        with path.open("wb") as log:  # a file, as in production; reading a pipe would use CPU here
            process = await asyncio.create_subprocess_exec(
                *PYTHON, *arguments, env=os.environ | environment, stdout=log, stderr=log
            )
            try:
                yield process.pid
            except BaseException:
                sys.stderr.write(f"{' '.join(arguments)} ended with this output:\n{path.read_text()[-2000:]}\n")
                raise
            finally:
                await _end(process)


@contextmanager
def prepared(*, repetitions: int, seconds: float) -> Iterator[Ground]:
    """Provides PostgreSQL: the server at BENCH_DATABASE_URL (a superuser, database `postgres`), or an embedded one."""
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
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


async def _end(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(TimeoutError, ProcessLookupError):
        process.terminate()
        await asyncio.wait_for(process.wait(), 30)
    if process.returncode is None:
        process.kill()
    await process.wait()
