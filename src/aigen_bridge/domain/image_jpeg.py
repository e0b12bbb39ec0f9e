"""JPEG: marker segments and entropy-coded scans (ITU-T T.81, annex B).

The format has no checksums: only the SHA-256 proves the content. The walk and the decoder find files that are cut off,
concatenated, or not a JPEG after the header. A scan that stops early before a valid end marker decodes to grey. The
decoder reports no error for it, so it is not detected here either.
"""

import re
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from aigen_bridge.domain.image_structure import Size, StructureError, bounded, check_end, decode_pixels

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 64
"""Encoders write about ten. Each scan makes a decoder pass over the whole image, however few bytes it has."""

_MARKER = re.compile(rb"\xff++([^\x00\xff])")  # any number of fill bytes may precede it [B.1.1.2]
_END_OF_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # not a stuffed byte, a restart marker or a fill byte
_START_OF_SCAN, _END = 0xDA, 0xD9
_RESTARTS = {*range(0xD0, 0xD8)}
_WITHOUT_LENGTH = {0x01, 0xD8, *_RESTARTS}
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_READABLE_FRAMES = {0xC0, 0xC1, 0xC2}
_METADATA = {0xFE, *range(0xE0, 0xF0)}

_LENGTH_BYTES = 2
_FRAME_BYTES, _COMPONENT_BYTES = 6, 3
_COMPONENTS = {1, 3, 4}
_PRECISION = 8


class Segment(NamedTuple):
    """A marker segment. The marker is at `begin`; its parameters are between `start` and `end`."""

    marker: int
    begin: int
    start: int
    end: int


def size(content: bytes) -> Size | None:
    """Reads width and height from the frame header. Returns None if it is not a JPEG or has no frame header."""
    if not content.startswith(SIGNATURE):
        return None
    try:
        for segment in bounded(read_segments(content)):
            if segment.marker in _FRAMES and segment.end - segment.start >= _FRAME_BYTES:
                frame = content[segment.start : segment.end]
                return int.from_bytes(frame[3:5], "big"), int.from_bytes(frame[1:3], "big")
    except StructureError:
        pass
    return None


def walk(content: bytes) -> None:
    """Checks that the file is one frame, its scans, the end marker, and nothing after it. Raises `StructureError`."""
    segments = list(bounded(read_segments(content)))
    check_end(content, segments[-1].end)
    markers = [segment.marker for segment in segments]
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(frames) != 1:
        raise StructureError(f"has {len(frames)} frames instead of one")
    _check_frame(frames[0].marker, content[frames[0].start : frames[0].end])
    scans = markers.count(_START_OF_SCAN)
    if not 0 < scans <= MAX_SCANS:
        raise StructureError(f"has {scans} scans, 1 to {MAX_SCANS} are accepted")
    if markers.index(_START_OF_SCAN) < markers.index(frames[0].marker):
        raise StructureError("has a scan before its frame")


def decode(content: bytes) -> None:
    """Checks that the scans can be decoded with their tables. Raises `StructureError`."""
    decode_pixels(_without_metadata(content), "JPEG")


def read_segments(content: bytes) -> Iterator[Segment]:
    """Yields the segments up to the end marker. Bytes between two segments are skipped, as every decoder does."""
    position = len(b"\xff\xd8")
    while True:
        found = _MARKER.search(content, position)
        if found is None:
            raise StructureError("is cut off: its end marker is missing")
        marker, begin, start = found[1][0], found.start(), found.end()
        if marker == _END or marker in _RESTARTS:
            yield Segment(marker, begin, start, start)
            position = start
            if marker == _END:
                return
            continue
        end = start + int.from_bytes(content[start : start + _LENGTH_BYTES], "big")
        if marker in _WITHOUT_LENGTH or end < start + _LENGTH_BYTES:
            raise StructureError(f"is corrupt at byte {begin}: the marker there is out of place")
        if end > len(content):
            raise StructureError(f"is cut off in its segment at byte {begin}")
        yield Segment(marker, begin, start + _LENGTH_BYTES, end)
        position = _end_of_scan(content, end) if marker == _START_OF_SCAN else end


def _end_of_scan(content: bytes, start: int) -> int:
    found = _END_OF_SCAN.search(content, start)
    if found is None:
        raise StructureError("is cut off: its end marker is missing")
    return found.start()


def _check_frame(marker: int, frame: bytes) -> None:
    """Checks that every viewer can show the frame: Huffman-coded, sequential or progressive, 8 bits [B.2.2]."""
    if marker not in _READABLE_FRAMES:
        raise StructureError(f"uses the JPEG process SOF{marker - 0xC0}, which few programs can read")
    precision, components = frame[0], frame[5]
    if components not in _COMPONENTS or len(frame) != _FRAME_BYTES + components * _COMPONENT_BYTES:
        raise StructureError(f"has a frame of {components} colour components in {len(frame)} bytes")
    if precision != _PRECISION:
        raise StructureError(f"has {precision} bits a sample, which few programs can read")


def _without_metadata(content: bytes) -> bytes:
    """Removes what changes no pixel: EXIF, profiles and comments, whose parsing is a risk, and restart markers."""
    view = memoryview(content)
    segments = list(read_segments(content))
    removed = _METADATA | _RESTARTS
    kept = [view[a.begin : b.begin] for a, b in pairwise(segments) if a.marker not in removed]
    return b"".join([b"\xff\xd8", *kept, b"\xff\xd9"])
