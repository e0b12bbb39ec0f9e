"""Validation of the payload of `bridge_apply_result`, as in the addon."""

import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

import pybase64

from aigen_bridge.sim.odoo_rpc import validation_error

MAX_BYTES = 32 * 2**20
"""Maximum size of a decoded image, unless the simulator's settings say otherwise."""
MAX_VERSION = 2**31 - 1
"""Largest value of Odoo's integer fields."""
STATUSES = frozenset({"queued", "dispatched", "received", "completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Result:
    """A valid payload."""

    request_id: str
    version: int
    status: str
    error_code: str | None
    error_message: str | None
    image: dict[str, Any] | None
    """`format`, `size`, `width`, `height`, `sha256`."""
    content: bytes | None
    original_sha256: str | None
    """The hash of the image before the bridge marked it, if the payload says so."""
    is_marked: bool
    """The bridge marked the image."""


def checked(payload: Any, max_image_bytes: int = MAX_BYTES) -> Result:
    """Validates a payload. Raises an `RpcFault` of class ValidationError that names the mistake."""
    if not isinstance(payload, dict):
        raise validation_error("The payload must be a dictionary.")
    request_id, version, status = (payload.get(name) for name in ("requestId", "version", "status"))
    if not isinstance(request_id, str) or not request_id:
        raise validation_error("The payload needs a requestId.")
    if not isinstance(version, int) or not _is_natural(version) or version > MAX_VERSION:
        raise validation_error("The payload needs a version of 1 or more.")
    if not isinstance(status, str) or status not in STATUSES:
        raise validation_error(f"Unknown status: {status!r}.")
    if (status == "completed") != bool(payload.get("image")):
        raise validation_error("An image belongs to a completed result, and to no other.")
    image, content = _image(payload["image"], max_image_bytes) if status == "completed" else (None, None)
    code, message = payload.get("errorCode") or None, payload.get("errorMessage") or None
    original, is_marked = _provenance(payload.get("provenance"))
    return Result(request_id, version, status, code, message, image, content, original, is_marked)


def _provenance(reported: Any) -> tuple[str | None, bool]:
    """Returns the original's hash, and whether it was marked. Drops wrong values: no picture is refused over them."""
    if not isinstance(reported, dict) or not isinstance(reported.get("found"), list):
        return None, False
    original = reported.get("originalSha256")
    return original if isinstance(original, str) else None, str(reported.get("marked")) in {"metadata", "c2pa"}


def _image(image: Any, max_bytes: int) -> tuple[dict[str, Any], bytes]:
    if not isinstance(image, dict):
        raise validation_error("The image must be a dictionary.")
    data = image.get("data")
    if not isinstance(data, str):
        raise validation_error("The image's data is not base64.")
    if len(data) > max_bytes * 4 // 3 + 4:
        raise validation_error(
            f"The image is larger than {max_bytes} bytes. The bridge keeps it. Raise Odoo's system parameter "
            "aigen_image.max_image_bytes, then replay the dead letter."
        )
    try:
        content = pybase64.b64decode(data, validate=True)
    except (ValueError, binascii.Error) as error:
        raise validation_error("The image's data is not base64.") from error
    if image.get("sha256") != hashlib.sha256(content).hexdigest():
        raise validation_error("The image does not match its sha256.")
    if image.get("size") != len(content):
        raise validation_error("The image does not match its size.")
    return _described(image, content), content


def _described(image: dict[str, Any], content: bytes) -> dict[str, Any]:
    if not _is_natural(image.get("width")) or not _is_natural(image.get("height")):
        raise validation_error("The image needs width, height, and a format that is png, jpeg or webp.")
    if image.get("format") != _found_format(content):
        raise validation_error(f"The image is no {image.get('format')}.")
    return {name: image[name] for name in ("format", "size", "width", "height", "sha256")}


def _found_format(content: bytes) -> str | None:
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    starts = {b"\x89PNG\r\n\x1a\n": "png", b"\xff\xd8\xff": "jpeg"}
    return next((name for start, name in starts.items() if content.startswith(start)), None)


def _is_natural(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0
