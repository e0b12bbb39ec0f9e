"""Reads request bodies within a size limit and a deadline, and checks their media type."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO

from fastapi import Request

from aigen_bridge.api.errors import (
    BodyTooLargeError,
    BodyTooSlowError,
    UnsupportedEncodingError,
    UnsupportedMediaTypeError,
)

NO_ENCODINGS = frozenset({"", "identity", "none", "utf-8", "utf8", "binary", "8bit", "aws-chunked", "base64"})
"""Values of `Content-Encoding` that do not change the bytes. Only `identity` is one; the others are common mistakes."""

JSON, MULTIPART = "application/json", "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Limits:
    """The maximum size of a body, the time it may take to arrive, and the setting of the size, if there is one."""

    max_bytes: int
    timeout: timedelta
    setting: str | None = None


def media_type(request: Request) -> str:
    """Returns the declared media type in lower case, without parameters; JSON when none is declared."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() or JSON


def check_encoding(request: Request) -> None:
    """Raises `UnsupportedEncodingError` for a compressed body. It is not unpacked: that would defeat its size limit."""
    declared = ",".join(request.headers.getlist("content-encoding")).lower().split(",")
    if used := [encoding for encoding in map(str.strip, declared) if encoding not in NO_ENCODINGS]:
        raise UnsupportedEncodingError(", ".join(used))


async def read_json(request: Request, limits: Limits) -> bytes:
    """Reads a body that is declared as JSON. Raises `UnsupportedMediaTypeError`, `UnsupportedEncodingError`."""
    check_media_type(request, JSON)
    check_encoding(request)
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
        raise BodyTooLargeError(limits.max_bytes, limits.setting)
    size = 0
    async for piece in request.stream():
        size += len(piece)
        if size > limits.max_bytes:
            raise BodyTooLargeError(limits.max_bytes, limits.setting)
        yield piece
