"""XMP and C2PA in a JPEG: APP1 (XMP specification, part 3) and APP11 (ISO 19566-5; C2PA, appendix A).

Only segments in front of the first scan are read: metadata belongs there. Segments of extended XMP stay as they are.
"""

import struct
from collections.abc import Iterator
from itertools import takewhile

from aigen_bridge.domain.errors import CannotMarkError
from aigen_bridge.domain.image_jpeg import Segment, read_segments
from aigen_bridge.domain.splice import Edit, spliced

_APP0, _APP1, _APP11, _START_OF_SCAN = 0xE0, 0xE1, 0xEB, 0xDA
_XMP = b"http://ns.adobe.com/xap/1.0/\0"
_EXIF = b"Exif\0"
_START_OF_IMAGE = b"\xff\xd8"
_LENGTH = struct.Struct(">H")
PACKET_MAX = 2**16 - 1 - _LENGTH.size - len(_XMP)
"""Bytes of a packet that fit into a segment."""

_JUMBF = struct.Struct(">2sHII4s")  # identifier, box instance, number of the segment; length and type of the box
_LONG_LENGTH, _LONG_LENGTH_BYTES = 1, 8
_BOX_LENGTH_BYTES, _BOX_HEADER_BYTES = 4, 8
_MANIFEST_STORE = b"jumdc2pa\x00\x11\x00\x10\x80\x00\x00\xaa\x00\x38\x9b\x71"
"""What follows the length of the description box: its type, and the UUID of a C2PA manifest store."""


def read_xmp(content: bytes) -> bytes | None:
    """Returns the first main packet."""
    found = (content[s.start + len(_XMP) : s.end] for s in _header(content) if _is_xmp(content, s))
    return next(found, None)


def manifest_size(content: bytes) -> int:
    """Returns the bytes of the manifest store over all of its segments, each of which repeats the header of the box."""
    store, size = None, 0
    for instance, start, end in _superbox_parts(content):
        if content.startswith(_MANIFEST_STORE, start + _BOX_LENGTH_BYTES):
            store, size = instance, size + _BOX_HEADER_BYTES
        if instance == store:
            size += end - start
    return size


def with_xmp(content: bytes, packet: bytes) -> bytes:
    """Replaces the packet, or puts it behind JFIF and EXIF. Raises `CannotMarkError` if it is too long."""
    if len(packet) > PACKET_MAX:
        raise CannotMarkError(f"Its XMP packet would have {len(packet)} bytes; a JPEG has room for {PACKET_MAX}.")
    body = _XMP + packet
    segment = bytes([0xFF, _APP1]) + _LENGTH.pack(_LENGTH.size + len(body)) + body
    replaced = [Edit(s.begin, s.end) for s in _header(content) if _is_xmp(content, s)] or [_behind_exif(content)]
    return spliced(content, [replaced[0]._replace(replacement=segment), *replaced[1:]])


def _behind_exif(content: bytes) -> Edit:
    leading = takewhile(lambda segment: _comes_first(content, segment), _header(content))
    at = max((segment.end for segment in leading), default=len(_START_OF_IMAGE))
    return Edit(at, at)


def _header(content: bytes) -> Iterator[Segment]:
    return takewhile(lambda segment: segment.marker != _START_OF_SCAN, read_segments(content))


def _is_xmp(content: bytes, segment: Segment) -> bool:
    return segment.marker == _APP1 and content.startswith(_XMP, segment.start, segment.end)


def _comes_first(content: bytes, segment: Segment) -> bool:
    return segment.marker == _APP0 or (segment.marker == _APP1 and content.startswith(_EXIF, segment.start))


def _superbox_parts(content: bytes) -> Iterator[tuple[int, int, int]]:
    """Yields the box instance of each segment with a part of a JUMBF superbox, and where that part is."""
    for segment in _header(content):
        if segment.marker == _APP11 and segment.end - segment.start >= _JUMBF.size:
            identifier, instance, _number, length, kind = _JUMBF.unpack_from(content, segment.start)
            if (identifier, kind) == (b"JP", b"jumb"):
                start = segment.start + _JUMBF.size + (_LONG_LENGTH_BYTES if length == _LONG_LENGTH else 0)
                yield instance, start, segment.end
