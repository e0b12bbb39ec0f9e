"""A server that sends given bytes, for tests of what a client makes of them."""

import asyncio
import gzip
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

JSON = "Content-Type: application/json\r\n"
BOMB = gzip.compress(b" " * 100 * 2**20, 9)


@asynccontextmanager
async def answering(*answers: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """A server that sends these bytes to its first, second, … caller. Yields its URL and what it was sent."""
    sent: list[bytes] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = re.search(rb"content-length: ([0-9]+)", head.lower())
        sent.append(head + await reader.readexactly(int(length[1]) if length else 0))
        with suppress(ConnectionError):  # the caller may have read enough
            writer.write(answers[min(len(sent), len(answers)) - 1])
            await writer.drain()
            writer.close()
            await writer.wait_closed()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", sent


def http(status: str, body: bytes = b"", headers: str = "") -> bytes:
    """An HTTP response."""
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{headers}\r\n".encode() + body
