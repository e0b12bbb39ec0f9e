"""Shares a recent query result between callers, which keeps frequent calls from becoming frequent queries."""

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

from aigen_bridge.domain.errors import StoreUnavailableError

T = TypeVar("T")


class Fresh(Generic[T]):
    """Caches the result of `ask` for `fresh` seconds. A caller waits for it at most `patience` seconds.

    `ask` is not interrupted, because it has its own deadline. Once it has taken longer than `patience`, callers get the
    error at once.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]], *, fresh: float, patience: float) -> None:
        self._ask = ask
        self._fresh = fresh
        self._patience = patience
        self._asking: asyncio.Task[T] | None = None
        self._asked_at = 0.0

    async def get(self) -> T:
        """Returns the result. Raises what `ask` raises, and `StoreUnavailableError` if the result is late."""
        asking, age = self._asking, time.monotonic() - self._asked_at
        if asking is None or (asking.done() and age >= self._fresh):
            asking, age = self._begin(), 0.0
        if not asking.done():
            await asyncio.wait([asking], timeout=max(0.0, self._patience - age))
        if asking.done():
            return asking.result()
        raise StoreUnavailableError(f"The database did not answer within {self._patience:g} s.")

    def forget(self) -> None:
        """Makes the next caller ask again, unless a query is under way."""
        if self._asking is not None and self._asking.done():
            self._asking = None

    async def close(self) -> None:
        """Cancels the running query."""
        if self._asking is not None:
            self._asking.cancel()
            await asyncio.wait([self._asking])

    def _begin(self) -> asyncio.Task[T]:
        self._asked_at = time.monotonic()
        self._asking = asyncio.create_task(self._answer())
        self._asking.add_done_callback(_retrieve_exception)
        return self._asking

    async def _answer(self) -> T:
        return await self._ask()


def _retrieve_exception(task: asyncio.Task[T]) -> None:
    """Retrieves the exception, because asyncio logs one that no caller has received as a bug."""
    with contextlib.suppress(asyncio.CancelledError):
        task.exception()
