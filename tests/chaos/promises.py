"""The moments at which an API process promises that something is stored: the best ones to strike."""

import asyncio
import contextlib
from collections.abc import Callable

PATIENCE_SECONDS = 2.0


class Promises:
    """Receives every promise of the API, and triggers the strikes that wait for one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str | None, Callable[[], None]]] = []

    def made(self, number: int) -> None:
        """Records that API process `number`, counted from 0, has just responded with 2xx."""
        by, waiting = (None, f"api-{number + 1}"), self._waiting
        self._waiting = [(name, strike) for name, strike in waiting if name not in by]
        for name, strike in waiting:
            if name in by:
                strike()

    async def strike(self, blow: Callable[[], None], by: str | None = None) -> None:
        """Calls `blow` at the next promise (of process `by`, if given), or after `PATIENCE_SECONDS` without one."""
        struck = asyncio.Event()

        def strike() -> None:
            if not struck.is_set():
                blow()
                struck.set()

        self._waiting.append((by, strike))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(struck.wait(), PATIENCE_SECONDS)
        strike()
