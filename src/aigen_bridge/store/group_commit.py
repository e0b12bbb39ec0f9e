"""Group commit: concurrent writes share one transaction, and each caller is answered after its commit.

While one write is on its way to the disk, those that arrive wait and form the next one. A single caller waits
for nobody, so nothing is slower when there is little to do. Nobody waits for longer than `patience`.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Generic, TypeVar

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.connection import TIMEOUT

T = TypeVar("T")
R = TypeVar("R")
Write = Callable[[Sequence[T]], Awaitable[Sequence[R]]]


class GroupCommit(Generic[T, R]):
    """Calls `write` with at most `most` items at a time; it answers one result for each item, in order."""

    def __init__(self, write: Write[T, R], *, most: int, patience: timedelta = TIMEOUT) -> None:
        self._write = write
        self._most = most
        self._patience = patience
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._writing: asyncio.Task[None] | None = None

    async def __call__(self, item: T) -> R:
        """The result for this item, after its commit. After `StoreUnavailableError` it may or may not be written."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_all())
        try:
            async with asyncio.timeout(self._patience.total_seconds()):
                return await future
        except TimeoutError as error:
            self._waiting = [one for one in self._waiting if one[1] is not future]
            detail = "The database did not answer (TimeoutError)."
            reason = f"not written within {self._patience.total_seconds():g} s, including the wait for earlier writes"
            raise StoreUnavailableError(detail, reason) from error

    async def _write_all(self) -> None:
        try:
            while self._waiting:
                group, self._waiting = self._waiting[: self._most], self._waiting[self._most :]
                await self._write_group(group)
        finally:
            self._writing = None

    async def _write_group(self, group: list[tuple[T, asyncio.Future[R]]]) -> None:
        try:
            results = await self._write([item for item, _ in group])
        except StoreUnavailableError as error:
            self._fail(group, error)
        except Exception as error:  # noqa: BLE001 - it is handed to the callers
            if len(group) == 1:
                self._fail(group, error)
            else:  # one item that cannot be written must not fail its neighbours
                for single in group:
                    await self._write_group([single])
        else:
            for (_, future), result in zip(group, results, strict=True):
                if not future.done():  # its caller may have gone away; what is written is written
                    future.set_result(result)

    @staticmethod
    def _fail(group: list[tuple[T, asyncio.Future[R]]], error: Exception) -> None:
        for _, future in group:
            if not future.done():
                future.set_exception(error)
