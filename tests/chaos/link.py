"""The network between the bridge and PostgreSQL. It can fall silent: no connection is closed, and nothing passes.

Both sides keep their connections, and the kernel acknowledges what they send: TCP's keepalives notice nothing, only a
deadline does.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from enum import StrEnum
from pathlib import Path

CHUNK = 2**16


class After(StrEnum):
    """What becomes of the silent connections when the link passes data again."""

    RESUMED = "resumed"
    """They go on where they stopped."""
    CLOSED = "closed"
    SILENT = "silent for good"
    """Nobody ever hears of them again; only new connections work."""


class Line:
    """One connection through the link."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.passes = asyncio.Event()
        self.passes.set()
        self._writers = (client, server)

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Pass on one direction until its end, which is not passed on either while the line is silent."""
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                await self.passes.wait()
                target.write(chunk)
                await target.drain()
        await self.passes.wait()
        self.close()

    def close(self) -> None:
        """Close both sides."""
        self.passes.set()
        for writer in self._writers:
            writer.close()


class Link:
    """A proxy before PostgreSQL's socket."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()

    def fall_silent(self) -> None:
        """From now on nothing passes; who connects waits."""
        self._open.clear()
        for line in self._lines:
            line.passes.clear()

    def restore(self, after: After) -> None:
        """New connections work again."""
        for line in self._lines:
            if after is After.RESUMED:
                line.passes.set()
            elif after is After.CLOSED:
                line.close()
        if after is After.SILENT:
            self._lines.clear()
        self._open.set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one more connection to its end."""
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Give up every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await self._open.wait()
            try:
                from_server, to_server = await asyncio.open_unix_connection(self._socket)
            except OSError:  # PostgreSQL is down
                return
            with closing(to_server), self._known(Line(writer, to_server)) as line:
                await asyncio.gather(line.carry(reader, to_server), line.carry(from_server, writer))

    @contextlib.contextmanager
    def _known(self, line: Line) -> Iterator[Line]:
        self._lines.add(line)
        try:
            yield line
        finally:
            self._lines.discard(line)


@asynccontextmanager
async def linked(socket: Path, port: int) -> AsyncIterator[Link]:
    """Listen on `port` and carry every connection to PostgreSQL's socket."""
    link = Link(socket)
    server = await asyncio.start_server(link.connected, "127.0.0.1", port)
    try:
        yield link
    finally:
        server.close()
        await link.end()
