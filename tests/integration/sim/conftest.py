"""A mailbox that stands where the bridge's callback would be, and a clock that obeys."""

import asyncio
import email
import json
import time
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import pytest
from n8n_stage import FLUX_KEY, N8N_KEY, WEBHOOK, settings
from starlette.applications import Starlette
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.n8n import N8nSimulator
from aigen_bridge.sim.serving import serving


@dataclass
class Clock:
    """Seconds since 1970, moved by hand."""

    now: float = 1_700_000_000.0

    def __call__(self):
        return self.now


@dataclass
class Letter:
    path: str
    headers: dict
    raw: bytes
    parts: dict = field(default_factory=dict)

    @property
    def event(self):
        return json.loads(self.parts["event"].get_payload(decode=True) if self.parts else self.raw)


@dataclass
class Mailbox:
    """Receives callbacks and answers them as the bridge does: by script, or with 202 and a receipt."""

    url: str = ""
    letters: list = field(default_factory=list)
    script: list = field(default_factory=list)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def receive(self, request):
        raw = await request.body()
        letter = Letter(request.url.path, dict(request.headers), raw, _parts(request, raw))
        answer = self.script.pop(0) if self.script else (202, {})
        async with self.arrived:
            self.letters.append(letter)
            self.arrived.notify_all()
        if isinstance(answer, Response):
            return answer
        status, headers = answer
        if status < 300:
            return JSONResponse({"requestId": letter.event.get("requestId")}, status, headers)
        return JSONResponse({}, status, headers, media_type="application/problem+json")

    async def wait_for(self, count):
        async with asyncio.timeout(10), self.arrived:
            await self.arrived.wait_for(lambda: len(self.letters) >= count)
        return self.letters


def _parts(request, raw):
    content_type = request.headers["content-type"]
    if not content_type.startswith("multipart/form-data"):
        return {}
    message = email.message_from_bytes(f"Content-Type: {content_type}\r\n\r\n".encode() + raw)
    return {part.get_param("name", header="content-disposition"): part for part in message.get_payload()}


@pytest.fixture
async def mailbox():
    box = Mailbox()
    paths = ("/api/v1/influencegen/ai-image-callback", "/api/v2/influencegen/ai-image-callback")
    app = Starlette(routes=[Route(path, box.receive, methods=["POST"]) for path in paths])
    async with serving(app) as url:
        box.url = url + paths[0]
        yield box


@pytest.fixture
async def http():
    """A client without certificates, which take longer to read than a test takes to run."""
    async with httpx.AsyncClient(verify=False, trust_env=False, timeout=10) as client:
        yield client


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def make_event(mailbox):
    def make(**changes):
        event = {
            "requestId": str(uuid4()),
            "correlationId": str(uuid4()),
            "userId": str(uuid4()),
            "prompt": "A lighthouse at dusk",
            "modelId": str(uuid4()),
            "resolution": "64x48",
            "aspectRatio": "4:3",
            "seed": 7,
            "callbackUrl": mailbox.url,
        }
        return event | changes

    return make


@pytest.fixture
async def start(http):
    """Serve an N8N with the given settings; return it with a function that posts an event to its webhook."""
    servers = []

    async def start(*, clock=time.time, **changes):
        n8n = N8nSimulator(settings(**changes), clock=clock)
        server = serving(n8n.app)
        url = await server.__aenter__()
        servers.append(server)

        async def post(event, **headers):
            headers = {"X-API-Key": N8N_KEY} | {name.replace("_", "-"): v for name, v in headers.items()}
            return await http.post(url + WEBHOOK, json=event, headers=headers)

        post.url = url
        return n8n, post

    yield start
    for server in reversed(servers):
        await server.__aexit__(None, None, None)


@pytest.fixture
async def flux():
    simulator = FluxSimulator(FluxSettings(key=FLUX_KEY, seconds=0))
    async with serving(simulator.app) as url:
        simulator.url = url
        yield simulator
