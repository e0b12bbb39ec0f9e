"""Everything that a scenario plays with: the real bridge, an N8N (real or simulated), Flux, Odoo, and a gate between."""

import asyncio
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import httpx

from aigen_bridge.sim.flux import FluxSimulator
from aigen_bridge.sim.odoo import OdooSimulator
from gate import Gate
from processes import started
from stage import REQUESTS, make_event

WEBHOOK_KEY, CALLBACK_KEY, FLUX_KEY = "key-of-the-webhook", "key-of-the-callback", "key-of-the-service"
SIGNING_SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="
ODOO_KEY, OPS_KEY = "key-of-odoo", "key-of-ops"
DEAD_LETTERS = "/api/v1/ops/dead-letters"
PATIENCE = 90.0
"""Seconds until something that should happen is called missing; a real N8N on a busy machine is slow."""


def clients(callback_key: str = CALLBACK_KEY) -> dict[str, Any]:
    """Who may call the bridge; N8N must sign."""
    n8n = {"keys": [callback_key], "scopes": ["callbacks"]}
    return {
        "odoo": {"keys": [ODOO_KEY], "scopes": ["requests"]},
        "n8n": n8n | {"signing_secrets": [SIGNING_SECRET], "signature_required": True},
        "ops": {"keys": [OPS_KEY], "scopes": ["ops"]},
    }


class Player(Protocol):
    """An N8N with the workflows published."""

    real: bool
    url: str

    def webhook(self, variant: str) -> str:
        """The address of the workflow in this variant: a callback style, or `broken`."""

    async def kill(self) -> None:
        """End it as a crash does."""

    async def start(self) -> None:
        """Start it again."""


@dataclass
class Bridge:
    """The real bridge as a process: API and worker."""

    environment: dict[str, str]
    home: Path
    gate: Gate
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, **changes: Any) -> None:
        """Start it; `changes` are sections of its settings."""
        extra = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in changes.items()}
        running = await self._running.enter_async_context(
            started("up", "--port", "0", environment=self.environment | extra, cwd=self.home, ready="Ready: ")
        )
        self.gate.bridge_url = running.url

    async def stop(self) -> None:
        """End it; nobody answers from now on."""
        self.gate.bridge_url = None
        await self._running.aclose()


@dataclass
class Theatre:
    """What a scenario plays with."""

    flux: FluxSimulator
    odoo: OdooSimulator
    gate: Gate
    bridge: Bridge
    n8n: Player
    http: httpx.AsyncClient

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Call the bridge as operations do."""
        headers = {"X-API-Key": OPS_KEY}
        return await self.http.request(method, f"{self.gate.bridge_url}{path}", headers=headers, **more)

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """Ask for an image, as Odoo does; returns the resource."""
        url = f"{self.gate.bridge_url}{REQUESTS}"
        answer = await self.http.post(url, json=make_event(**fields), headers={"X-API-Key": ODOO_KEY})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def read(self, request_id: str) -> dict[str, Any]:
        """The resource as it is now."""
        return dict((await self.call("GET", f"{REQUESTS}/{request_id}")).json())

    async def until_delivered(self, request_id: str) -> dict[str, Any]:
        """The resource as soon as Odoo knows how the request ended."""

        async def ended() -> dict[str, Any] | None:
            found = await self.read(request_id)
            return found if found["deliveredAt"] else None

        return await eventually(ended)

    async def timeline(self, request_id: str) -> list[dict[str, Any]]:
        """What happened to the request."""
        return list((await self.call("GET", f"{REQUESTS}/{request_id}/timeline")).json()["entries"])

    async def dead_letters(self, **query: Any) -> list[dict[str, Any]]:
        """What needs a person."""
        return list((await self.call("GET", DEAD_LETTERS, params=query)).json()["items"])

    async def until_dead(self, count: int = 1, **query: Any) -> list[dict[str, Any]]:
        """The dead letters as soon as there are so many."""

        async def found() -> list[dict[str, Any]] | None:
            letters = await self.dead_letters(**query)
            return letters if len(letters) >= count else None

        return await eventually(found)

    async def post_to_n8n(self, event: Any, variant: str = "v2") -> httpx.Response:
        """Call the webhook past the bridge, with the right key."""
        return await self.http.post(self.n8n.webhook(variant), json=event, headers={"X-API-Key": WEBHOOK_KEY})


async def eventually(look: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """What `look` finds, as soon as it finds something."""
    async with asyncio.timeout(seconds):
        while (found := await look()) is None:
            await asyncio.sleep(0.1)
        return found
