"""The components of a scenario: the real bridge, a real or simulated N8N, Flux, Odoo, and a gate before the bridge."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx
from gate import Gate
from stages import measure

from aigen_bridge.domain.signature import secret_bytes, sign
from aigen_bridge.sim.calls import Call
from aigen_bridge.sim.flux import FluxSimulator
from aigen_bridge.sim.odoo import OdooSimulator
from processes import started
from stage import REQUESTS, make_event, make_settings, serve_api, working

WEBHOOK_KEY, CALLBACK_KEY, FLUX_KEY = "key-of-the-webhook", "key-of-the-callback", "key-of-the-service"
SIGNING_SECRET = "whsec_YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXowMTIzNDU="
"""Signs what N8N sends to the bridge."""
BRIDGE_SECRET = "whsec_NTQzMjEwenl4d3Z1dHNycXBvbm1sa2ppaGdmZWRjYmE="
"""Signs what the bridge sends to N8N."""
ODOO_KEY, OPS_KEY = "key-of-odoo", "key-of-ops"
DEAD_LETTERS = "/api/v1/ops/dead-letters"
PATIENCE = 90.0
"""Default timeout in seconds. A real N8N on a busy machine is slow."""


def clients(callback_key: str = CALLBACK_KEY) -> dict[str, Any]:
    """Returns the clients of the bridge. N8N must sign."""
    n8n = {"keys": [callback_key], "scopes": ["callbacks"]}
    return {
        "odoo": {"keys": [ODOO_KEY], "scopes": ["requests"]},
        "n8n": n8n | {"signing_secrets": [SIGNING_SECRET], "signature_required": True},
        "ops": {"keys": [OPS_KEY], "scopes": ["ops"]},
    }


def connection(webhook_url: str, **more: Any) -> dict[str, Any]:
    """Returns the bridge's settings of N8N."""
    return {"webhook_url": webhook_url, "api_key": WEBHOOK_KEY, "signing_secret": BRIDGE_SECRET, **more}


def signed(body: bytes, *secrets: str, at: datetime | None = None) -> dict[str, str]:
    """Returns the headers with which the bridge signs a body; by default with the right secret, now."""
    keys = map(secret_bytes, secrets or (BRIDGE_SECRET,))
    return sign(keys, f"msg_{uuid4().hex}", at or datetime.now(UTC), body)


class Player(Protocol):
    """An N8N with published workflows."""

    real: bool

    def webhook(self, variant: str) -> str:
        """Returns the URL of the workflow's variant: `v2` is the shipped one, the others are in variants.py."""

    async def stop(self) -> None:
        """Stops N8N as an operator does: running executions finish."""

    async def kill(self) -> None:
        """Kills N8N, as a crash does."""

    async def start(self) -> None:
        """Starts N8N again."""

    async def idle(self) -> None:
        """Waits until no execution is running."""

    async def retry(self, request_id: str) -> None:
        """Retries the execution of this request, which has just failed, like the "Retry" button."""


@dataclass
class Bridge:
    """The real bridge, API and worker, on `database_url`: as a separate process, or faster within this one."""

    database_url: str
    home: Path
    gate: Gate
    own_process: bool
    sections: dict[str, Any]
    """Sections of its settings, kept from one start to the next."""
    _running: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def start(self, **changes: Any) -> None:
        """Starts the bridge. `changes` are sections of its settings that change from now on."""
        self.sections |= changes
        running = self._as_process() if self.own_process else self._within()
        self.gate.bridge_url = await self._running.enter_async_context(running)

    async def stop(self) -> None:
        """Stops the bridge. The gate cuts connections from now on."""
        self.gate.bridge_url = None
        await self._running.aclose()

    async def hold(self) -> None:
        """Stops the worker: requests and results are accepted, but there are no outbound calls."""
        await self.stop()
        self.gate.bridge_url = await self._running.enter_async_context(self._within(worker=False))

    async def go_on(self) -> None:
        """Starts the worker again."""
        await self.stop()
        await self.start()

    @asynccontextmanager
    async def _as_process(self) -> AsyncIterator[str]:
        sections = {f"AIGEN_{name.upper()}": json.dumps(value) for name, value in self.sections.items()}
        environment = {"AIGEN_DATABASE_URL": self.database_url, "AIGEN_PUBLIC_URL": self.gate.url, **sections}
        async with started("up", "--port", "0", environment=environment, cwd=self.home, ready="Ready: ") as running:
            yield running.url

    @asynccontextmanager
    async def _within(self, *, worker: bool = True) -> AsyncIterator[str]:
        settings = make_settings(self.database_url, **{**self.sections, "public_url": self.gate.url})
        async with serve_api(settings) as api, working(settings) if worker else nullcontext():
            yield str(api.base_url).rstrip("/")


