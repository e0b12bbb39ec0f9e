"""Batches concurrent calls: many callers share one statement and one commit, and return after that commit.

Calls that arrive while a batch is being written form the next batch. A call that arrives alone is written at once, so
batching adds no delay under light load.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

from aigen_bridge.domain.errors import StoreUnavailableError

T = TypeVar("T")
R = TypeVar("R")
Write = Callable[[Sequence[T]], Awaitable[Sequence[R]]]


class Batcher(Generic[T, R]):
    """Calls `write` with at most `limit` items at a time. `write` returns one result per item, in order.

    No caller waits longer than `timeout`, including the wait for earlier batches.
    """

    def __init__(self, write: Write[T, R], *, limit: int, timeout: timedelta) -> None:
        self._write = write
        self._limit = limit
        self._timeout = timeout
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """Returns the result for this item after its commit.

        Raises `StoreUnavailableError`; the item may have been written nevertheless.
        """
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        try:
            async with asyncio.timeout(self._timeout.total_seconds()):
                return await future
        except TimeoutError as error:
            self._waiting = [waiting for waiting in self._waiting if waiting[1] is not future]
            detail = "The database did not answer (TimeoutError)."
            reason = f"not written within {self._timeout.total_seconds():g} s, including the wait for earlier batches"
            raise StoreUnavailableError(detail, reason) from error

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                batch, self._waiting = self._waiting[: self._limit], self._waiting[self._limit :]
                await self._write_batch(batch)
        finally:
            self._writing = None

    async def _write_batch(self, batch: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in batch])
        except StoreUnavailableError as error:
            self._fail(batch, error)
        except Exception as error:  # noqa: BLE001 - raised to the callers
            if len(batch) == 1:
                self._fail(batch, error)
            else:  # an item that cannot be written must not fail the others
                for single in batch:
                    await self._write_batch([single])
        else:
            for (_, future), result in zip(batch, results, strict=True):
                if not future.done():  # its caller may have been cancelled; the write stands
                    future.set_result(result)

    @staticmethod
    def _fail(batch: list[tuple[T, asyncio.Future[R]]], error: Exception) -> None:
        for _, future in batch:
            if not future.done():
                future.set_exception(error)
