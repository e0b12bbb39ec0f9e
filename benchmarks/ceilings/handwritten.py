"""A hand-written callback handler: receive, decode, hash, check the whole image, one binary insert, respond.

It uses plain ASGI and psycopg. The check is the bridge's own function, because the specification requires it
(REQ-AIGS-006) and nearly all of its time is spent in zlib, outside the interpreter.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pybase64
from pydantic_core import from_json

from aigen_bridge.domain.image import ImageMetadata, check

CONNECTIONS, THREADS = 4, 2
END_OF_HEADERS = b"\r\n\r\n"
_INSERT = "INSERT INTO ceiling (request_id, content) VALUES (%t, %b)"
TABLE = """
    CREATE TABLE IF NOT EXISTS ceiling (request_id uuid PRIMARY KEY, content bytea NOT NULL);
    ALTER TABLE ceiling ALTER COLUMN content SET STORAGE EXTERNAL;
"""
_threads = ThreadPoolExecutor(THREADS)
_free: asyncio.Queue[psycopg.AsyncConnection] = asyncio.Queue()


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """Responds to one call."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    if scope["method"] == "POST":
        await _take(receive, _v2 if "/v2/" in scope["path"] else _v1)
    await send({"type": "http.response.start", "status": 202, "headers": [(b"content-length", b"2")]})
    await send({"type": "http.response.body", "body": b"{}"})


async def _take(receive: Any, read: Callable[[bytes], tuple[Any, bytes]]) -> None:
    pieces, more = [], True
    while more:
        message = await receive()
        pieces.append(message["body"])
        more = message.get("more_body", False)
    async with _connection() as connection:  # at most one image per connection in memory
        request_id, content = await asyncio.get_running_loop().run_in_executor(
            _threads, _checked, read, b"".join(pieces)
        )
        await connection.execute(_INSERT, (request_id, content))


def _checked(read: Callable[[bytes], tuple[Any, bytes]], body: bytes) -> tuple[str, bytes]:
    event, content = read(body)
    metadata = event["imageMetadata"]
    check(
        content,
        ImageMetadata(metadata["format"], metadata["size"], metadata["width"], metadata["height"]),
        event["hashValue"],
    )
    return event["requestId"], content


def _v1(body: bytes) -> tuple[Any, bytes]:
    event = from_json(body)
    return event, pybase64.b64decode(event["imageData"], validate=True)


def _v2(body: bytes) -> tuple[Any, bytes]:
    """Parses the two parts that `pictures.completed_beside` writes."""
    border = b"\r\n" + body[: body.find(b"\r\n")]
    begin = body.find(END_OF_HEADERS) + len(END_OF_HEADERS)
    end = body.find(border, begin)
    image = body.find(END_OF_HEADERS, end) + len(END_OF_HEADERS)
    return from_json(body[begin:end]), body[image : body.rfind(border)]


@asynccontextmanager
async def _connection() -> AsyncIterator[psycopg.AsyncConnection]:
    connection = await _free.get()
    try:
        yield connection
    finally:
        _free.put_nowait(connection)


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    url = os.environ["CEILING_DATABASE"]
    connections = [await psycopg.AsyncConnection.connect(url, autocommit=True) for _ in range(CONNECTIONS)]
    await connections[0].execute(TABLE)
    for connection in connections:
        _free.put_nowait(connection)
    await send({"type": "lifespan.startup.complete"})
    await receive()
    for connection in connections:
        await connection.close()
    await send({"type": "lifespan.shutdown.complete"})
