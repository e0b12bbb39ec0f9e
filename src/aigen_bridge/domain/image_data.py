"""Decodes `imageData`: base64, in every spelling that loses nothing. Text of another kind is named."""

import re
from string import ascii_letters, digits

import pybase64

from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image_content import is_image

SHOWN_MAX = 40
"""Characters of a wrong text that its error quotes."""

_DATA_URI = re.compile(r"\s*+data:([^,]{0,200}),", re.IGNORECASE)
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_WHITESPACE = b"\t\n\v\f\r "
_ALLOWED = (ascii_letters + digits + "+/-_=").encode() + _WHITESPACE
_ENCODED_TWICE = re.compile(rb"\s*+(data:[^,]{0,200},)?(iVBORw0KGgo|/9j/|UklGR)", re.IGNORECASE)

_MISTAKES = (
    (r"(https?|ftp|file|blob):", "is a URL. Send it as imageUrl"),
    (
        r"(filesystem(-v2)?|database|s3|azure)(:|\Z)",
        "is N8N's reference to binary data, not the data. Read it with getBinaryDataBuffer; see docs/n8n.md",
    ),
    (
        r"\[object |(undefined|null|NaN)\Z|=?\{\{",
        "is what an expression leaves that found no data. Correct the workflow",
    ),
    (r"[{\[]", "is JSON, not base64. In a Code node, a Buffer becomes base64 by .toString('base64')"),
    (r"<", "is a page or an XML document, not base64"),
    (r"(\x89|\ufffd)PNG|\xff\xd8\xff|RIFF.{4}WEBP", "is the bytes of an image as text. Encode them as base64"),
    (r"(0x)?(89504e47|ffd8ff|52494646)[0-9a-f]{16}", "is hexadecimal. Encode the bytes as base64"),
)
_MISTAKE_PATTERNS = tuple(
    (re.compile(rf"\s*+(?:{start})", re.IGNORECASE | re.DOTALL), what) for start, what in _MISTAKES
)


def decode_image_data(text: str) -> bytes:
    """Decodes base64. Raises `ImageRejectedError`, which says what the text is instead.

    Whitespace, missing padding, the alphabet for URLs and a `data:` URI are accepted. Nothing else is skipped. Standard
    base64 is decoded without a second look, because images are large.
    """
    content = _decode_strictly(text)
    if content is not None and is_image(content):
        return content
    if mistake := next((what for start, what in _MISTAKE_PATTERNS if start.match(text)), None):
        raise _rejected(mistake)
    content = _decode_any_spelling(text) if content is None else content
    if _ENCODED_TWICE.match(content):
        raise _rejected("is encoded twice: what it decodes to is base64 again. Encode the bytes once")
    return content


def _decode_strictly(text: str) -> bytes | None:
    try:
        return pybase64.b64decode(text, validate=True)
    except ValueError:
        return None


def _decode_any_spelling(text: str) -> bytes:
    header = _DATA_URI.match(text)
    if header and not header[1].lower().rstrip().endswith(";base64"):
        raise _rejected("is a data URI whose data is not base64")
    start = header.end() if header else 0
    encoded = text[start:].encode(errors="surrogatepass")
    if wrong := encoded.translate(None, _ALLOWED).decode(errors="surrogatepass"):
        at = text.index(wrong[0], start)
        raise _rejected(f"is not base64: it has {wrong[0]!r} at position {at} and begins with {text[:SHOWN_MAX]!r}")
    bare = encoded.translate(_STANDARD_ALPHABET, _WHITESPACE).rstrip(b"=")
    try:
        return pybase64.b64decode(bare + b"=" * (-len(bare) % 4), validate=True)
    except ValueError as error:
        raise _rejected("is not base64, or is cut off: its padding is in the wrong place") from error


def _rejected(what: str) -> ImageRejectedError:
    return ImageRejectedError((f"imageData {what}.",))
