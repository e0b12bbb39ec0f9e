"""The moments in which an API process says that something is stored: the best ones to strike."""

import asyncio
import contextlib
from collections.abc import Callable

PATIENCE_SECONDS = 2.0


class Promises:
    """Hears of every answer that promises something, and lets those strike who wait for one."""

    def __init__(self) -> None:
        self._waiting: list[tuple[str | None, Callable[[], None]]] = []

    def made(self, number: int) -> None:
        """API process `number`, counted from 0, has just answered 2xx."""
        by, waiting = (None, f"api-{number + 1}"), self._waiting
        self._waiting = [(name, strike) for name, strike in waiting if name not in by]
        for name, strike in waiting:
            if name in by:
                strike()

    async def strike(self, blow: Callable[[], None], by: str | None = None) -> None:
        """Call `blow` at the next promise, of one process if it is named; without any after a while all the same."""
        struck = asyncio.Event()

        def strike() -> None:
            if not struck.is_set():
                blow()
                struck.set()

        self._waiting.append((by, strike))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(struck.wait(), PATIENCE_SECONDS)
        strike()
