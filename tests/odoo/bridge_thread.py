"""A bridge that runs in a thread of its own, between the real Odoo and the simulated N8N."""

from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any

from aigen_bridge.sim.chain import Chain, simulators
from loop_thread import loop_thread
from ports import free_port
from real_odoo import RealOdoo
from stage import KEYS, make_settings, serve_api, working


@dataclass(frozen=True)
class Bridge:
    """A bridge that runs, and the simulators behind it."""

    url: str
    chain: Chain


@contextmanager
def running_bridge(
    database_url: str, odoo: RealOdoo, *, settings: Mapping[str, Any] | None = None, **behaviour: Any
) -> Iterator[Bridge]:
    """Runs API, worker, N8N and Flux. `settings` are sections of the bridge's; that of `n8n` is added to the usual."""
    with loop_thread() as loop, loop.open(_bridge(database_url, odoo, settings or {}, behaviour)) as bridge:
        yield bridge


@asynccontextmanager
async def _bridge(
    database_url: str, odoo: RealOdoo, given: Mapping[str, Any], behaviour: dict[str, Any]
) -> AsyncIterator[Bridge]:
    async with simulators(callback_key=KEYS["n8n"], **behaviour) as chain:
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        n8n = chain.bridge["n8n"] | given.get("n8n", {})
        sections = {**given, "n8n": n8n, "odoo": odoo.connection, "public_url": url}
        settings = make_settings(database_url, **sections)
        async with serve_api(settings, port=port), working(settings):
            yield Bridge(url, chain)
