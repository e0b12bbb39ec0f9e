"""A bridge that runs in a thread of its own, between the real Odoo and the simulated N8N."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from queue import Queue
from typing import Any

from aigen_bridge.sim.chain import Chain, simulators
from real_odoo import DATABASE, RealOdoo
from stage import KEYS, _FreePort, make_settings, serve_api, working


@dataclass(frozen=True)
class Bridge:
    """A bridge that runs, and the simulators behind it."""

    url: str
    chain: Chain


@contextmanager
def running_bridge(database_url: str, odoo: RealOdoo, **behaviour: Any) -> Iterator[Bridge]:
    """API, worker, N8N and Flux in an event loop of another thread: Playwright wants this one for itself."""
    ready: Queue[Bridge | BaseException] = Queue()
    loop = asyncio.new_event_loop()
    stop = asyncio.Event()

    async def run() -> None:
        try:
            async with simulators(callback_key=KEYS["n8n"], **behaviour) as chain:
                free = _FreePort()
                section = {"url": odoo.url, "database": DATABASE, "login": "aigen-bridge", "api_key": odoo.key}
                sections = {**chain.bridge, "odoo": section, "public_url": free.url}
                settings = make_settings(database_url, **sections)
                async with serve_api(settings, port=free.port), working(settings):
                    ready.put(Bridge(free.url, chain))
                    await stop.wait()
        except BaseException as error:
            ready.put(error)
            raise

    thread = threading.Thread(target=loop.run_until_complete, args=(run(),), daemon=True)
    thread.start()
    bridge = ready.get(timeout=60)
    if isinstance(bridge, BaseException):
        raise bridge
    try:
        yield bridge
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(60)
        loop.close()
