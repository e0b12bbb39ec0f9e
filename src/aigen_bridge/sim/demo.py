"""`aigen-bridge demo`: sends one request through the whole chain and proves that its image arrived in Odoo.

The bridge runs as a separate process, as in production. Flux, N8N and Odoo are simulated in this process.
"""

import asyncio
import hashlib
import math
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol
from uuid import uuid4

import httpx

from aigen_bridge.sim.bridge_process import BridgeProcess, bridge
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sim.flux_contract import Ending
from aigen_bridge.sim.flux_jobs import Stage
from aigen_bridge.sim.n8n_settings import Price
from aigen_bridge.sim.n8n_signatures import new_secret

REQUESTS = "/api/v1/influencegen/ai-image-requests"
STATUSES = {
    "queued": "The bridge sends the request to N8N",
    "dispatched": "N8N has the request",
    "received": "The bridge fetches the image",
    "completed": "The bridge delivers the image to Odoo",
    "failed": "The request failed",
    "cancelled": "The request was cancelled",
}
ENDED = frozenset({"completed", "failed", "cancelled"})
OTHERS, OTHERS_SECONDS = 2, 0.4
"""Jobs that are before the demo's own one in the AI service's queue, and the duration of each."""
PRICE = Price(amount="0.035", currency="USD", per="megapixel")
PATIENCE = 90
"""Seconds after which a request that has not ended counts as lost."""


