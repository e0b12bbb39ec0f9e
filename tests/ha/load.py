"""The bridge in processes of its own, and callers who ask for 20 images a second and ask again until they are heard."""

import asyncio
import json
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count, pairwise
from pathlib import Path

import httpx
import psycopg

from aigen_bridge.sim.chain import Chain, simulators
from processes import Running, started
from stage import CLIENTS, KEYS, REQUESTS, make_event

PER_SECOND = 20
ENDED_SECONDS = 300.0


@dataclass(frozen=True)
class Ledger:
    """The accepted requests that the bridge or Odoo does not know, that took effect twice, or that are on their way."""

    lost: frozenset[str]
    doubled: frozenset[str]
    waiting: frozenset[str]


@dataclass
class Load:
    """The running bridge, and what its callers were answered."""

    chain: Chain
    api: httpx.AsyncClient
    processes: list[Running]
    url: str
    accepted: dict[str, float] = field(default_factory=dict)
    """When each request was accepted."""
    correlations: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    answers: Counter[int] = field(default_factory=Counter)

    async def ask_on_and_on(self) -> None:
        """Asks for images until cancelled. Callers do not wait for each other."""
        began = time.monotonic()
        async with asyncio.TaskGroup() as tasks:
            for number in count():
                tasks.create_task(self._until_accepted())
                self.asked += 1
                await asyncio.sleep(began + (number + 1) / PER_SECOND - time.monotonic())

    async def _until_accepted(self) -> None:
        event = make_event()
        self.correlations[event["requestId"]] = event["correlationId"]
        while True:
            answer = await self.api.post(REQUESTS, json=event, headers={"X-API-Key": KEYS["odoo"]})
            self.answers[answer.status_code] += 1
            if answer.status_code in {200, 202}:
                self.accepted[event["requestId"]] = time.monotonic()
                return
            await asyncio.sleep(0.5)

    def longest_gap(self, since: float) -> float:
        """Returns the longest time without an accepted request since then, in seconds."""
        moments = sorted(at for at in self.accepted.values() if at >= since)
        return max(after - before for before, after in pairwise([since, *moments, time.monotonic()]))

    async def balance(self) -> Ledger:
        """Waits until everything accepted is delivered, or for long enough, and compares."""
        until = time.monotonic() + ENDED_SECONDS
        while True:
            delivered = await self._delivered()
            waiting = {name for name, is_delivered in delivered.items() if not is_delivered} & self.accepted.keys()
            if not waiting or time.monotonic() > until:
                break
            await asyncio.sleep(1)
        records = self.chain.odoo.records
        lost = {name for name in self.accepted.keys() - waiting if name not in delivered or records.get(name) is None}
        return Ledger(frozenset(lost), frozenset(self._doubled()), frozenset(waiting))

    async def _delivered(self) -> dict[str, bool]:
        query = "SELECT CAST(request_id AS text), delivered_at IS NOT NULL FROM requests"
        async with await psycopg.AsyncConnection.connect(self.url, target_session_attrs="primary") as connection:
            return dict(await (await connection.execute(query)).fetchall())

    def _doubled(self) -> Iterator[str]:
        """Yields requests whose result took effect in Odoo more than once, or that were paid for more than once."""
        paid = Counter(job.correlation_id for job in self.chain.flux.jobs if job.billed)
        for name, correlation in self.correlations.items():
            record = self.chain.odoo.records.get(name)
            if paid[correlation] > 1 or (record and record.applied > 1):
                yield name

    def ended_processes(self) -> list[int]:
        """Returns the ids of processes that are no longer the ones that were started."""
        return [running.process.pid for running in self.processes if running.process.returncode is not None]


@asynccontextmanager
async def bridge(url: str, folder: Path) -> AsyncIterator[Load]:
    """Runs API, worker and simulators on the database at this URL."""
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    async with simulators(callback_key=KEYS["n8n"], flux_seconds=0) as chain:
        sections = chain.bridge | {"requests": {"rate_limit": "1000/second"}, "clients": CLIENTS}
        settings = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()}
        settings |= {"AIGEN_DATABASE_URL": url, "AIGEN_PUBLIC_URL": f"http://127.0.0.1:{port}"}
        serving = started(
            "serve", "--port", str(port), environment=settings, cwd=folder, ready="Application startup", port=port
        )
        working = started("worker", environment=settings, cwd=folder, ready=r"worker\.started")
        limits = httpx.Limits(max_connections=None)
        async with (
            serving as serve,
            working as worker,
            httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60, limits=limits) as api,
        ):
            yield Load(chain, api, [serve, worker], url)
