"""Shared by the image formats: limits, the error, and a decoder that detects missing pixels."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TypeVar

from PIL import Image

from aigen_bridge.domain.image_content import describe

MAX_PIXELS = 4096 * 4096
"""The largest image that can be requested. Decoding takes up to 16 bytes per pixel (WebP): 256 MiB at this size."""

MAX_PIECES = 2**16
"""The most chunks or segments in a file: 32 MiB in pieces of 512 bytes. Walking them takes a tenth of a second."""

PADDING = b"\0\t\n\r "
"""The bytes that may follow the end of an image: zeros of a storage block, or the end of a line."""

Piece = TypeVar("Piece")
Size = tuple[int, int]
"""Width and height in pixels."""


class StructureError(ValueError):
    """The bytes violate their format. The message continues a sentence that begins with the name of the field."""


def check_sides(width: int, height: int) -> None:
    """Refuses an image that would decode to nothing or to too many pixels, by the size in its header."""
    if width < 1 or height < 1:
        raise StructureError(f"has a side of 0 pixels ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise StructureError(f"has {width}x{height} pixels, more than the {MAX_PIXELS} that are accepted")


def bounded(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """Yields the same pieces. Raises `StructureError` if there are more than `MAX_PIECES`."""
    for number, piece in enumerate(pieces):
        if number >= MAX_PIECES:
            raise StructureError(f"has more than {MAX_PIECES} pieces")
        yield piece


def check_end(content: bytes, end: int) -> None:
    """Refuses bytes after the image: a reader of another format could find a file of its own in them.

    Padding may follow. It is common, every decoder ignores it, and it can be no file.
    """
    if behind := content[end:].strip(PADDING):
        raise StructureError(
            f"has {len(content) - end} bytes behind the end of the image, which are more than padding "
            f"({describe(behind)}): send the image without them"
        )


def decode_pixels(content: bytes, format_name: str) -> None:
    """Decodes the pixels and discards them. Requires that `check_sides` passed. Raises `StructureError`.

    A JPEG is decoded at an eighth of its size and without colour: this reads all of its bits, but needs only a 64th of
    the memory.
    """
    try:
        with Image.open(BytesIO(content), formats=[format_name]) as image:
            image.draft("L", (1, 1))
            image.load()
    except MemoryError:  # a problem of this process, not of the image
        raise
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise StructureError("has pixels that cannot be decoded: the data is cut off or corrupt") from error