class DemoFailedError(Exception):
    """The request did not end with the right image in Odoo."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The image to request; `size` is WIDTHxHEIGHT."""

    prompt: str
    size: str
    seed: int | None

    def event(self) -> dict[str, Any]:
        """Builds EVT-AIG-001 as the addon sends it."""
        width, height = (int(side) for side in self.size.split("x"))
        divisor = math.gcd(width, height)
        event = {
            "requestId": str(uuid4()),
            "correlationId": str(uuid4()),
            "userId": str(uuid4()),
            "prompt": self.prompt,
            "modelId": str(uuid4()),
            "resolution": self.size,
            "aspectRatio": f"{width // divisor}:{height // divisor}",
            "inferenceSteps": 28,
            "cfgScale": 3.5,
        }
        return event if self.seed is None else event | {"seed": self.seed}


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a demo: the request, its timeline with the generation, the image file, the latency of the bridge.

    `to_n8n`: request accepted → webhook called; `to_odoo`: callback sent → Odoo called. Seconds.
    """

    request: dict[str, Any]
    timeline: list[dict[str, Any]]
    image: Path
    to_n8n: float
    to_odoo: float


class View(Protocol):
    """Shows the progress of a demo."""

    def step(self, text: str) -> None:
        """Shows that a new step begins."""

    def done(self, proof: Proof) -> None:
        """Shows that the image arrived."""

    def keeps_running(self, url: str, chain: Chain, keys: dict[str, str]) -> None:
        """Shows the addresses and keys of everything that keeps running."""


async def run_demo(wish: Wish, home: Path, view: View, *, keep: bool, stop: asyncio.Event) -> None:
    """Runs the demo to its end or until `stop` is set, and leaves nothing running.

    Raises `DemoFailedError` or `BridgeNotStartedError`.
    """
    demo = asyncio.create_task(_run(wish, home, view, keep=keep, stop=stop))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({demo, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not demo.done() and not keep:
        demo.cancel()
    try:
        await demo
    except asyncio.CancelledError:
        raise DemoFailedError("It was stopped.") from None
    except httpx.HTTPError as error:
        raise DemoFailedError(f"The bridge does not answer ({type(error).__name__}).") from error


async def _run(wish: Wish, home: Path, view: View, *, keep: bool, stop: asyncio.Event) -> None:
    home.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix="demo-", dir=home.resolve()))
    keys = {name: secrets.token_urlsafe(24) for name in ("odoo", "n8n", "ops")}
    secrets_of_n8n: dict[str, Any] = {"signing_secret": new_secret(), "webhook_signing_secret": new_secret()}
    try:
        view.step("Starting simulators of the AI service, N8N and Odoo")
        behaviour: dict[str, Any] = {"price": PRICE, "stands_in": True} | secrets_of_n8n
        async with simulators(callback_key=keys["n8n"], flux_runners=1, **behaviour) as chain:
            view.step("Starting the bridge with an embedded PostgreSQL")
            async with bridge(scratch, {"clients": _clients(keys, chain), **chain.bridge}) as running:
                view.done(await _deliver(wish, home, view, chain, running, keys["odoo"]))
                if keep:
                    view.keeps_running(running.url, chain, keys)
                    await stop.wait()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _clients(keys: dict[str, str], chain: Chain) -> dict[str, Any]:
    scopes = {"odoo": ["requests"], "n8n": ["callbacks"], "ops": ["ops", "requests"]}
    clients: dict[str, Any] = {name: {"keys": [key], "scopes": scopes[name]} for name, key in keys.items()}
    clients["n8n"] |= {"signing_secrets": [chain.n8n.settings.signing_secret], "signature_required": True}
    return clients


async def _deliver(wish: Wish, home: Path, view: View, chain: Chain, running: BridgeProcess, key: str) -> Proof:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=10, trust_env=False) as api:
        view.step("Odoo asks for the image")
        answer = await api.post(REQUESTS, json=wish.event())
        accepted_at = time.time()
        if answer.status_code != httpx.codes.ACCEPTED:
            raise DemoFailedError(f"The bridge answered {answer.status_code}: {answer.text}")
        async with _busy(chain):
            request = await _follow(api, answer.json()["requestId"], view)
        told = (await api.get(f"{REQUESTS}/{request['requestId']}/timeline")).json()
        image = await _verified(api, request, chain, home)
    webhook = chain.n8n.calls.to("webhook")[0]
    called = next(call for call in chain.odoo.calls.to("jsonrpc") if call.at >= chain.n8n.attempts[0].at)
    timeline = sorted([*told["entries"], *told["generation"]], key=lambda entry: datetime.fromisoformat(entry["at"]))
    return Proof(request, timeline, image, webhook.at - accepted_at, called.at - chain.n8n.attempts[0].at)


async def _follow(api: httpx.AsyncClient, request_id: str, view: View) -> dict[str, Any]:
    """Polls the request, as an open form in Odoo does, until its result was delivered to Odoo."""
    shown = None
    for _ in range(int(PATIENCE / 0.05)):
        request: dict[str, Any] = (await api.get(f"{REQUESTS}/{request_id}")).json()
        if (news := _news(request)) != shown:
            shown = news
            view.step(news)
        if request["status"] in ENDED and request["deliveredAt"]:
            return request
        await asyncio.sleep(0.05)
    raise DemoFailedError(f"Request {request_id} has not arrived after {PATIENCE} s.")


@asynccontextmanager
async def _busy(chain: Chain) -> AsyncIterator[None]:
    """Fills the AI service's queue with other jobs. They run once the demo's own job waits behind them."""

    async def generate() -> Ending:
        await asyncio.sleep(OTHERS_SECONDS)
        return Ending(200, {})

    async def go_on() -> None:
        await jobs.reached(Stage.IN_QUEUE, OTHERS + 1, seconds=PATIENCE)
        await asyncio.sleep(OTHERS_SECONDS)  # for people to see its position
        jobs.release(Stage.IN_QUEUE)

    jobs = chain.flux.jobs
    jobs.hold(Stage.IN_QUEUE)
    for _ in range(OTHERS):
        jobs.submit(None, generate)
    going_on = asyncio.create_task(go_on())
    try:
        yield
    finally:
        going_on.cancel()


def _news(request: dict[str, Any]) -> str:
    """Says for people how far a request is."""
    status, progress = request["status"], request["progress"]
    if status == "dispatched" and progress:
        return _progress(progress)
    return STATUSES[status]


def _progress(progress: dict[str, Any]) -> str:
    percent, before = progress["percent"], progress["queuePosition"]
    if progress["stage"] == "generating":
        return "Being made" if percent is None else f"Being made, {percent:g} %"
    if progress["stage"] == "finishing":
        return "Almost there"
    if before is None:
        return "In the queue"
    return f"Number {before + 1} in the queue" if before else "Next in the queue"


async def _verified(api: httpx.AsyncClient, request: dict[str, Any], chain: Chain, home: Path) -> Path:
    """Writes the image to a file, provided that Odoo and the bridge have the same bytes and the hash matches them."""
    if request["status"] != "completed":
        raise DemoFailedError(f"The request {request['status']}: {request['errorMessage']}")
    in_bridge = (await api.get(request["image"]["href"])).content
    in_odoo = chain.odoo.records.image(request["requestId"]) or b""
    hashes = {hashlib.sha256(in_bridge).hexdigest(), hashlib.sha256(in_odoo).hexdigest(), request["image"]["sha256"]}
    if len(hashes) != 1:
        raise DemoFailedError(f"The image in Odoo is not the one that was made: {hashes}.")
    path = home / f"{request['requestId']}.{request['image']['format']}"
    await asyncio.to_thread(path.write_bytes, in_odoo)
    return path
