"""Reading bodies: never more than allowed, never longer than allowed, and only what was announced."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO

from fastapi import Request

from aigen_bridge.api.errors import BodyTooLargeError, BodyTooSlowError, UnsupportedMediaTypeError


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a body may be, and how long it may take to arrive."""

    max_bytes: int
    timeout: timedelta


def media_type(request: Request) -> str:
    """What the body says it is, in lower case without parameters; JSON when it says nothing."""
    return request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()


async def read_json(request: Request, limits: Limits) -> bytes:
    """The body, which must say that it is JSON."""
    if (found := media_type(request)) != "application/json" and not found.endswith("+json"):
        raise UnsupportedMediaTypeError(found, "application/json")
    return await read_whole(request, limits)


async def read_whole(request: Request, limits: Limits) -> bytes:
    """The body, whatever it is. Raises `BodyTooLargeError` and `BodyTooSlowError`."""
    body = BytesIO()  # it grows in place, and hands out what it holds without a copy
    async with in_time(limits):
        async for piece in bounded(request, limits):
            body.write(piece)
    return body.getvalue()


@asynccontextmanager
async def in_time(limits: Limits) -> AsyncIterator[None]:
    """For reading a whole body: one timer for all its pieces. Raises `BodyTooSlowError`."""
    try:
        async with asyncio.timeout(limits.timeout.total_seconds()):
            yield
    except TimeoutError:
        raise BodyTooSlowError(limits.timeout) from None


async def bounded(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """The body in pieces. What is over the limit is not read."""
    if int(request.headers.get("content-length", 0)) > limits.max_bytes:  # the server refuses odd lengths
        raise BodyTooLargeError(limits.max_bytes)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.max_bytes:
            raise BodyTooLargeError(limits.max_bytes)
        yield piece
