"""The stage: API, worker and simulators, each on a real socket, over a separate database for each test."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx

from aigen_bridge.asgi import create_app
from aigen_bridge.contracts import examples
from aigen_bridge.settings import Settings
from aigen_bridge.settings.rotation import Rotation
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sim.serving import serving
from aigen_bridge.worker.run import run_worker
from ports import free_port

REQUESTS = "/api/v1/influencegen/ai-image-requests"
CALLBACK = "/api/v1/influencegen/ai-image-callback"
KEYS = {"odoo": "key-of-odoo", "n8n": "key-of-n8n", "ops": "key-of-ops"}
SCOPES = {"odoo": ["requests"], "n8n": ["callbacks"], "ops": ["ops"]}
CLIENTS = {name: {"keys": [key], "scopes": SCOPES[name]} for name, key in KEYS.items()}
UNREACHABLE: dict[str, dict[str, Any]] = {
    "n8n": {"webhook_url": "http://127.0.0.1:9/webhook", "api_key": "k"},
    "odoo": {"url": "http://127.0.0.1:9", "database": "odoo", "login": "bridge", "api_key": "k"},
}

GENEROUS: dict[str, dict[str, Any]] = {
    "requests": {"rate_limit": "100000/second"},
    "callback": {"rate_limit": "100000/second"},
    "image_urls": {"allow_http": True, "trusted_networks": ["127.0.0.0/8"]},
}
"""Settings for tests that do not test these limits."""


def make_settings(database_url: str, **sections: Any) -> Settings:
    """Returns settings for a test; `sections` are fields of `Settings`."""
    given = UNREACHABLE | GENEROUS | {"clients": CLIENTS, "public_url": "http://bridge.test"} | sections
    return Settings(database_url=database_url, _env_file=None, **given)


def sqlalchemy_url(url: str) -> str:
    """Returns the same URL in SQLAlchemy's form."""
    return url.replace("postgresql://", "postgresql+psycopg://", 1)


def make_event(**fields: Any) -> dict[str, Any]:
    """Returns a new EVT-AIG-001. Its image is small, because that is drawn fast. A field given as None is omitted."""
    event = examples.REQUESTED | {
        "requestId": str(uuid4()),
        "correlationId": str(uuid4()),
        "resolution": "64x64",
    }
    return {name: value for name, value in (event | fields).items() if value is not None}


@dataclass(frozen=True)
class Stage:
    """The API, the simulators and the settings of a test."""

    api: httpx.AsyncClient
    chain: Chain
    settings: Settings

    def as_client(self, name: str) -> dict[str, str]:
        """Returns the headers of a client."""
        return {"X-API-Key": KEYS[name]}

    async def ask(self, **fields: Any) -> dict[str, Any]:
        """Requests an image and returns the resource."""
        answer = await self.api.post(REQUESTS, json=make_event(**fields), headers=self.as_client("odoo"))
        assert answer.status_code == 202, answer.text
        return dict(answer.json())

    async def read(self, request_id: str) -> dict[str, Any]:
        """Returns the current resource."""
        answer = await self.api.get(f"{REQUESTS}/{request_id}", headers=self.as_client("ops"))
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def until(
        self, request_id: str, condition: Callable[[dict[str, Any]], bool], *, seconds: float = 20
    ) -> dict[str, Any]:
        """Waits until the condition holds and returns the resource."""
        async with asyncio.timeout(seconds):
            pause = 0.02
            while not condition(found := await self.read(request_id)):
                await asyncio.sleep(pause)
                pause = min(1.2 * pause, 0.2)  # so that a long wait does not slow down what it waits for
            return found

    async def until_delivered(self, request_id: str, *, seconds: float = 20) -> dict[str, Any]:
        """Waits until the result was delivered to Odoo and returns the resource."""
        return await self.until(request_id, lambda r: r["deliveredAt"] is not None, seconds=seconds)

    async def timeline(self, request_id: str) -> list[dict[str, Any]]:
        """Returns the request's timeline."""
        answer = await self.api.get(f"{REQUESTS}/{request_id}/timeline", headers=self.as_client("ops"))
        return list(answer.json()["entries"])


@asynccontextmanager
async def serve_api(
    settings: Settings, *, port: int = 0, rotation: Rotation | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Serves the API on a real socket. Yields a client for it."""
    async with (
        serving(create_app(settings, rotation), port=port) as url,
        httpx.AsyncClient(base_url=url, timeout=30, verify=False) as api,
    ):
        yield api


@asynccontextmanager
async def working(settings: Settings) -> AsyncIterator[asyncio.Event]:
    """Runs a worker in the background. Setting the yielded event drains it early."""
    stop = asyncio.Event()
    task = asyncio.create_task(run_worker(settings, stop))
    try:
        yield stop
    finally:
        stop.set()
        await task


@asynccontextmanager
async def staged(database_url: str, *, n8n: Mapping[str, Any] | None = None, **sections: Any) -> AsyncIterator[Stage]:
    """Runs the API and the simulators, without a worker (see `working`). `n8n` are fields of `N8nSettings`."""
    async with simulators(callback_key=KEYS["n8n"], flux_seconds=0, **(n8n or {})) as chain:
        port = free_port()  # known before the API is built, because the API must know its own address
        settings = make_settings(database_url, **{**chain.bridge, "public_url": f"http://127.0.0.1:{port}", **sections})
        async with serve_api(settings, port=port) as api:
            yield Stage(api, chain, settings)
