"""What the formats share: limits, the error, and a decoder that finds pixels cut short."""

from collections.abc import Iterable, Iterator
from io import BytesIO
from typing import TypeVar

from PIL import Image

MAX_PIXELS = 4096 * 4096
"""Largest picture that can be asked for. Decoding takes up to 16 bytes a pixel (WebP): 256 MiB at this size."""

MAX_PIECES = 2**16
"""Chunks or segments of one file: enough for 32 MiB in pieces of 512 bytes, walked in a tenth of a second."""

Piece = TypeVar("Piece")
Size = tuple[int, int]
"""Width and height in pixels."""


class StructureError(ValueError):
    """The bytes break a rule of their format. The message continues a sentence that begins with the field."""


def check_sides(width: int, height: int) -> None:
    """Refuse what would be nothing, or too much, once decoded. Reads nothing but the numbers of the header."""
    if width < 1 or height < 1:
        raise StructureError(f"has a side of 0 pixels ({width}x{height})")
    if width * height > MAX_PIXELS:
        raise StructureError(f"has {width}x{height} pixels, more than the {MAX_PIXELS} that are taken")


def bounded(pieces: Iterable[Piece]) -> Iterator[Piece]:
    """The same pieces, refused when there are more than `MAX_PIECES`."""
    for number, piece in enumerate(pieces):
        if number >= MAX_PIECES:
            raise StructureError(f"has more than {MAX_PIECES} pieces")
        yield piece


def check_end(content: bytes, end: int) -> None:
    """Refuse bytes behind the image: a reader of another format would find its own file in them."""
    if end != len(content):
        raise StructureError(f"has {len(content) - end} bytes behind the end of the image")


def decode_pixels(content: bytes, format_name: str) -> None:
    """Decode and throw the pixels away. Only for bytes whose sides were checked.

    A JPEG is decoded at an eighth of its size and without colour: all of its bits are read, a 64th of the memory
    is needed.
    """
    try:
        with Image.open(BytesIO(content), formats=[format_name]) as image:
            image.draft("L", (1, 1))
            image.load()
    except MemoryError:  # says something about us, not about the image
        raise
    except Exception as error:  # what a decoder raises on hostile bytes is no closed list
        raise StructureError("has pixels that cannot be decoded: the data is cut off or corrupt") from error
