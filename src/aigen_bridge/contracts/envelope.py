"""Finds the event and the image in the body of a callback or of N8N's report."""

import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from aigen_bridge.contracts.multipart import Part, is_multipart, split
from aigen_bridge.contracts.tolerance import repaired
from aigen_bridge.domain.dead_letter import CONTENT_TYPE, RefusedCallback
from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image import read_metadata
from aigen_bridge.domain.image_content import is_image
from aigen_bridge.domain.image_data import decode_image_data

EVENT, IMAGE = "event", "image"
INFLATED_MAX = 64 * 2**20
"""Bytes of a compressed body that are read when it is replayed."""

_ANY_HEADER = 47
"""zlib's `wbits` for gzip and zlib alike."""
_REQUEST_ID_FIELD = b'"requestId"'
_REQUEST_ID = re.compile(_REQUEST_ID_FIELD + rb'\s*:\s*"\s*([0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12})')


@dataclass(frozen=True, slots=True)
class Envelope:
    """The contents of a body.

    `event` is the JSON, None if there is none. `image` is the part of that name; without one, it is among `files`.
    `has_more`: the body holds more than event and image. `fault` says why a body is not accepted as it arrived.
    """

    event: bytes | None
    image: bytes | None = None
    files: tuple[bytes, ...] = ()
    has_more: bool = False
    fault: str | None = None


def unpack(body: bytes, content_type: str) -> Envelope:
    """Returns the contents of a body, as far as they can be found. Never raises."""
    if not is_multipart(body, content_type):
        return Envelope(body)
    parts, fault = split(body, content_type)
    if not parts:
        return Envelope(body if _looks_like_json(body) else None, fault=fault)
    return _sorted(parts, fault)


def reopen(kept: RefusedCallback) -> Envelope:
    """Returns the contents of a refused callback as they would be found now.

    A compressed body is unpacked, unless it has an event as it stands: the signature of that one was verified.
    """
    content_type = kept.headers.get(CONTENT_TYPE, "")
    envelope = unpack(kept.payload, content_type)
    if not _looks_like_json(envelope.event or b""):
        envelope = unpack(_inflated(kept.payload), content_type)
    return envelope if kept.image is None else replace(envelope, image=kept.image)


def contents(kept: RefusedCallback) -> dict[str, bytes]:
    """Returns the body of a refused callback and each image in it, by the endings of file names."""
    envelope = reopen(kept)
    images = images_in(envelope, repaired(envelope.event or b"", image_beside=False) or {})
    return {"body": kept.payload} | {
        f"image-{number}.{_ending(image)}": image for number, image in enumerate(images, start=1)
    }


def images_in(envelope: Envelope, message: Mapping[str, Any]) -> list[bytes]:
    """Returns what can be the image: beside the message, and in it."""
    images = [image for image in (envelope.image, *envelope.files) if image]
    if isinstance(data := message.get("imageData"), str):
        images.append(_from_base64(data))
    return images


def _inflated(body: bytes) -> bytes:
    """Returns the content of a body in gzip or zlib, up to `INFLATED_MAX`. Returns any other body unchanged."""
    try:
        return zlib.decompressobj(_ANY_HEADER).decompress(body, INFLATED_MAX)
    except zlib.error:
        return body


def _from_base64(text: str) -> bytes:
    """Decodes `imageData`. Returns text that is no base64 unchanged."""
    try:
        return decode_image_data(text)
    except ImageRejectedError:
        return text.encode(errors="replace")


def _ending(image: bytes) -> str:
    found = read_metadata(image)
    return found.format if found else "bin"


def declared_request_id(event: bytes) -> UUID | None:
    """Returns the `requestId` that stands in an event, even if the event cannot be parsed."""
    at = event.find(_REQUEST_ID_FIELD)
    match = _REQUEST_ID.match(event, at) if at >= 0 else None
    return UUID(match[1].decode()) if match else None


def _sorted(parts: list[Part], fault: str | None) -> Envelope:
    events = _named(parts, EVENT) or [part for part in parts if part.name != IMAGE and _looks_like_json(part.content)]
    images = _named(parts, IMAGE)
    others = [part for part in parts if part not in events and part not in images]
    for what, found in ((EVENT, events), (IMAGE, images)):
        if len(found) > 1:
            fault = fault or f"It has {len(found)} parts that can be the {what}."
    if not events:
        fault = fault or f"It has no part named '{EVENT}'."
    return Envelope(
        event=_only(events),
        image=_only(images),
        files=tuple(dict.fromkeys(part.content for part in [*(images if len(images) > 1 else ()), *_files(others)])),
        has_more=len(parts) > len(events[:1]) + len(images[:1]),
        fault=fault,
    )


def _named(parts: list[Part], name: str) -> list[Part]:
    return [part for part in parts if part.name == name]


def _only(parts: list[Part]) -> bytes | None:
    """Returns the content if all of the parts have the same."""
    contents = [part.content for part in parts]
    return contents[0] if contents and all(content == contents[0] for content in contents) else None


def _files(parts: list[Part]) -> list[Part]:
    """Returns the parts that can be the image: those that begin like one, otherwise the uploaded files."""
    pictures = [part for part in parts if is_image(part.content)]
    return pictures or [part for part in parts if _is_upload(part)]


def _is_upload(part: Part) -> bool:
    return part.is_file or part.media_type.startswith("image/") or part.media_type == "application/octet-stream"


def _looks_like_json(content: bytes) -> bool:
    return content[:64].removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")
