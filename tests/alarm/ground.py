"""The test bed: the bridge's processes, simulators, Prometheus, Alertmanager, a mail server, and constant requests."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from aigen_bridge.embedded import postgres
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.store.migrations import migrate
from alarm import rendering
from alarm.mailbox import Mailbox, mailbox
from monitoring import Prometheus, alertmanager, prometheus
from ports import free_port
from processes import Running, started
from stage import CLIENTS, KEYS, REQUESTS, make_event, sqlalchemy_url

ASK_EVERY = 0.5
"""Seconds between two requests."""
SETTINGS: dict[str, Any] = {
    "callback": {"deadline": "15s"},
    "alerts": {"window": "10s"},
    "worker": {"poll": "1s", "metrics_port": 0},
}
BREAKER = {"failures": 5, "probe_every": "1s"}


@dataclass
class Ground:
    """The components that scenes use."""

    chain: Chain
    mailbox: Mailbox
    prometheus: Prometheus
    bridge: httpx.AsyncClient
    worker: "Worker"

    async def firing(self, alert: str) -> bool:
        """Whether the alert is firing in Prometheus."""
        return bool(await self.prometheus.value(f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})'))

    async def tidy(self, action: str) -> None:
        """Handles the dead letters as a person does: replays them, or discards those that cannot succeed."""
        headers = {"X-API-Key": KEYS["ops"]}
        if action == "replay":
            await self.bridge.post("/api/v1/ops/dead-letters/replay", json={"maxPerSecond": 100}, headers=headers)
            return
        listed = (await self.bridge.get("/api/v1/ops/dead-letters", headers=headers)).json()
        for letter in listed["items"]:
            path = f"/api/v1/ops/dead-letters/{letter['id']}/discard"
            await self.bridge.post(path, json={"reason": "made on purpose"}, headers=headers)


class Worker:
    """The only worker. It can be killed and started again, with the same port for Prometheus."""

    def __init__(self, environment: dict[str, str], home: Path) -> None:
        self._environment = environment
        self._home = home
        self._stack = AsyncExitStack()
        self._running: Running | None = None

    async def start(self) -> None:
        run = started("worker", environment=self._environment, cwd=self._home, ready=r"worker\.started")
        self._running = await self._stack.enter_async_context(run)

    async def kill(self) -> None:
        assert self._running
        self._running.process.send_signal(signal.SIGKILL)
        await self._running.process.wait()

    async def close(self) -> None:
        await self._stack.aclose()


@asynccontextmanager
async def ground(home: Path) -> AsyncIterator[Ground]:
    """Runs everything without faults."""
    async with AsyncExitStack() as up:
        url = up.enter_context(postgres(home / "postgres"))
        await asyncio.to_thread(migrate, sqlalchemy_url(url))
        chain = await up.enter_async_context(simulators(callback_key=KEYS["n8n"], flux_seconds=0.2))
        kept, mail_server = await up.enter_async_context(mailbox())
        api, metrics = free_port(), free_port()
        environment = _environment(chain, url, api, metrics)
        await up.enter_async_context(
            started("serve", "--port", str(api), environment=environment, cwd=home, ready="running on")
        )
        worker = Worker(environment, home)
        up.push_async_callback(worker.close)
        await worker.start()
        alarms = await up.enter_async_context(alertmanager(home / "alertmanager", rendering.alertmanager(mail_server)))
        jobs = {"aigen-api": [f"127.0.0.1:{api}"], "aigen-worker": [f"127.0.0.1:{metrics}"]}
        server = await up.enter_async_context(
            prometheus(home / "prometheus", jobs, rules=rendering.rules(), alertmanager=alarms)
        )
        bridge = await up.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{api}", timeout=30))
        up.push_async_callback(_end, asyncio.create_task(_request_continuously(bridge)))
        yield Ground(chain, kept, server, bridge, worker)


def _environment(chain: Chain, url: str, api: int, metrics: int) -> dict[str, str]:
    bridge = {name: section | {"breaker": BREAKER} for name, section in chain.bridge.items()}
    sections = SETTINGS | bridge | {"clients": CLIENTS}
    sections["worker"] = SETTINGS["worker"] | {"metrics_port": metrics}
    return {
        "AIGEN_DATABASE_URL": url,
        "AIGEN_PUBLIC_URL": f"http://127.0.0.1:{api}",
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
    }


async def _request_continuously(bridge: httpx.AsyncClient) -> None:
    headers = {"X-API-Key": KEYS["odoo"]}
    while True:
        with contextlib.suppress(httpx.TransportError):
            await bridge.post(REQUESTS, json=make_event(), headers=headers)
        await asyncio.sleep(ASK_EVERY)


async def _end(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