@dataclass
class Theatre:
    """The components that a scenario uses."""

    flux: FluxSimulator
    odoo: OdooSimulator
    gate: Gate
    bridge: Bridge
    n8n: Player
    http: httpx.AsyncClient
    flux_url: str

    async def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Calls the bridge as operations do."""
        headers = {"X-API-Key": OPS_KEY}
        return await self.http.request(method, f"{self.gate.bridge_url}{path}", headers=headers, **more)

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """Requests an image, as Odoo does, and returns the resource."""
        url = f"{self.gate.bridge_url}{REQUESTS}"
        answer = await self.http.post(url, json=make_event(**fields), headers={"X-API-Key": ODOO_KEY})
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def read(self, request_id: str) -> dict[str, Any]:
        """Returns the current resource."""
        return dict((await self.call("GET", f"{REQUESTS}/{request_id}")).json())

    async def until_status(self, request_id: str, status: str) -> None:
        """Waits until a request has this status."""

        async def there() -> bool | None:
            return (await self.read(request_id))["status"] == status or None

        await eventually(there)

    async def until_delivered(self, request_id: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """Waits until the result was delivered to Odoo and returns the resource."""

        async def ended() -> dict[str, Any] | None:
            found = await self.read(request_id)
            return found if found["deliveredAt"] else None

        found = await eventually(ended, seconds=seconds)
        if self.n8n.real and found["status"] == "completed":
            self._measure(found)
        return dict(found)

    def _measure(self, request: dict[str, Any]) -> None:
        """Records the stages of a request with exactly one AI call and one callback."""
        asked_ai, callbacks = self.calls("generate", request), self.callbacks(request)
        if len(asked_ai) == len(callbacks) == 1:
            measure(request, asked_ai[0], callbacks[0])

    async def dead_letters(self, **query: Any) -> list[dict[str, Any]]:
        """Returns the dead letters."""
        return list((await self.call("GET", DEAD_LETTERS, params=query)).json()["items"])

    async def story(self, asked: Mapping[str, Any]) -> str:
        """Returns the notes of a request's timeline, one per line."""
        timeline = (await self.call("GET", f"{REQUESTS}/{asked['requestId']}/timeline")).json()
        return "\n".join(entry["note"] for entry in timeline["entries"] if entry.get("note"))

    def callbacks(self, asked: Mapping[str, Any]) -> list[Call]:
        """Returns the callback attempts of one request, as recorded by the gate."""
        return self.calls("callback", asked)

    def calls(self, place: str, asked: Mapping[str, Any]) -> list[Call]:
        """Returns the calls of one request to an endpoint of the gate or of the AI service."""
        calls = [*self.gate.calls.to(place), *self.flux.calls.to(place)]
        return [call for call in calls if call.headers.get("x-correlation-id") == asked["correlationId"]]

    async def until_dead(self, count: int = 1, **query: Any) -> list[dict[str, Any]]:
        """Waits until there are `count` dead letters and returns them."""

        async def found() -> list[dict[str, Any]] | None:
            letters = await self.dead_letters(**query)
            return letters if len(letters) >= count else None

        return await eventually(found)

    async def dead_letters_of(self, *asked: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Returns the dead letters of these requests. A real N8N may still report errors of an earlier scenario."""
        names = {one["requestId"] for one in asked}
        return [letter for letter in await self.dead_letters() if letter["requestId"] in names]

    async def settle(self) -> None:
        """Waits until N8N has finished its executions: an unwanted effect would have occurred by then."""
        await self.n8n.idle()

    def event_of(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        """Returns the event that N8N got for a request."""
        callback = f"{self.gate.url}/api/v1/influencegen/ai-image-callback"
        return {name: asked[name] for name in make_event() if name in asked} | {"callbackUrl": callback}

    async def post_to_n8n(self, event: Any, **headers: str) -> httpx.Response:
        """Calls the webhook directly, with the right key and signature."""
        body = json.dumps(event, ensure_ascii=False).encode()
        return await self.send_to_n8n(body, {**signed(body), **headers})

    async def send_to_n8n(self, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Calls the webhook directly, with the right key and these headers."""
        usual = {"X-API-Key": WEBHOOK_KEY, "Content-Type": "application/json"}
        return await self.http.post(self.n8n.webhook("v2"), content=body, headers={**usual, **headers})


Opened = Callable[..., Awaitable[Theatre]]
"""Opens the theatre; see the fixture `open_theatre`."""


async def eventually(look: Callable[[], Any], *, seconds: float = PATIENCE) -> Any:
    """Calls `look` until it returns something other than None, and returns that."""
    async with asyncio.timeout(seconds):
        while (found := await look()) is None:
            await asyncio.sleep(0.1)
        return found
