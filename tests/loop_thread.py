"""An event loop in another thread, for tests that block their own, as Playwright does."""

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import Any, TypeVar

SECONDS = 120
T = TypeVar("T")


class LoopThread:
    """A running event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop

    def run(self, coroutine: Coroutine[Any, Any, T], *, seconds: float = SECONDS) -> T:
        """Runs a coroutine in the loop and returns its result."""
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(seconds)

    @contextmanager
    def open(self, resource: AbstractAsyncContextManager[T]) -> Iterator[T]:
        """Keeps a resource open in the loop until the block ends."""
        opened = self.run(resource.__aenter__())
        try:
            yield opened
        finally:
            self.run(resource.__aexit__(None, None, None))


@contextmanager
def loop_thread() -> Iterator[LoopThread]:
    """Runs an event loop in another thread until the block ends."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield LoopThread(loop)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(SECONDS)
        loop.close()
