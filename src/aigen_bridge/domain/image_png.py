"""PNG: chunks with checksums (W3C PNG Specification, third edition; sections in brackets).

Accepted is what libpng, and so every browser, shows completely. Like libpng, this ignores checksums of chunks that are
not needed for the pixels, whatever follows the last row in the pixel data, and a missing end.

Pillow is not used: when it opens a PNG, it inflates compressed texts and colour profiles, which may be bombs.
"""

import struct
import zlib
from collections.abc import Iterator, Sequence
from itertools import groupby, takewhile
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
_INDEXED = 3
_COLOUR_BYTES, _PALETTE_MAX = 3, 256 * 3

_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
_ANIMATION = {b"acTL", b"fcTL", b"fdAT"}

_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column, first row, column step and row step of each interlace pass [8.1]."""
_LAST_FILTER = 4  # [9.2]
_DEFLATE, _ZLIB_CHECK, _ZLIB_DICTIONARY = 8, 31, 0x20  # RFC 1950, section 2.2
_EXCESS_MAX = 2**16
"""Bytes of pixel data behind the last row that are ignored, as libpng does. More is a bomb."""
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


class Chunk(NamedTuple):
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
    """Checks that the chunks needed for the pixels are complete, in order and have the right checksum.

    A file may end anywhere behind the beginning of its pixel data: `decode` detects missing pixels. Nothing but padding
    may follow the last chunk. Raises `StructureError`.
    """
    view = memoryview(content)
    chunks = []
    for chunk in bounded(read_chunks(content)):
        chunks.append(chunk)
        if chunk.end + _CHECKSUM.size > len(content):
            break
        computed = zlib.crc32(view[chunk.start - 4 : chunk.end]) if chunk.name in _CRITICAL else None
        if computed not in {None, _CHECKSUM.unpack_from(content, chunk.end)[0]}:
            raise StructureError(f"is corrupt: the checksum of its chunk at byte {chunk.start - 8} is wrong")
    _check_header(_header(content))
    _check_order([chunk.name for chunk in chunks])
    if _header(content).colour == _INDEXED:
        _check_palette(chunks)
    end = min(chunks[-1].end + _CHECKSUM.size, len(content))
    is_cut_off = chunks[-1].name != b"IEND" and len(content) - end < _PREFIX.size
    if not is_cut_off:
        check_end(content, end)


def decode(content: bytes) -> None:
    """Checks that the pixel data inflates to the rows that the header declares. Raises `StructureError`.

    Rows are counted but not unfiltered, and never all in memory: a bomb is detected soon after the last row.
    """
    header = _header(content)
    expected, row, done = header.raw_bytes(), header.row_bytes(header.width), 0
    try:
        for part in _inflated(content):
            filters = b"" if header.interlace else part[-done % row : max(expected - done, 0) : row]
            if max(filters, default=0) > _LAST_FILTER:
                raise StructureError("has pixels that cannot be decoded: a row has an unknown filter")
            done += len(part)
            if done > expected + _EXCESS_MAX:
                raise StructureError("has more pixel data than its width and height allow")
    except zlib.error as error:
        if done < expected:
            raise StructureError("has pixels that cannot be decoded: the data is corrupt") from error
    if done < expected:
        raise StructureError("is cut off: it has less pixel data than its width and height need")


def _header(content: bytes) -> _Header:
    return _Header._make(_IHDR.unpack_from(content, len(SIGNATURE) + len(_FIRST_CHUNK)))


def read_chunks(content: bytes) -> Iterator[Chunk]:
    """Yields the chunks up to the last one, which may run past the end of the content if that is cut off."""
    position, has_pixels = len(SIGNATURE), False
    while position < len(content):
        start = position + _PREFIX.size
        length, name = _PREFIX.unpack(content[position:start].ljust(_PREFIX.size, b"\0"))
        end = start + length
        has_pixels = has_pixels or name == b"IDAT"
        if end + _CHECKSUM.size > len(content) and not has_pixels:
            raise StructureError(f"is cut off in its chunk at byte {position}")
        if start > len(content):
            return
        yield Chunk(name, start, end)
        if name == b"IEND":
            return
        position = end + _CHECKSUM.size


def _check_header(header: _Header) -> None:
    if header.depth not in _DEPTHS.get(header.colour, ()):
        raise StructureError(f"has the unknown colour type {header.colour} with {header.depth} bits")
    if header.compression or header.filtering or header.interlace > 1:
        raise StructureError("has an unknown compression, filter or interlace method")


def _check_palette(chunks: Sequence[Chunk]) -> None:
    """Checks the palette of an indexed image. Elsewhere a palette is only a suggestion [11.2.2]."""
    before = takewhile(lambda chunk: chunk.name != b"IDAT", chunks)
    lengths = [chunk.end - chunk.start for chunk in before if chunk.name == b"PLTE"]
    if not lengths:
        raise StructureError("lacks its palette")
    if not 0 < lengths[0] <= _PALETTE_MAX or lengths[0] % _COLOUR_BYTES:
        raise StructureError(f"has a palette of {lengths[0]} bytes")


def _check_order(names: list[bytes]) -> None:
    """Checks that the chunks are those of one still image, and that every critical chunk [5.4] is a known one."""
    if animation := _ANIMATION.intersection(names):
        raise StructureError(f"is animated (chunk {min(animation).decode()}), only still images are accepted")
    if not all(name.isalpha() and (name in _CRITICAL or name[:1].islower()) for name in names):
        raise StructureError("has a chunk of an unknown kind that readers must understand")
    if names.count(b"IHDR") != 1 or names.count(b"PLTE") > 1:
        raise StructureError("has its header or palette twice")
    if b"IDAT" not in names:
        raise StructureError("has no pixel data")


def _pixel_data(content: bytes) -> Iterator[memoryview]:
    """Yields the content of the first consecutive pixel data chunks in pieces. libpng ignores later ones."""
    view = memoryview(content)
    for is_pixels, chunks in groupby(read_chunks(content), lambda chunk: chunk.name == b"IDAT"):
        if is_pixels:
            for chunk in chunks:
                end = min(chunk.end, len(content))
                yield from (view[at : min(at + _READ, end)] for at in range(chunk.start, end, _READ))
            return


def _inflated(content: bytes) -> Iterator[bytes]:
    """Yields the inflated pixel data in parts. Raises `zlib.error`.

    The checksum of the zlib stream is not verified: those of the chunks cover the same bytes, and libpng ignores it.
    """
    zlib_header = b""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in _pixel_data(content):
        missing = 2 - len(zlib_header)
        zlib_header += piece[:missing]
        pending: bytes | memoryview = piece[missing:]
        if missing and len(zlib_header) == 2:  # noqa: PLR2004 - the two bytes of RFC 1950
            _check_zlib_header(zlib_header)
        while pending and not inflater.eof:
            yield inflater.decompress(pending, _INFLATE)
            pending = inflater.unconsumed_tail
    yield inflater.flush()


def _check_zlib_header(header: bytes) -> None:
    method, flags = header
    if method & 0xF != _DEFLATE or (method << 8 | flags) % _ZLIB_CHECK or flags & _ZLIB_DICTIONARY:
        raise zlib.error
