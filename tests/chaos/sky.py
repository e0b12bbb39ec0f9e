"""Applies the weather: sets the faults of the simulators and the wire, and sets them again after each restart."""

import asyncio
import contextlib
from collections import Counter
from collections.abc import Iterable, Mapping

import httpx

from chaos.load_balancer import LoadBalancer
from chaos.weather import CALM, RawFault, Weather

FAULTS = "/_sim/faults"
TRIES = 3


class Sky:
    """The current weather, and the counts of faults so far."""

    def __init__(
        self, load_balancer: LoadBalancer, simulators: Mapping[str, httpx.AsyncClient], lost: Iterable[str]
    ) -> None:
        """`lost` are the requests whose executions in N8N end without a word as long as there is weather."""
        self._lost = [
            {"kind": "lose_callback", "route": "callback", "request_id": name, "times": None} for name in lost
        ]
        self._simulators = simulators
        self._load_balancer = load_balancer
        self._now: Weather | None = None
        self._taken: dict[tuple[str, int], Counter[str]] = {}
        self._incarnations: Counter[str] = Counter()

    @property
    def taken(self) -> Counter[str]:
        """Faults that occurred, by place and kind, without the last ones of a killed simulator."""
        return sum(self._taken.values(), Counter())

    async def turn(self, weather: Weather) -> None:
        """Applies new weather."""
        self._now, self._load_balancer.wire = weather, weather.wire
        await asyncio.gather(*(self._apply(name) for name in self._simulators))

    async def clear(self) -> None:
        """Removes all faults."""
        self._now, self._load_balancer.wire = None, CALM
        await asyncio.gather(*(self._apply(name) for name in self._simulators))

    async def look(self, name: str) -> None:
        """Stores the fault counts of a simulator."""
        with contextlib.suppress(httpx.HTTPError, KeyError):
            seen = await self._simulators[name].get(FAULTS, timeout=1)
            self._taken[name, self._incarnations[name]] = Counter(seen.json()["taken"])

    async def renew(self, name: str) -> None:
        """Applies the weather to a restarted simulator, which has lost it."""
        if name in self._simulators:
            self._incarnations[name] += 1
            await self._apply(name)

    async def _apply(self, name: str) -> None:
        """Sets the faults of a simulator, as far as possible. One that is down receives them after its restart."""
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
