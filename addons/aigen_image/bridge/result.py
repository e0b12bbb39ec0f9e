"""What the bridge brings: a request's new state, and the image of a completed one, checked before it is stored."""

import base64
import binascii
import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime

from dateutil.parser import isoparse
from dateutil.tz import UTC

from .facts import read_made, read_progress, read_resent

__all__ = ["MAX_BYTES", "Image", "Result", "WrongResult", "read_image", "read_result", "read_state"]

STATUSES = frozenset({"queued", "dispatched", "received", "completed", "failed", "cancelled"})
MAX_BYTES = 32 * 2**20
"""Of an image, unless the system parameter `aigen_image.max_image_bytes` says otherwise. The bridge takes as much."""
MAX_VERSION = 2**31 - 1
MAX_TEXT = 4000
EARLIEST_YEAR = 2000
"""PostgreSQL misreads the years that Python writes with fewer than four digits; no bridge is that old."""
MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}


class WrongResult(ValueError):  # noqa: N818 - the bridge's mistake
    """A payload that is not as agreed; its text says what is wrong, for the operators of the bridge."""


@dataclass(frozen=True)
class Image:
    """An image whose bytes are what its hash says."""

    content: bytes = field(repr=False)
    format: str
    width: int
    height: int
    sha256: str

    @property
    def media_type(self):
        return MEDIA_TYPES[self.format]


@dataclass(frozen=True)
class Result:
    """How a request stands. What the bridge reports of a completed one has its `image`."""

    request_id: str
    version: int
    status: str
    error_code: str
    error_message: str
    image: Image | None = None
    replayable: bool | None = None
    """Whether the bridge can send the request again. None if the bridge is too old to say."""
    held_since: datetime | None = None
    """UTC, without a zone, as Odoo keeps it. Since when the bridge holds the request because N8N is away."""
    progress: dict | None = None
    """How far the picture is, as the AI service says: `{stage, queuePosition?, percent?}`."""
    resent: int = 0
    made: dict = field(default_factory=dict)
    """How the picture was made and what it cost, by the names of the record's fields. Empty where nothing is known."""


def read_result(payload, max_image_bytes=MAX_BYTES):
    """Return the result in the payload of `bridge_apply_result`. Raises `WrongResult`."""
    if not isinstance(payload, dict):
        raise WrongResult("The payload must be a dictionary.")
    state = read_state(payload)
    if (state.status == "completed") != bool(payload.get("image")):
        raise WrongResult("An image belongs to a completed result, and to no other.")
    return (
        replace(state, image=_sent_image(payload["image"], max_image_bytes)) if state.status == "completed" else state
    )


def read_state(payload):
    """Return the result without its image. Raises `WrongResult`."""
    request_id, version, status = (payload.get(name) for name in ("requestId", "version", "status"))
    if not isinstance(request_id, str) or not request_id:
        raise WrongResult("The payload needs a requestId.")
    if not _is_natural(version) or version > MAX_VERSION:
        raise WrongResult("The payload needs a version of 1 or more.")
    if not isinstance(status, str) or status not in STATUSES:
        raise WrongResult(f"Unknown status: {status!r}.")
    code, message = _text(payload, "errorCode"), _text(payload, "errorMessage")
    replayable = payload.get("replayable") if isinstance(payload.get("replayable"), bool) else None
    return Result(
        request_id,
        version,
        status,
        code,
        message,
        replayable=replayable,
        held_since=_held_since(payload.get("held")),
        progress=read_progress(payload.get("progress")),
        resent=read_resent(payload.get("generation")),
        made=read_made(payload),
    )


def _held_since(held):
    """Return since when N8N is away, or None: not held, held for another destination, or not as agreed."""
    if not isinstance(held, dict) or held.get("destination") != "n8n" or not isinstance(held.get("since"), str):
        return None
    try:
        since = isoparse(held["since"])
        utc = since.astimezone(UTC).replace(microsecond=0, tzinfo=None)
    except (ValueError, OverflowError):
        return None
    return utc if since.tzinfo and utc.year >= EARLIEST_YEAR else None


def _sent_image(image, max_bytes):
    if not isinstance(image, dict):
        raise WrongResult("The image must be a dictionary.")
    data = image.get("data")
    if not isinstance(data, str):
        raise WrongResult("The image's data is not base64.")
    if len(data) > max_bytes * 4 // 3 + 4:
        raise WrongResult(
            f"The image is larger than {max_bytes} bytes. The bridge keeps it. Raise Odoo's system parameter "
            "aigen_image.max_image_bytes, then replay the dead letter."
        )
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        raise WrongResult("The image's data is not base64.") from None
    return read_image(image, content)


def read_image(described, content):
    """Return the image if these bytes are what is described. Raises `WrongResult`."""
    if described.get("sha256") != hashlib.sha256(content).hexdigest():
        raise WrongResult("The image does not match its sha256.")
    if described.get("size") != len(content):
        raise WrongResult("The image does not match its size.")
    width, height, name = (described.get(key) for key in ("width", "height", "format"))
    if not _is_natural(width) or not _is_natural(height) or name not in MEDIA_TYPES:
        raise WrongResult("The image needs width, height, and a format that is png, jpeg or webp.")
    if name != _found_format(content):
        raise WrongResult(f"The image is no {name}.")
    return Image(content, name, width, height, described["sha256"])


def _found_format(content):
    """By the first bytes: a browser must never be served something else under an image's name."""
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if content.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        return "webp"
    return None


def _is_natural(number):
    return isinstance(number, int) and not isinstance(number, bool) and number > 0


def _text(payload, name):
    value = payload.get(name)
    return str(value).replace("\0", "")[:MAX_TEXT] if value else ""
