"""`aigen-bridge demo`: sends one request through the whole chain and proves that its image arrived in Odoo.

The bridge runs as a separate process, as in production. Flux, N8N and Odoo are simulated in this process.
"""

import asyncio
import hashlib
import secrets
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import httpx

from aigen_bridge.sim.bridge_process import BridgeProcess, bridge
from aigen_bridge.sim.chain import Chain, simulators
from aigen_bridge.sim.demo_request import PATIENCE, DemoFailedError, Wish, ask, follow, image_of, save, timeline
from aigen_bridge.sim.flux_contract import Ending
from aigen_bridge.sim.flux_jobs import Stage
from aigen_bridge.sim.n8n_settings import Price
from aigen_bridge.sim.n8n_signatures import new_secret
from aigen_bridge.sim.up_file import RunningUp, running_up

OTHERS, OTHERS_SECONDS = 2, 0.4
"""Jobs that are before the demo's own one in the AI service's queue, and the duration of each."""
PRICE = Price(amount="0.035", currency="USD", per="megapixel")


@dataclass(frozen=True, slots=True)
class Added:
    """What the bridge added: request accepted → webhook called, callback sent → Odoo called. Seconds."""

    to_n8n: float
    to_odoo: float


@dataclass(frozen=True, slots=True)
class Marking:
    """How the demo's bridge marks the image, and how the mark is proved."""

    settings: Callable[[Path], Mapping[str, Any]]
    """Returns the section `marking` of the bridge's settings. Its files are in the given folder."""
    check: Callable[[Path], str]
    """Returns what the image file says about how it was made. Raises `DemoFailedError` if it carries no such mark."""


@dataclass(frozen=True, slots=True)
class Proof:
    """The result of a demo: the request, its timeline with the generation, and the image file.

    `added` is None for a bridge whose simulators run elsewhere, `mark` for one that does not mark images.
    """

    request: dict[str, Any]
    timeline: list[dict[str, Any]]
    image: Path
    added: Added | None
    mark: str | None = None


class View(Protocol):
    """Shows the progress of a demo."""

    def step(self, text: str) -> None:
        """Shows that a new step begins."""

    def done(self, proof: Proof) -> None:
        """Shows that the image arrived."""

    def keeps_running(self, url: str, chain: Chain, keys: dict[str, str]) -> None:
        """Shows the addresses and keys of everything that keeps running."""

    def is_in_console(self, url: str, key: str) -> None:
        """Shows where the console of a bridge that runs anyway is, and the key for it."""


async def run_demo(
    wish: Wish, home: Path, view: View, *, keep: bool, stop: asyncio.Event, marking: Marking | None = None
) -> None:
    """Runs the demo to its end or until `stop` is set, and leaves nothing running.

    Raises `DemoFailedError` or `BridgeNotStartedError`.
    """
    demo = asyncio.create_task(_run(wish, home, view, keep=keep, stop=stop, marking=marking))
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


async def _run(wish: Wish, home: Path, view: View, *, keep: bool, stop: asyncio.Event, marking: Marking | None) -> None:
    home.mkdir(parents=True, exist_ok=True)
    if keep and not marking and (up := await running_up(home)):
        await _send_through(wish, home, view, up)
        return
    scratch = Path(tempfile.mkdtemp(prefix="demo-", dir=home.resolve()))
    keys = {name: secrets.token_urlsafe(24) for name in ("odoo", "n8n", "ops")}
    secrets_of_n8n: dict[str, Any] = {"signing_secret": new_secret(), "webhook_signing_secret": new_secret()}
    try:
        view.step("Starting simulators of the AI service, N8N and Odoo")
        behaviour: dict[str, Any] = {"price": PRICE, "stands_in": True} | secrets_of_n8n
        async with simulators(callback_key=keys["n8n"], flux_runners=1, **behaviour) as chain:
            view.step("Starting the bridge with an embedded PostgreSQL")
            marks = {"marking": marking.settings(scratch)} if marking else {}
            async with bridge(scratch, {"clients": _clients(keys, chain), **chain.bridge, **marks}) as running:
                proof = await _deliver(wish, home, view, chain, running, keys["odoo"])
                view.done(await _with_mark(proof, marking))
                if keep:
                    view.keeps_running(running.url, chain, keys)
                    await stop.wait()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def _send_through(wish: Wish, home: Path, view: View, up: RunningUp) -> None:
    """Sends the request through the bridge of `aigen-bridge up`, so that its console has something to show."""
    async with up.as_client("odoo") as api:
        view.step(f"Odoo asks the bridge that runs at {up.url} for the image")
        request_id = await ask(api, wish)
        request = await follow(api, request_id, view.step)
        image = await save(await image_of(api, request), request, home)
        view.done(Proof(request, await timeline(api, request_id), image, None))
    view.is_in_console(up.url, up.keys["ops"])


async def _with_mark(proof: Proof, marking: Marking | None) -> Proof:
    return replace(proof, mark=await asyncio.to_thread(marking.check, proof.image)) if marking else proof


def _clients(keys: dict[str, str], chain: Chain) -> dict[str, Any]:
    scopes = {"odoo": ["requests"], "n8n": ["callbacks"], "ops": ["ops", "requests"]}
    clients: dict[str, Any] = {name: {"keys": [key], "scopes": scopes[name]} for name, key in keys.items()}
    clients["n8n"] |= {"signing_secrets": [chain.n8n.settings.signing_secret], "signature_required": True}
    return clients


async def _deliver(wish: Wish, home: Path, view: View, chain: Chain, running: BridgeProcess, key: str) -> Proof:
    headers = {"Authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=running.url, headers=headers, timeout=10, trust_env=False) as api:
        view.step("Odoo asks for the image")
        request_id = await ask(api, wish)
        accepted_at = time.time()
        async with _busy(chain):
            request = await follow(api, request_id, view.step)
        told = await timeline(api, request_id)
        image = await _verified(api, request, chain, home)
    webhook = chain.n8n.calls.to("webhook")[0]
    called = next(call for call in chain.odoo.calls.to("jsonrpc") if call.at >= chain.n8n.attempts[0].at)
    added = Added(webhook.at - accepted_at, called.at - chain.n8n.attempts[0].at)
    return Proof(request, told, image, added)


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


async def _verified(api: httpx.AsyncClient, request: dict[str, Any], chain: Chain, home: Path) -> Path:
    """Writes the image to a file, provided that Odoo and the bridge have the same bytes and the hash matches them."""
    in_bridge = await image_of(api, request)
    in_odoo = chain.odoo.records.image(request["requestId"]) or b""
    hashes = {hashlib.sha256(in_bridge).hexdigest(), hashlib.sha256(in_odoo).hexdigest(), request["image"]["sha256"]}
    if len(hashes) != 1:
        raise DemoFailedError(f"The image in Odoo is not the one that was made: {hashes}.")
    return await save(in_odoo, request, home)
