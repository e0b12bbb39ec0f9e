"""Answers of the database that anybody may ask for, at any pace: asked at most once in a while, and shared."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aigen_bridge.domain.errors import StoreUnavailableError

T = TypeVar("T")


class Fresh(Generic[T]):
    """What `ask` answers, at most `fresh` seconds old. Who asks waits at most `patience` seconds for it.

    `ask` itself is not interrupted: it ends within its own deadline, and until then everybody is told at once that
    there is no answer.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], *, fresh: float, patience: float) -> None:
        self._ask = ask
        self._fresh = fresh
        self._patience = patience
        self._asking: asyncio.Task[T] | None = None
        self._asked_at = 0.0

    async def get(self) -> T:
        """The answer. Raises what `ask` raises, and `StoreUnavailableError` when there is none in time."""
        asking, age = self._asking, time.monotonic() - self._asked_at
        if asking is None or (asking.done() and age >= self._fresh):
            asking, age = self._begin(), 0.0
        await asyncio.wait([asking], timeout=max(0.0, self._patience - age))
        if asking.done():
            return asking.result()
        raise StoreUnavailableError(f"The database did not answer within {self._patience:g} s.")

    async def close(self) -> None:
        """Stop asking."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _begin(self) -> asyncio.Task[T]:
        self._asked_at = time.monotonic()
        self._asking = asyncio.create_task(self._answer())
        self._asking.add_done_callback(_seen)
        return self._asking

    async def _answer(self) -> T:
        return await self._ask()


def _seen(task: asyncio.Task[T]) -> None:
    """Nobody may be waiting any more, and that is no bug."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
