"""What an image really is, and whether that is what the sender says it is (REQ-AIGS-006)."""

import base64
import binascii
import hashlib
import hmac
import re
import warnings
from dataclasses import asdict, dataclass
from io import BytesIO

from PIL import Image, UnidentifiedImageError

from aigen_bridge.domain.errors import ImageRejectedError

MEDIA_TYPES = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
"""Every format that is accepted, with its media type."""

_SPELLINGS = {"jpg": "jpeg", "image/jpg": "jpeg"} | {media: name for name, media in MEDIA_TYPES.items()}
_HEX_DIGEST = re.compile(r"[0-9a-fA-F]{64}\Z")


@dataclass(frozen=True, slots=True)
class ImageMetadata:
    """`format` as in `MEDIA_TYPES`, `size` in bytes, `width` and `height` in pixels."""

    format: str
    size: int
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StoredImage(ImageMetadata):
    """Describes an image that was checked. `sha256` is lower-case hex."""

    sha256: str


@dataclass(frozen=True, slots=True)
class CheckedImage:
    """An image whose bytes are what its hash and its metadata say."""

    content: bytes
    described: StoredImage


def normal_format(name: str) -> str:
    """`PNG`, `image/png`, `jpg` … as we write them: `png`, `jpeg`, `webp`. Others stay as they came."""
    lower = name.strip().lower()
    return _SPELLINGS.get(lower, lower)


def parse_sha256(text: str) -> str | None:
    """A SHA-256 as lower-case hex, from hex, `sha256:` and hex, or base64. None when it is none of them."""
    bare = text.strip().removeprefix("sha256:")
    if _HEX_DIGEST.match(bare):
        return bare.lower()
    try:
        digest = base64.b64decode(bare, validate=True)
    except (binascii.Error, ValueError):
        return None
    return digest.hex() if len(digest) == hashlib.sha256().digest_size else None


def read_metadata(content: bytes) -> ImageMetadata | None:
    """Format and dimensions from the content itself, no pixel decoded. None when it is no such image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(BytesIO(content), formats=[name.upper() for name in MEDIA_TYPES]) as image:
                return ImageMetadata(str(image.format).lower(), len(content), *image.size)
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def check(content: bytes, said: ImageMetadata, said_sha256: str) -> CheckedImage:
    """The image, if it is what was said of it. Raises `ImageRejectedError` naming every difference.

    CPU work of a few milliseconds a megabyte: call it off the event loop.
    """
    sha256 = hashlib.sha256(content).hexdigest()
    reasons = _compare_hash(said_sha256, sha256)
    found = read_metadata(content)
    if found is None:
        reasons.append(f"The content is not an image in one of the formats {', '.join(MEDIA_TYPES)}.")
    else:
        reasons.extend(_compare(said, found))
    if found is None or reasons:
        raise ImageRejectedError(tuple(reasons))
    return CheckedImage(content, StoredImage(**asdict(found), sha256=sha256))


def _compare_hash(said: str, sha256: str) -> list[str]:
    expected = parse_sha256(said)
    if expected is None:
        return [f"hashValue {said[:80]!r} is not a SHA-256 (64 hex digits, or base64)."]
    if not hmac.compare_digest(expected, sha256):
        return [f"hashValue says {expected}, the SHA-256 of the image is {sha256}."]
    return []


def _compare(said: ImageMetadata, found: ImageMetadata) -> list[str]:
    pairs = {
        "format": (normal_format(said.format), found.format),
        "size": (said.size, found.size),
        "width": (said.width, found.width),
        "height": (said.height, found.height),
    }
    return [
        f"imageMetadata.{field} says {claimed}, the image has {true}."
        for field, (claimed, true) in pairs.items()
        if claimed != true
    ]
