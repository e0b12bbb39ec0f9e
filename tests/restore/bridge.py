"""API and worker as processes that start and stop, and their simulated neighbours."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sim.n8n_settings import Price
from ports import free_port
from processes import run, started
from stage import CLIENTS, KEYS

FLUX_SECONDS = 2.0
PRICE = Price(amount="0.035", currency="USD")


@dataclass
class Bridge:
    """The processes of the bridge on one database, with N8N, Odoo and the AI service beside them."""

    chain: Chain
    api: httpx.AsyncClient
    port: int
    environment: dict[str, str]
    folder: Path
    _running: dict[str, AsyncExitStack] = field(default_factory=dict)

    async def start(self, name: str) -> None:
        """Starts `serve` or `worker`."""
        stack = self._running[name] = AsyncExitStack()
        how: dict[str, Any] = {"environment": self.environment, "cwd": self.folder}
        if name == "serve":
            serving = started("serve", "--port", str(self.port), ready="startup complete", port=self.port, **how)
            await stack.enter_async_context(serving)
        else:
            await stack.enter_async_context(started("worker", ready=r"worker\.started", **how))

    async def stop(self, *names: str) -> None:
        """Stops these processes, as `docker compose stop` does."""
        stacks = [self._running.pop(name) for name in names if name in self._running]
        await asyncio.gather(*(stack.aclose() for stack in stacks))

    async def command(self, *arguments: str) -> str:
        """Runs a command of the bridge and returns what it says. Raises `RuntimeError` unless it succeeds."""
        done = await asyncio.to_thread(run, *arguments, environment=self.environment, cwd=self.folder, seconds=300)
        if done.returncode:
            raise RuntimeError(f"aigen-bridge {' '.join(arguments)}: {done.stdout}{done.stderr}")
        return done.stdout.strip()


@asynccontextmanager
async def bridge(database_url: str, folder: Path, store: dict[str, Any]) -> AsyncIterator[Bridge]:
    """Makes a bridge that is not started. `store` is the section of the settings with the image store."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    behaviour: dict[str, Any] = {"price": PRICE, "flux_seconds": FLUX_SECONDS, "flux_runners": 50, "bridge_url": url}
    async with simulators(callback_key=KEYS["n8n"], **behaviour) as chain:
        sections = chain.bridge | store | {"requests": {"rate_limit": "1000/second"}, "clients": CLIENTS}
        sections["generation"] = {"when_maybe_paid": "stop"}
        settings = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()}
        settings |= {"AIGEN_DATABASE_URL": database_url, "AIGEN_PUBLIC_URL": url}
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(base_url=url, timeout=60, limits=limits) as api:
            made = Bridge(chain, api, port, settings, folder)
            try:
                yield made
            finally:
                await made.stop("serve", "worker")
