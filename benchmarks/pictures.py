"""Images of a given size, and callbacks that contain them."""

import hashlib
import json
import os
import zlib
from dataclasses import dataclass
from typing import Any

import pybase64

from aigen_bridge.contracts.examples import CORRELATION_ID
from benchmarks.wrk import ID

BOUNDARY = "benchmark-boundary"


@dataclass(frozen=True, slots=True)
class Picture:
    """A PNG with its width and height."""

    content: bytes
    width: int
    height: int


def noise(megabytes: float) -> Picture:
    """Returns an incompressible PNG of about this size: the worst case for a row in PostgreSQL."""
    width, height = 1000, int(megabytes * 1e6 / 3001) + 1
    rows = b"".join(b"\0" + os.urandom(width * 3) for _ in range(height))
    header = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    chunks = _chunk(b"IHDR", header) + _chunk(b"IDAT", zlib.compress(rows, 0)) + _chunk(b"IEND", b"")
    return Picture(b"\x89PNG\r\n\x1a\n" + chunks, width, height)


def _chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4) + kind + body + zlib.crc32(kind + body).to_bytes(4)


def failed() -> bytes:
    """Returns EVT-AIG-003, with `@ID@`."""
    failure = {"status": "failed", "errorCode": "content_policy", "errorMessage": "The prompt was flagged."}
    return json.dumps(_ids() | failure).encode()


def completed(picture: Picture) -> bytes:
    """Returns EVT-AIG-002 of version 1, with `@ID@`."""
    return json.dumps(_described(picture) | {"imageData": pybase64.b64encode(picture.content).decode()}).encode()


def completed_beside(picture: Picture) -> bytes:
    """Returns EVT-AIG-002 of version 2: a form with two parts, with `@ID@`."""
    event = json.dumps(_described(picture)).encode()
    start = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="event"\r\n\r\n'.encode()
    between = f'\r\n--{BOUNDARY}\r\nContent-Disposition: form-data; name="image"; filename="i.png"\r\n\r\n'.encode()
    return start + event + between + picture.content + f"\r\n--{BOUNDARY}--\r\n".encode()


def _ids() -> dict[str, Any]:
    return {"requestId": ID.decode(), "correlationId": CORRELATION_ID}


def _described(picture: Picture) -> dict[str, Any]:
    sides = {"width": picture.width, "height": picture.height}
    return _ids() | {
        "status": "completed",
        "imageMetadata": {"format": "png", "size": len(picture.content)} | sides,
        "hashValue": hashlib.sha256(picture.content).hexdigest(),
    }
