"""WebP: a RIFF file of chunks (RFC 9649; sections in brackets).

The format has no checksums. Chunks declare their length, so a truncated file is detected without decoding. Data that is
missing inside a chunk is not: the last partition of a lossy image, and a lossless image as a whole, have no length of
their own. Only a decoder detects that their pixels are missing.
"""

import struct
from collections.abc import Iterator
from typing import NamedTuple

from aigen_bridge.domain.image_structure import Size, StructureError, bounded, check_end, decode_pixels

_RIFF, _WEBP = b"RIFF", b"WEBP"
_FILE_HEADER = struct.Struct("<4sI4s")
_PREFIX = struct.Struct("<4sI")
BITSTREAMS = {b"VP8 ", b"VP8L"}
_ANIMATION = {b"ANIM", b"ANMF"}
_ANIMATION_FLAG = 0x02

_EXTENDED_BYTES = 10
_LOSSY = struct.Struct("<3s3sHH")  # frame tag, start code, width, height (RFC 6386, section 9.1)
_LOSSY_START = b"\x9d\x01\x2a"
_LOSSLESS = struct.Struct("<BI")
_LOSSLESS_SIGNATURE = 0x2F
_SIDE_BITS = 14
_SIDE_MASK = (1 << _SIDE_BITS) - 1


class Chunk(NamedTuple):
    name: bytes
    start: int
    end: int


def size(content: bytes) -> Size | None:
    """Reads width and height from the first chunk. Returns None if it is not a WebP."""
    start = _FILE_HEADER.size + _PREFIX.size
    if len(content) < start or (content[:4], content[8:12]) != (_RIFF, _WEBP):
        return None
    return _size_of(content[12:16], content[start : start + _EXTENDED_BYTES])


def walk(content: bytes) -> None:
    """Checks that the chunks fill the file, and that one is a still image of the size of the canvas [2.5 to 2.7].

    libwebp refuses the same files. Raises `StructureError`.
    """
    end = _end_of_file(content)
    if end > len(content):
        raise StructureError(f"is cut off: it is {len(content)} bytes long and says {end}")
    check_end(content, end)
    chunks = list(bounded(read_chunks(content)))
    if not chunks:
        raise StructureError("is corrupt: it says that it is empty")
    names = [chunk.name for chunk in chunks]
    extended = names[0] == b"VP8X"
    if _ANIMATION.intersection(names) or (extended and content[chunks[0].start] & _ANIMATION_FLAG):
        raise StructureError("is animated, only still images are accepted")
    images = [chunk for chunk in chunks if chunk.name in BITSTREAMS]
    if len(images) != 1 or b"VP8X" in names[1:]:
        raise StructureError(f"has {len(images)} images in it instead of one")
    image = images[0]
    frame = _size_of(image.name, content[image.start : min(image.end, image.start + _EXTENDED_BYTES)])
    if frame != size(content):
        raise StructureError(f"has a canvas of {size(content)} pixels and an image of {frame} in it")


def decode(content: bytes) -> None:
    """Checks that every pixel can be decoded. Raises `StructureError`."""
    decode_pixels(content, "WEBP")


def _end_of_file(content: bytes) -> int:
    """Returns where the file ends as its header says, in bytes."""
    return int(_FILE_HEADER.unpack_from(content)[1]) + _PREFIX.size


def read_chunks(content: bytes) -> Iterator[Chunk]:
    position, file_end = _FILE_HEADER.size, min(_end_of_file(content), len(content))
    while position < file_end:
        start = position + _PREFIX.size
        if start > file_end:
            raise StructureError(f"is cut off in its chunk at byte {position}")
        name, length = _PREFIX.unpack_from(content, position)
        end = start + length
        if end + length % 2 > file_end:
            raise StructureError(f"is cut off in its chunk at byte {position}")
        yield Chunk(name, start, end)
        position = end + length % 2  # chunks begin at even offsets [2.3]


def _size_of(name: bytes, head: bytes) -> Size | None:
    """Reads width and height from the first bytes of a chunk's content. Returns None if it has none."""
    if name == b"VP8X" and len(head) >= _EXTENDED_BYTES:
        return int.from_bytes(head[4:7], "little") + 1, int.from_bytes(head[7:10], "little") + 1
    if name == b"VP8 " and len(head) >= _LOSSY.size:
        tag, start, width, height = _LOSSY.unpack_from(head)
        is_key_frame = not tag[0] & 1
        return (width & _SIDE_MASK, height & _SIDE_MASK) if is_key_frame and start == _LOSSY_START else None
    if name == b"VP8L" and len(head) >= _LOSSLESS.size:
        signature, bits = _LOSSLESS.unpack_from(head)
        sides = (bits & _SIDE_MASK) + 1, (bits >> _SIDE_BITS & _SIDE_MASK) + 1
        return sides if signature == _LOSSLESS_SIGNATURE else None
    return None
