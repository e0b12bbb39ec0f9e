"""What `bridge_apply_result` accepts, checked as the addon checks it."""

import binascii
import hashlib
from dataclasses import dataclass
from typing import Any

import pybase64

from aigen_bridge.sim.odoo_rpc import validation_error

STATUSES = frozenset({"queued", "dispatched", "received", "completed", "failed", "cancelled"})


@dataclass(frozen=True)
class Result:
    """A payload that passed its checks."""

    request_id: str
    version: int
    status: str
    error_code: str | None
    error_message: str | None
    image: dict[str, Any] | None
    """`format`, `size`, `width`, `height`, `sha256`."""
    content: bytes | None


def checked(payload: Any) -> Result:
    """Check a payload. Raises an RpcFault of class ValidationError that names what is wrong."""
    if not isinstance(payload, dict):
        raise validation_error("The payload must be a dictionary.")
    request_id, version, status = (payload.get(name) for name in ("requestId", "version", "status"))
    if not isinstance(request_id, str) or not request_id:
        raise validation_error("The payload needs a requestId.")
    if not isinstance(version, int) or not _is_natural(version):
        raise validation_error("The payload needs a version of 1 or more.")
    if status not in STATUSES:
        raise validation_error(f"Unknown status: {status!r}.")
    if (status == "completed") != bool(payload.get("image")):
        raise validation_error("An image belongs to a completed result, and to no other.")
    image, content = _image(payload["image"]) if status == "completed" else (None, None)
    code, message = payload.get("errorCode") or None, payload.get("errorMessage") or None
    return Result(request_id, version, status, code, message, image, content)


def _image(image: Any) -> tuple[dict[str, Any], bytes]:
    if not isinstance(image, dict):
        raise validation_error("The image must be a dictionary.")
    try:
        content = pybase64.b64decode(image["data"], validate=True)
    except (LookupError, TypeError, ValueError, binascii.Error) as error:
        raise validation_error("The image's data is not base64.") from error
    if image.get("sha256") != hashlib.sha256(content).hexdigest():
        raise validation_error("The image does not match its sha256.")
    if image.get("size") != len(content):
        raise validation_error("The image does not match its size.")
    if not image.get("format") or not _is_natural(image.get("width")) or not _is_natural(image.get("height")):
        raise validation_error("The image needs format, width and height.")
    return {name: image[name] for name in ("format", "size", "width", "height", "sha256")}, content


def _is_natural(number: Any) -> bool:
    return isinstance(number, int) and not isinstance(number, bool) and number > 0
