"""PNG: chunks with checksums (W3C PNG Specification, third edition; sections in brackets).

Pillow is not used: when it opens a PNG, it inflates compressed texts and colour profiles, which may be bombs.
"""

import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

from aigen_bridge.domain.image_structure import Size, StructureError, bounded, check_end

SIGNATURE = b"\x89PNG\r\n\x1a\n"

_PREFIX = struct.Struct(">I4s")  # length and type of a chunk [5.3]
_CHECKSUM = struct.Struct(">I")
_IHDR = struct.Struct(">IIBBBBB")
_FIRST_CHUNK = _PREFIX.pack(_IHDR.size, b"IHDR")

_DEPTHS = {0: {1, 2, 4, 8, 16}, 2: {8, 16}, 3: {1, 2, 4, 8}, 4: {8, 16}, 6: {8, 16}}
"""Colour type -> allowed bits per sample [11.2.1]."""
_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples per pixel."""
_INDEXED, _GREY = 3, {0, 4}
_COLOUR_BYTES, _PALETTE_MAX = 3, 256 * 3

_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each interlace pass [8.1]."""
_LAST_FILTER = 4  # [9.2]
_READ, _INFLATE = 2**16, 2**18  # bytes at a time, which makes memory independent of the image size


class _Header(NamedTuple):
    width: int
    height: int
    depth: int
    colour: int
    compression: int
    filtering: int
    interlace: int

    def row_bytes(self, width: int) -> int:
        """Returns the bytes of a row of `width` pixels, including its filter type."""
        return 1 + (width * self.depth * _SAMPLES[self.colour] + 7) // 8

    def raw_bytes(self) -> int:
        """Returns the size of the inflated pixel data in bytes."""
        if not self.interlace:
            return self.height * self.row_bytes(self.width)
        sizes = [
            (-(-(self.width - column) // across), -(-(self.height - row) // down))
            for column, row, across, down in _ADAM7
        ]
        return sum(rows * self.row_bytes(columns) for columns, rows in sizes if columns > 0 and rows > 0)


class _Chunk(NamedTuple):
    name: bytes
    start: int
    end: int


def size(content: bytes) -> Size | None:
    """Reads width and height from the header. Returns None if it is not a PNG."""
    start = len(SIGNATURE) + len(_FIRST_CHUNK)
    if not content.startswith(SIGNATURE + _FIRST_CHUNK) or len(content) < start + _IHDR.size:
        return None
    header = _header(content)
    return header.width, header.height


def walk(content: bytes) -> None:
    """Checks that every chunk is complete, in order and has the right checksum, and that nothing follows the last.

    Raises `StructureError`.
    """
    view = memoryview(content)
    names = []
    for chunk in bounded(_chunks(content)):
        if zlib.crc32(view[chunk.start - 4 : chunk.end]) != _CHECKSUM.unpack_from(content, chunk.end)[0]:
            raise StructureError(f"is corrupt: the checksum of its chunk at byte {chunk.start - 8} is wrong")
        if chunk.name == b"PLTE":
            _check_palette(chunk.end - chunk.start)
        names.append(chunk.name)
    if names[-1] != b"IEND":
        raise StructureError("is cut off: its last chunk is missing")
    check_end(content, chunk.end + _CHECKSUM.size)
    if chunk.end != chunk.start:
        raise StructureError("has data in the chunk that marks its end")
    _check_header(_header(content))
    _check_order(names, _header(content).colour)


def decode(content: bytes) -> None:
    """Checks that the pixel data inflates to exactly the rows that the header declares. Raises `StructureError`.

    Rows are counted but not unfiltered, and never all in memory: a bomb is detected at the first excess byte.
    """
    header = _header(content)
    expected, row, done = header.raw_bytes(), header.row_bytes(header.width), 0
    try:
        for part in _inflated(content):
            filters = b"" if header.interlace else part[-done % row :: row]
            if max(filters, default=0) > _LAST_FILTER:
                raise StructureError("has pixels that cannot be decoded: a row has an unknown filter")
            done += len(part)
            if done > expected:
                raise StructureError("has more pixel data than its width and height allow")
    except zlib.error as error:
        raise StructureError("has pixels that cannot be decoded: the data is corrupt") from error
    if done != expected:
        raise StructureError("has less pixel data than its width and height need")


def _header(content: bytes) -> _Header:
    return _Header._make(_IHDR.unpack_from(content, len(SIGNATURE) + len(_FIRST_CHUNK)))


def _chunks(content: bytes) -> Iterator[_Chunk]:
    position = len(SIGNATURE)
    while position < len(content):
        start = position + _PREFIX.size
        if start > len(content):
            raise StructureError(f"is cut off in its chunk at byte {position}")
        length, name = _PREFIX.unpack_from(content, position)
        position = start + length + _CHECKSUM.size
        if position > len(content):
            raise StructureError(f"is cut off in its chunk at byte {start - _PREFIX.size}")
        yield _Chunk(name, start, start + length)
        if name == b"IEND":
            return


def _check_header(header: _Header) -> None:
    if header.depth not in _DEPTHS.get(header.colour, ()):
        raise StructureError(f"has the unknown colour type {header.colour} with {header.depth} bits")
    if header.compression or header.filtering or header.interlace > 1:
        raise StructureError("has an unknown compression, filter or interlace method")


def _check_palette(length: int) -> None:
    if not 0 < length <= _PALETTE_MAX or length % _COLOUR_BYTES:
        raise StructureError(f"has a palette of {length} bytes")


def _check_order(names: list[bytes], colour: int) -> None:
    """Checks the order of the chunks [5.6], and that every critical chunk [5.4] is a known one."""
    if animation := _ANIMATION.intersection(names):
        raise StructureError(f"is animated (chunk {min(animation).decode()}), only still images are accepted")
    if not all(name.isalpha() and (name in _CRITICAL or name[:1].islower()) for name in names):
        raise StructureError("has a chunk of an unknown kind that readers must understand")
    if names.count(b"IHDR") != 1 or names.count(b"PLTE") > 1:
        raise StructureError("has its header or palette twice")
    if b"IDAT" not in names:
        raise StructureError("has no pixel data")
    pixels, parts = names.index(b"IDAT"), names.count(b"IDAT")
    if names[pixels : pixels + parts] != [b"IDAT"] * parts:
        raise StructureError("has pixel data in several places")
    has_palette = b"PLTE" in names[:pixels]
    if (colour == _INDEXED and not has_palette) or (b"PLTE" in names and (not has_palette or colour in _GREY)):
        raise StructureError("lacks its palette, or has one where none is allowed")


def _inflated(content: bytes) -> Iterator[bytes]:
    """Yields the inflated pixel data in parts. Raises `zlib.error`."""
    view = memoryview(content)
    inflater = zlib.decompressobj()
    for chunk in _chunks(content):
        if chunk.name != b"IDAT":
            continue
        for position in range(chunk.start, chunk.end, _READ):
            pending: bytes | memoryview = view[position : min(position + _READ, chunk.end)]
            while pending:
                yield inflater.decompress(pending, _INFLATE)
                pending = inflater.unconsumed_tail
            if inflater.unused_data:
                raise StructureError("has bytes behind the end of its pixel data")
    yield inflater.flush()
    if not inflater.eof:
        raise StructureError("has pixel data that is cut off")
