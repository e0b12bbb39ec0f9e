"""The two kinds of N8N that a scenario can be played with."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from real_n8n import WEBHOOK, RealN8n


class RealPlayer:
    """A real N8N."""

    real = True

    def __init__(self, n8n: RealN8n) -> None:
        self._n8n = n8n
        self.url = n8n.url

    def webhook(self, variant: str) -> str:
        return self.url + WEBHOOK + ("" if variant == "v2" else f"/{variant}")

    async def kill(self) -> None:
        await asyncio.to_thread(self._n8n.kill)

    async def start(self) -> None:
        await asyncio.to_thread(self._n8n.start, WEBHOOK)


class SimulatedPlayer:
    real = False

    @classmethod
    @asynccontextmanager
    async def playing(cls, settings: Mapping[str, Any]) -> AsyncIterator["SimulatedPlayer"]:
        raise NotImplementedError
        yield
