"""Names what bytes are, for messages about bytes that are not an accepted image."""

import codecs
import re

HEAD_MAX = 1024
"""Bytes that are looked at."""

_TEXT_TYPES = ("text/", "application/json", "application/problem+json", "application/xhtml+xml", "application/xml")
"""Beginnings of the media types of a page or a message that came in the place of an image."""

_STARTS = {
    b"\x89PNG\r\n\x1a\n": "a PNG whose header is damaged or cut off",
    b"\xff\xd8\xff": "a JPEG whose header is damaged or cut off",
    b"GIF8": "a GIF image",
    b"BM": "a BMP image",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"\0\0\1\0": "an icon (ICO)",
    b"\xff\x0a": "a JPEG XL image",
    b"\0\0\0\x0cJXL ": "a JPEG XL image",
    b"\0\0\0\x0cjP  ": "a JPEG 2000 image",
    b"%PDF": "a PDF document",
    b"PK\3\4": "a ZIP archive",
    b"\x1f\x8b": "data compressed with gzip",
    b"\x28\xb5\x2f\xfd": "data compressed with zstd",
}
_BRANDS = {b"avif": "an AVIF image", b"avis": "an AVIF image", b"heic": "a HEIC image", b"mif1": "a HEIC image"}
_TEXTS = (
    (re.compile(rb"(?=<)(?=.*<(!doctype html|html|head|body)\b)", re.IGNORECASE | re.DOTALL), "an HTML page"),
    (re.compile(rb"(?=<)(?=.*<svg\b)", re.IGNORECASE | re.DOTALL), "an SVG drawing"),
    (re.compile(rb"<"), "an XML document"),
    (re.compile(rb"[{\[]"), "JSON"),
    (re.compile(rb"data:[^,\s]*,", re.IGNORECASE), "a data URI, as text"),
    (re.compile(rb"https?://", re.IGNORECASE), "a URL, as text"),
    (re.compile(rb"[0-9a-f]+;chunk-signature=", re.IGNORECASE), "a body with the framing of aws-chunked still in it"),
    (re.compile(rb"--[^\r\n]+\r?\ncontent-", re.IGNORECASE), "a multipart body"),
    (re.compile(rb"(iVBORw0KGgo|/9j/|UklGR)"), "the base64 text of an image"),
)


def describe(content: bytes) -> str:
    """Returns what the bytes are, as a noun with its article. Never quotes them: they may contain credentials."""
    if not content:
        return "empty"
    if name := _binary(content):
        return name
    text = content[:HEAD_MAX].removeprefix(codecs.BOM_UTF8).lstrip()
    if name := next((name for start, name in _TEXTS if start.match(text)), None):
        return name
    return "text" if is_text(content) else "of an unknown kind"


def is_image(content: bytes) -> bool:
    """Returns whether the bytes begin like an image of an accepted format."""
    return content.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")) or _is_webp(content)


def is_text(content: bytes) -> bool:
    """Returns whether the bytes are a text, such as a page or JSON, by their beginning."""
    head = content[:HEAD_MAX]
    if not head.strip() or _binary(head):
        return False
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or head.lstrip().startswith(b"<"):
        return True
    text = codecs.getincrementaldecoder("utf-8-sig")(errors="strict")
    try:
        return all(character.isprintable() or character.isspace() for character in text.decode(head))
    except UnicodeDecodeError:
        return False


def is_text_type(media_type: str) -> bool:
    """Returns whether a media type, in lower case, is that of a page or a message."""
    return media_type.startswith(_TEXT_TYPES)


def _binary(content: bytes) -> str | None:
    if _is_webp(content):
        return "a WebP whose header is damaged or cut off"
    if content[4:8] == b"ftyp":
        return _BRANDS.get(content[8:12], "a video (MP4), or an image in such a container")
    return next((name for start, name in _STARTS.items() if content.startswith(start)), None)


def _is_webp(content: bytes) -> bool:
    return (content[:4], content[8:12]) == (b"RIFF", b"WEBP")
