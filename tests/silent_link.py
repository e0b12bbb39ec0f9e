"""A way to PostgreSQL that can fall silent: nothing passes any more, and nobody is told."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit


class SilentLink:
    """A proxy on loopback before a server. While it is silent, it takes connections and bytes and passes nothing on."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._folder = parse_qs(parts.query).get("host", [None])[0]
        self._address = (parts.hostname or "127.0.0.1", parts.port or 5432)
        self._flows = asyncio.Event()
        self._flows.set()
        self._user, self._name = parts.username or "postgres", parts.path
        self._tasks: set[asyncio.Task[None]] = set()
        self.port = 0
        self.connections = 0
        """Made so far."""

    @property
    def url(self) -> str:
        """The database's, through this."""
        return f"postgresql://{self._user}@127.0.0.1:{self.port}{self._name}"

    def fall_silent(self) -> None:
        """From now on nothing passes, in either direction; nothing is closed."""
        self._flows.clear()

    def speak(self) -> None:
        """What was held back passes after all."""
        self._flows.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Pass on one connection in both directions."""
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        self.connections += 1
        try:
            await self._flows.wait()
            there, back = await self._open()
            await asyncio.gather(self._pass(reader, back), self._pass(there, writer))
        except (OSError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """End every connection."""
        for task in list(self._tasks):
            task.cancel()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._folder:
            return await asyncio.open_unix_connection(f"{self._folder}/.s.PGSQL.5432")
        return await asyncio.open_connection(*self._address)

    async def _pass(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                await self._flows.wait()
                sink.write(data)
                await sink.drain()
        finally:
            with contextlib.suppress(OSError):
                sink.close()


@asynccontextmanager
async def silent_link(url: str) -> AsyncIterator[SilentLink]:
    """A proxy before the database at this URL."""
    link = SilentLink(url)
    server = await asyncio.start_server(link.serve, "127.0.0.1", 0)
    link.port = server.sockets[0].getsockname()[1]
    try:
        yield link
    finally:
        server.close()
        await link.close()
