"""Sends bytes that no HTTP client would send."""

import asyncio
from urllib.parse import urlsplit


async def raw(url: str, *pieces: bytes, seconds: float = 10) -> bytes:
    """Sends these bytes and returns the first answer, whatever the server makes of the rest."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        async with asyncio.timeout(seconds):
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            return await reader.read(65536)
    finally:
        writer.close()
