"""Reads request bodies within a size limit and a deadline, and checks their media type."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO

from fastapi import Request

from aigen_bridge.api.errors import BodyTooLargeError, BodyTooSlowError, UnsupportedMediaTypeError

JSON, MULTIPART = "application/json", "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Limits:
    """The maximum size of a body, and the time it may take to arrive."""

    max_bytes: int
    timeout: timedelta


def media_type(request: Request) -> str:
    """Returns the declared media type in lower case, without parameters; JSON when none is declared."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON


async def read_json(request: Request, limits: Limits) -> bytes:
    """Reads a body that is declared as JSON. Raises `UnsupportedMediaTypeError` for any other type."""
    check_media_type(request, JSON)
    return await read_whole(request, limits)


def check_media_type(request: Request, *accepted: str) -> None:
    """Raises `UnsupportedMediaTypeError` unless the declared type is accepted. JSON includes `…+json`."""
    found = media_type(request)
    if found not in accepted and not (JSON in accepted and found.endswith("+json")):
        raise UnsupportedMediaTypeError(found, " or ".join(accepted))


async def read_whole(request: Request, limits: Limits) -> bytes:
    """Reads a body of any type. Raises `BodyTooLargeError` and `BodyTooSlowError`."""
    body = BytesIO()  # grows in place, and getvalue() does not copy
    async with in_time(limits):
        async for piece in bounded(request, limits):
            body.write(piece)
    return body.getvalue()


@asynccontextmanager
async def in_time(limits: Limits) -> AsyncIterator[None]:
    """Limits the time for a whole body with a single timer. Raises `BodyTooSlowError`."""
    try:
        async with asyncio.timeout(limits.timeout.total_seconds()):
            yield
    except TimeoutError:
        raise BodyTooSlowError(limits.timeout) from None


async def bounded(request: Request, limits: Limits) -> AsyncIterator[bytes]:
    """Yields the body in pieces. Raises `BodyTooLargeError` instead of reading past the limit."""
    if int(request.headers.get("content-length", 0)) > limits.max_bytes:  # the server has rejected malformed values
        raise BodyTooLargeError(limits.max_bytes)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.max_bytes:
            raise BodyTooLargeError(limits.max_bytes)
        yield piece
