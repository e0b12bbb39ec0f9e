"""A proxy in front of PostgreSQL that can fall silent: it keeps every connection open and passes no data.

While it is silent, it still accepts connections and bytes, and the kernel acknowledges what both sides send. TCP
keepalives therefore notice nothing; only a deadline detects the silence.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing
from enum import StrEnum
from functools import partial
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

CHUNK = 2**16

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class After(StrEnum):
    """The fate of the silent connections when the link passes data again."""

    RESUMED = "resumed"
    """They continue where they stopped, and pass the data that was held back."""
    CLOSED = "closed"
    SILENT = "silent for good"
    """They never pass data again; only new connections work."""


class Line:
    """One connection through the link."""

    def __init__(self, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        self.passes = asyncio.Event()
        self.passes.set()
        self._writers = (client, server)

    async def carry(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        """Forwards one direction until its end of file. A silent line does not forward the end of file either."""
        with contextlib.suppress(OSError):
            while chunk := await source.read(CHUNK):
                await self.passes.wait()
                target.write(chunk)
                await target.drain()
        await self.passes.wait()
        self.close()

    def close(self) -> None:
        """Closes both sides."""
        self.passes.set()
        for writer in self._writers:
            writer.close()


class Link:
    """The proxy. `connect` opens a connection to the server; `connections` counts the accepted connections."""

    def __init__(self, connect: Callable[[], Awaitable[Streams]]) -> None:
        self.connections = 0
        self._connect = connect
        self._lines: set[Line] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._open = asyncio.Event()
        self._open.set()

    def fall_silent(self) -> None:
        """Stops passing data in both directions, and makes new connections wait."""
        self._open.clear()
        for line in self._lines:
            line.passes.clear()

    def restore(self, after: After) -> None:
        """Lets new connections pass data again, and treats the silent ones according to `after`."""
        for line in self._lines:
            if after is After.RESUMED:
                line.passes.set()
            elif after is After.CLOSED:
                line.close()
        if after is After.SILENT:
            self._lines.clear()
        self._open.set()

    def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carries one more connection to its end."""
        self.connections += 1
        task = asyncio.create_task(self._carry(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def end(self) -> None:
        """Closes every connection."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with closing(writer):
            await self._open.wait()
            try:
                from_server, to_server = await self._connect()
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


class SilentLink(Link):
    """A link to the database at a URL."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        folder, port = query.get("host", [None])[0], query.get("port", ["5432"])[0]
        super().__init__(
            partial(asyncio.open_unix_connection, f"{folder}/.s.PGSQL.{port}")
            if folder
            else partial(asyncio.open_connection, parts.hostname or "127.0.0.1", parts.port or 5432)
        )
        self._user, self._name = parts.username or "postgres", parts.path
        self.port = 0

    @property
    def url(self) -> str:
        """The database's URL through this link."""
        return f"postgresql://{self._user}@127.0.0.1:{self.port}{self._name}"

    def speak(self) -> None:
        """Passes data again, including the data that was held back."""
        self.restore(After.RESUMED)


@asynccontextmanager
async def linked(socket: Path, port: int) -> AsyncIterator[Link]:
    """Listens on `port` and carries every connection to PostgreSQL's Unix socket."""
    link = Link(partial(asyncio.open_unix_connection, socket))
    async with _serving(link, port):
        yield link


@asynccontextmanager
async def silent_link(url: str) -> AsyncIterator[SilentLink]:
    """Listens on a free port and carries every connection to the database at this URL."""
    link = SilentLink(url)
    async with _serving(link, 0) as link.port:
        yield link


@asynccontextmanager
async def _serving(link: Link, port: int) -> AsyncIterator[int]:
    server = await asyncio.start_server(link.connected, "127.0.0.1", port)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await link.end()
