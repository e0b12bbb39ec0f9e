"""Shares a recent answer of the database between callers, so that frequent calls do not become frequent queries."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aigen_bridge.domain.errors import StoreUnavailableError

T = TypeVar("T")


class Fresh(Generic[T]):
    """The result of `ask`, at most `fresh` seconds old. A caller waits for it at most `patience` seconds.

    `ask` is not interrupted: it has a deadline of its own. Callers that come after `patience` and before that deadline
    get the error at once.
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
    """Retrieves the exception: asyncio would log it as a bug when no caller is left to receive it."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
