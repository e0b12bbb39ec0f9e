"""Restarts that happen to every service: of its own processes, in turn, and of the database beneath it."""

import asyncio
import json
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from aigen_bridge.sim.chain import Chain, simulators
from chaos.postgres import Postgres, postgres
from ports import free_port
from processes import Running, going_on, started
from stage import CLIENTS, KEYS, REQUESTS, make_event

pytestmark = pytest.mark.timeout(240)


@dataclass
class Scene:
    """Two API processes behind one port, simulators around them; workers come and go."""

    chain: Chain
    database: Postgres
    serve: Running
    api: httpx.AsyncClient
    settings: dict[str, str]
    home: Path
    accepted: list[str] = field(default_factory=list)
    answers: Counter[int] = field(default_factory=Counter)

    def worker(self):
        """A worker in a process of its own."""
        return started("worker", environment=self.settings, cwd=self.home, ready=r"worker\.started")

    @asynccontextmanager
    async def asking(self) -> AsyncIterator[None]:
        """Ask from four sides, and again with the same requestId until it is accepted, as the Odoo addon does."""
        async with going_on(*(self._ask_on_and_on() for _ in range(4))):
            yield

    async def _ask_on_and_on(self) -> None:
        while True:
            event = make_event()
            while not await self._accepts(event):
                await asyncio.sleep(0.1)
            self.accepted.append(event["requestId"])
            await asyncio.sleep(0.2)

    async def _accepts(self, event: dict[str, object]) -> bool:
        try:
            answer = await self.api.post(REQUESTS, json=event, headers={"X-API-Key": KEYS["odoo"]})
        except httpx.TransportError:  # HTTP/1.1: a kept connection may be closed just as it is used again
            return False
        self.answers[answer.status_code] += 1
        if answer.status_code == 503:
            assert int(answer.headers["Retry-After"]) > 0
        return answer.status_code in {200, 202}

    async def until_more(self, count: int) -> None:
        """Until so many more are accepted."""
        wanted = len(self.accepted) + count
        async with asyncio.timeout(60):
            while len(self.accepted) < wanted:
                await asyncio.sleep(0.05)

    async def all_ended_once(self) -> None:
        """Every accepted request is delivered in the end, with one effect in Odoo."""
        query = "SELECT count(*) AS n FROM requests WHERE delivered_at IS NULL OR status <> 'completed'"
        async with asyncio.timeout(90):
            while await asyncio.to_thread(self.database.read, query) != [{"n": 0}]:
                await asyncio.sleep(0.2)
        assert {self.chain.odoo.records[request_id].applied for request_id in self.accepted} == {1}


@pytest.fixture
def database() -> Iterator[Postgres]:
    with TemporaryDirectory(prefix="aigen-restarts-") as folder, postgres(Path(folder) / "data") as running:
        yield running


@pytest.fixture
async def scene(database: Postgres, tmp_path: Path) -> AsyncIterator[Scene]:
    port = free_port()
    async with simulators(callback_key=KEYS["n8n"], flux_seconds=0) as chain:
        sections = chain.bridge | {"requests": {"rate_limit": "1000/second"}, "clients": CLIENTS}
        settings = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()}
        settings |= {"AIGEN_DATABASE_URL": database.url, "AIGEN_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        settings |= {"AIGEN_WORKER__POLL": "1s"}
        serve = ("serve", "--port", str(port), "--processes", "2")
        async with (
            started(*serve, environment=settings, cwd=tmp_path, ready="Application startup", port=port) as running,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=30, verify=False) as api,
        ):
            yield Scene(chain, database, running, api, settings, tmp_path)


async def test_api_and_workers_are_restarted_in_turn_under_load_and_no_request_fails(scene: Scene) -> None:
    async with scene.worker() as old, scene.worker():
        async with scene.asking():
            await scene.until_more(20)
            old.process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(old.process.wait(), 40) == 0
            before = _children(scene.serve)
            scene.serve.process.send_signal(signal.SIGHUP)
            async with asyncio.timeout(120):
                while before & _children(scene.serve):
                    await asyncio.sleep(0.1)
            await scene.until_more(20)
        await scene.all_ended_once()
    assert set(scene.answers) <= {200, 202}


async def test_a_restart_of_postgresql_is_survived_by_every_process_and_loses_nothing(scene: Scene) -> None:
    async with scene.worker() as worker:
        async with scene.asking():
            await scene.until_more(10)
            before = _children(scene.serve)
            await scene.database.crash(1, _at_once)
            await scene.until_more(20)
        await scene.all_ended_once()
        assert _children(scene.serve) == before
        assert worker.process.returncode is None
    assert 503 in scene.answers
    assert set(scene.answers) <= {200, 202, 503}


async def _at_once(strike: Callable[[], None]) -> None:
    strike()


def _children(running: Running) -> set[int]:
    """The API processes below the one that was started."""
    pid = running.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {int(child) for child in children if b"spawn_main" in Path(f"/proc/{child}/cmdline").read_bytes()}
