"""N8N is starting, restarting, or behind a proxy's page: requests that are made meanwhile arrive without intervention.

The bridge must distinguish N8N's acknowledgement from any other 2xx, and hold requests that N8N cannot accept yet.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any
from urllib.parse import urlsplit

import pytest
from front import Front, html
from players import RealPlayer, SimulatedPlayer
from starlette.responses import PlainTextResponse
from theatre import Opened, Theatre, connection, eventually

from aigen_bridge.sim.serving import serving
from conftest import SECRETS, Addresses, NewN8n
from real_n8n import ROOT, WEBHOOK, RealN8n

STARTING = "n8n is starting up. Please wait"
ASK_EVERY = 0.5
Fronted = Callable[[str], Awaitable[tuple[Front, dict[str, Any]]]]


@pytest.fixture
async def fronted() -> AsyncIterator[Fronted]:
    """A function that puts a proxy in front of a webhook. It returns the proxy and the bridge's settings for it."""
    async with AsyncExitStack() as opened:

        async def put(webhook: str) -> tuple[Front, dict[str, Any]]:
            address = urlsplit(webhook)
            front = Front(f"{address.scheme}://{address.netloc}")
            url = await opened.enter_async_context(serving(front.app))
            return front, connection(url + address.path)

        yield put


async def all_arrive(theatre: Theatre, asked: list[dict[str, Any]]) -> None:
    """Checks that every request is delivered once, paid for once, and has no dead letter."""
    ended = [await theatre.until_delivered(one["requestId"]) for one in asked]
    assert [(one["status"], one.get("errorCode")) for one in ended] == [("completed", None)] * len(asked)
    assert all(theatre.odoo.records[one["requestId"]].applied == 1 for one in asked)
    assert [len(theatre.calls("generate", one)) for one in asked] == [1] * len(asked)
    assert await theatre.dead_letters_of(*asked) == []


async def ask_until(theatre: Theatre, done: asyncio.Task[None]) -> list[dict[str, Any]]:
    """Makes a request every half second until `done` has ended, then one more."""
    asked = [await theatre.ask()]
    while not done.done():
        await asyncio.wait({done}, timeout=ASK_EVERY)
        asked.append(await theatre.ask())
    await done
    return asked


async def test_what_is_asked_for_while_n8n_starts_on_an_empty_database_arrives(
    player: RealPlayer | SimulatedPlayer,
    addresses: Addresses,
    open_theatre: Opened,
    fronted: Fronted,
    new_n8n: NewN8n,
) -> None:
    """N8N shows its start page (200), then webhooks are not registered (404), then it restarts with the workflows."""
    if not player.real:
        front, n8n = await fronted(player.webhook("v2"))
        theatre = await open_theatre(n8n=n8n)
        starting = asyncio.create_task(_start_simulated(front))
        await all_arrive(theatre, await ask_until(theatre, starting))
        return
    empty = new_n8n()
    theatre = await open_theatre(n8n=connection(empty.url + WEBHOOK))
    try:
        starting = asyncio.create_task(asyncio.to_thread(_start_real, empty, addresses))
        await all_arrive(theatre, await ask_until(theatre, starting))
    finally:
        await asyncio.to_thread(empty.stop)


async def _start_simulated(front: Front) -> None:
    front.page = PlainTextResponse(STARTING)
    await asyncio.sleep(2)
    front.page = html(404)
    await asyncio.sleep(2)
    front.page = None


def _start_real(n8n: RealN8n, addresses: Addresses) -> None:
    n8n.launch()
    n8n.wait_until_unregistered(WEBHOOK)
    n8n.bring_in(ROOT / "n8n", addresses.settings() | {"n8nUrl": n8n.main.url}, SECRETS)
    n8n.stop()
    n8n.start(WEBHOOK)


async def test_ten_requests_asked_for_during_a_restart_of_n8n_arrive(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    stopped = asyncio.Event()
    restarting = asyncio.create_task(_restart(theatre, stopped))
    await stopped.wait()
    asked = []
    for _ in range(10):
        asked.append(await theatre.ask())
        await asyncio.sleep(1 if theatre.n8n.real else 0.1)
    await restarting
    await all_arrive(theatre, asked)


async def test_what_is_asked_for_while_n8n_stops_and_starts_arrives(open_theatre: Opened) -> None:
    """A stopping N8N still acknowledges requests after the signal, and drops them."""
    theatre = await open_theatre()
    before = await theatre.ask()
    await theatre.until_delivered(before["requestId"])
    restarting = asyncio.create_task(_restart(theatre, asyncio.Event()))
    await all_arrive(theatre, await ask_until(theatre, restarting))


async def _restart(theatre: Theatre, stopped: asyncio.Event) -> None:
    await theatre.n8n.stop()
    stopped.set()
    await asyncio.sleep(0 if theatre.n8n.real else 2)
    await theatre.n8n.start()


@pytest.mark.parametrize("status", [200, 404, 502, 503])
async def test_a_page_of_a_proxy_instead_of_n8n_loses_nothing(
    player: RealPlayer | SimulatedPlayer, open_theatre: Opened, fronted: Fronted, status: int
) -> None:
    front, n8n = await fronted(player.webhook("v2"))
    theatre = await open_theatre(n8n=n8n)
    front.page = html(status)
    asked = [await theatre.ask() for _ in range(3)]

    async def all_held() -> bool | None:
        ready = (await theatre.call("GET", "/health/ready")).json()
        return ready["destinations"]["n8n"]["held"] == len(asked) or None

    await eventually(all_held)  # once the specified schedule (1, 2, 4 s) is used up
    states = [(await theatre.read(one["requestId"]))["status"] for one in asked]
    front.page = None

    assert states == ["queued"] * 3
    await all_arrive(theatre, asked)
