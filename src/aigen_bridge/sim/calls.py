"""A record of the calls that a simulator received, for assertions. Keys are left out."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any

HIDDEN_HEADERS = frozenset({"authorization", "x-api-key", "cookie"})
HIDDEN = "(hidden)"


@dataclass(frozen=True, kw_only=True)
class Call:
    """One request that a simulator received."""

    number: int
    """Position since the start or the last clearing, from 0."""
    route: str
    """Short name of the endpoint: `webhook`, `generate`, `jsonrpc`, …"""
    method: str
    path: str
    at: float
    """Arrival time by the simulator's clock, in seconds since 1970."""
    headers: Mapping[str, str]
    """Names in lower case; keys are replaced by a placeholder."""
    fields: Mapping[str, Any] = field(default_factory=dict)
    """The body's JSON object, or a summary of it when the body is large or contains a key."""
    status: int | None = None
    """HTTP status of the response; None while the call is running, 0 when the connection was cut."""


class Calls:
    """The calls so far, oldest first. Supports iteration, indexing and waiting."""

    def __init__(self) -> None:
        self._calls: list[Call] = []
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        return len(self._calls)

    def __iter__(self) -> Iterator[Call]:
        return iter(list(self._calls))

    def __getitem__(self, index: int) -> Call:
        return self._calls[index]

    def to(self, route: str) -> list[Call]:
        """Returns the calls to one endpoint."""
        return [call for call in self._calls if call.route == route]

    def arrived(self, **details: Any) -> Call:
        """Records a call that has just arrived."""
        headers = {name: _redacted(name, value) for name, value in details.pop("headers").items()}
        call = Call(number=len(self._calls), headers=headers, **details)
        self._calls.append(call)
        self._notify()
        return call

    def answered(self, call: Call, status: int) -> None:
        """Records the status of a call's response. A call that was cleared in the meantime is ignored."""
        if call.number < len(self._calls) and self._calls[call.number] is call:
            self._calls[call.number] = replace(call, status=status)
            self._notify()

    async def seen(self, count: int, route: str | None = None, *, seconds: float = 10.0) -> list[Call]:
        """Waits until `count` calls (to `route`) have been answered, and returns them.

        Raises TimeoutError after `seconds`.
        """
        async with asyncio.timeout(seconds):
            while len(answered := self._answered(route)) < count:
                await self._changed.wait()
        return answered

    async def received(self, count: int, route: str | None = None, *, seconds: float = 10.0) -> Call:
        """Waits until the `count`th call (to `route`) has arrived, answered or not, and returns it.

        Raises TimeoutError after `seconds`.
        """
        async with asyncio.timeout(seconds):
            while len(arrived := [call for call in self._calls if route in (None, call.route)]) < count:
                await self._changed.wait()
        return arrived[count - 1]

    def clear(self) -> None:
        """Removes every call."""
        self._calls.clear()

    def as_json(self) -> list[dict[str, Any]]:
        """Returns the calls as JSON objects."""
        return [asdict(call) for call in self._calls]

    def _answered(self, route: str | None) -> list[Call]:
        return [call for call in self._calls if call.status is not None and route in (None, call.route)]

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()


def _redacted(name: str, value: str) -> str:
    return HIDDEN if name in HIDDEN_HEADERS else value
