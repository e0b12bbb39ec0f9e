"""Shows what a callback in quarantine promised beside what it holds."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from aigen_bridge.contracts.envelope import images_in, reopen
from aigen_bridge.contracts.tolerance import repaired, written
from aigen_bridge.domain.dead_letter import N8N_REPORT, RefusedCallback
from aigen_bridge.domain.image import MEDIA_TYPES, ImageMetadata, normal_format, parse_sha256, read_metadata
from aigen_bridge.domain.image_content import describe
from aigen_bridge.domain.image_structure import StructureError, check_sides

TEXT_MAX = 500
"""Characters of a text in the message that are shown; base64 is longer."""
BODY_MAX = 20_000
"""Characters of the message that are shown."""
DEPTH_MAX = 50
"""Levels of the message that are shown."""
EXECUTION_URL = "execution-url"
"""The header in `RefusedCallback.headers` that links to N8N's execution. A callback may have one of the same name."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One promise about the image: what the callback says, and what the image has. None: it says nothing."""

    what: str
    promised: str | None
    found: str

    @property
    def is_kept(self) -> bool:
        """Whether the image is as promised."""
        return self.promised is None or self.promised == self.found


@dataclass(frozen=True, slots=True)
class FoundImage:
    """An image, or what was sent in its place. `number` counts from 1.

    `media_type` is what its first bytes say, None if they are those of no accepted format or of too many pixels: such
    bytes are never shown.
    """

    number: int
    size: int
    description: str
    media_type: str | None
    compared: tuple[Compared, ...]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """The contents of a callback in quarantine, for people.

    `message` is its JSON with long texts shortened, or the beginning of a body that is none. `headers` hold no secrets.
    """

    body_size: int
    message: str
    images: tuple[FoundImage, ...]
    headers: Mapping[str, str]
    execution_url: str | None
    image_url: str | None


def examine(kept: RefusedCallback) -> Quarantined:
    """Returns the contents of a callback. Works for any body; decoding a large one takes a second."""
    envelope = reopen(kept)
    message = repaired(envelope.event or b"", image_beside=False)
    result = _result(kept, message)
    images = enumerate(images_in(envelope, result), start=1)
    return Quarantined(
        body_size=len(kept.payload) + len(kept.image or b""),
        message=_shown(kept.payload if message is None else message),
        images=tuple(_examine(number, image, result) for number, image in images),
        headers={name: value for name, value in kept.headers.items() if name != EXECUTION_URL},
        execution_url=_link(kept.headers.get(EXECUTION_URL, "")),
        image_url=_text(result.get("imageUrl")),
    )


def image_of(kept: RefusedCallback, number: int) -> tuple[bytes, str] | None:
    """Returns the image with this number and its media type, or None if there is none that may be shown."""
    envelope = reopen(kept)
    result = _result(kept, repaired(envelope.event or b"", image_beside=False))
    images = images_in(envelope, result)
    if not 1 <= number <= len(images):
        return None
    media_type = _media_type(read_metadata(images[number - 1]))
    return (images[number - 1], media_type) if media_type else None


def _result(kept: RefusedCallback, message: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Returns the callback in a message. N8N's report that was refused has it inside."""
    inside = (message or {}).get("result") if kept.version == N8N_REPORT else None
    return repaired(written(inside), image_beside=False) or message or {}


def _examine(number: int, image: bytes, result: Mapping[str, Any]) -> FoundImage:
    found = read_metadata(image)
    described = f"a {found.format.upper()} image" if found else describe(image)
    return FoundImage(number, len(image), described, _media_type(found), _compare(image, found, result))


def _media_type(found: ImageMetadata | None) -> str | None:
    """Returns the media type of an image that a browser can be given."""
    if found is None:
        return None
    try:
        check_sides(found.width, found.height)
    except StructureError:
        return None
    return MEDIA_TYPES[found.format]


def _compare(image: bytes, found: ImageMetadata | None, result: Mapping[str, Any]) -> tuple[Compared, ...]:
    declared = result.get("imageMetadata")
    declared = declared if isinstance(declared, dict) else {}
    image_format, sha256 = _text(declared.get("format")), _text(result.get("hashValue"))
    return (
        Compared("Format", normal_format(image_format) if image_format else None, found.format if found else "none"),
        Compared("Size", _bytes(declared.get("size")), f"{len(image):,} bytes"),
        Compared("Width", _pixels(declared.get("width")), f"{found.width} px" if found else "none"),
        Compared("Height", _pixels(declared.get("height")), f"{found.height} px" if found else "none"),
        Compared("SHA-256", (parse_sha256(sha256) or sha256) if sha256 else None, hashlib.sha256(image).hexdigest()),
    )


def _link(address: str) -> str | None:
    return address if address.startswith(("http://", "https://")) else None


def _bytes(value: Any) -> str | None:
    return f"{value:,} bytes" if isinstance(value, int) else _text(value)


def _pixels(value: Any) -> str | None:
    return f"{value} px" if isinstance(value, int) else _text(value)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:TEXT_MAX]


def _shown(message: Mapping[str, Any] | bytes) -> str:
    if isinstance(message, bytes):
        text = message[:BODY_MAX].decode(errors="replace")
    else:
        text = json.dumps(_shortened(message), indent=2, ensure_ascii=False)
    return text if len(text) <= BODY_MAX else f"{text[:BODY_MAX]}…"


def _shortened(value: Any, depth: int = 0) -> Any:
    match value:
        case dict() | list() if depth == DEPTH_MAX:
            return "…"
        case dict():
            return {str(key)[:TEXT_MAX]: _shortened(each, depth + 1) for key, each in value.items()}
        case list():
            return [_shortened(each, depth + 1) for each in value]
        case str() if len(value) > TEXT_MAX:
            return f"{value[:60]}… ({len(value):,} characters)"
    return value
