"""Makes the weather: tells the simulators what shall go wrong, again after each of their restarts."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable

import httpx

from chaos.door import Door
from chaos.weather import CALM, RawFault, Weather

FAULTS = "/_sim/faults"
TRIES = 3


class Sky:
    """What goes wrong now, and how often what went wrong so far."""

    def __init__(self, door: Door, n8n: httpx.AsyncClient, odoo: httpx.AsyncClient, lost: Iterable[str]) -> None:
        """`lost` are the requests whose executions in N8N end without a word as long as there is weather."""
        self._lost = [
            {"kind": "lose_callback", "route": "callback", "request_id": name, "times": None} for name in lost
        ]
        self._simulators = {"n8n": n8n, "odoo": odoo}
        self._door = door
        self._now: Weather | None = None
        self._taken: dict[tuple[str, int], Counter[str]] = {}
        self._incarnations: Counter[str] = Counter()

    @property
    def taken(self) -> Counter[str]:
        """Faults that happened, by place and kind. What a killed simulator did last is not in it."""
        return sum(self._taken.values(), Counter())

    async def turn(self, weather: Weather) -> None:
        """From now on it is like this."""
        self._now, self._door.wire = weather, weather.wire
        await asyncio.gather(*(self._apply(name) for name in self._simulators))

    async def clear(self) -> None:
        """Nothing goes wrong any more."""
        self._now, self._door.wire = None, CALM
        await asyncio.gather(*(self._apply(name) for name in self._simulators))

    async def look(self, name: str) -> None:
        """Remember what happened in a simulator so far."""
        with contextlib.suppress(httpx.HTTPError, KeyError):
            seen = await self._simulators[name].get(FAULTS, timeout=1)
            self._taken[name, self._incarnations[name]] = Counter(seen.json()["taken"])

    async def renew(self, name: str) -> None:
        """A simulator was started again and knows nothing of the weather."""
        if name in self._simulators:
            self._incarnations[name] += 1
            await self._apply(name)

    async def _apply(self, name: str) -> None:
        """Best effort: one that is down hears of it when it is back."""
        await self.look(name)
        for _ in range(TRIES):
            with contextlib.suppress(httpx.HTTPError):
                await self._simulators[name].delete(FAULTS, timeout=2)
                await self._simulators[name].post(FAULTS, json=self._faults(name), timeout=2)
                return
            await asyncio.sleep(0.2)

    def _faults(self, name: str) -> list[RawFault]:
        if self._now is None:
            return []
        return [*(self._lost if name == "n8n" else ()), *getattr(self._now, name)]
