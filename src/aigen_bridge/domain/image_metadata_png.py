"""XMP and C2PA in a PNG: a text chunk (XMP specification, part 3) and the chunk `caBX` (C2PA, appendix A)."""

import struct
import zlib
from itertools import islice

from aigen_bridge.domain.image_png import Chunk, read_chunks
from aigen_bridge.domain.splice import Edit, spliced
from aigen_bridge.domain.xmp import PACKET_MAX

_PREFIX_BYTES, _CHECKSUM_BYTES = 8, 4
_KEYWORD = b"XML:com.adobe.xmp\0"
_HEAD = _KEYWORD + bytes(4)  # not compressed, no language, no translated keyword
_FLAGS_BYTES = 2
PACKETS_TRIED = 4
"""A file has one packet. Each that is tried may inflate to `PACKET_MAX`, and thousands of those take a minute."""


def read_xmp(content: bytes) -> bytes | None:
    """Returns the first packet that can be read, among the first `PACKETS_TRIED`.

    Like libpng, this ignores a text with a wrong checksum.
    """
    chunks = islice((chunk for chunk in read_chunks(content) if _is_xmp(content, chunk)), PACKETS_TRIED)
    packets = (_packet(content, chunk) for chunk in chunks)
    return next((packet for packet in packets if packet is not None), None)


def manifest_size(content: bytes) -> int:
    """Returns the bytes in the manifest chunk."""
    return sum(min(chunk.end, len(content)) - chunk.start for chunk in read_chunks(content) if chunk.name == b"caBX")


def with_xmp(content: bytes, packet: bytes) -> bytes:
    """Puts the packet behind the header, in front of everything that a file may lack."""
    chunks = list(read_chunks(content))
    removed = [_whole(chunk) for chunk in chunks if _is_xmp(content, chunk)]
    behind_header = _whole(chunks[0]).end
    return spliced(content, [Edit(behind_header, behind_header, _chunk(b"iTXt", _HEAD + packet)), *removed])


def with_end(content: bytes) -> bytes:
    """Adds the end that a PNG may lack. Viewers do without it, but other programs need it.

    Pixel data that is cut off gets its length and its checksum; another chunk that is cut off is dropped.
    """
    *_, last = read_chunks(content)
    if _whole(last).end <= len(content):
        return content if last.name == b"IEND" else content[: _whole(last).end] + _chunk(b"IEND", b"")
    pixels = _chunk(b"IDAT", content[last.start :]) if last.name == b"IDAT" else b""
    return content[: last.start - _PREFIX_BYTES] + pixels + _chunk(b"IEND", b"")


def _is_xmp(content: bytes, chunk: Chunk) -> bool:
    return chunk.name == b"iTXt" and content.startswith(_KEYWORD, chunk.start)


def _whole(chunk: Chunk) -> Edit:
    return Edit(chunk.start - _PREFIX_BYTES, chunk.end + _CHECKSUM_BYTES)


def _packet(content: bytes, chunk: Chunk) -> bytes | None:
    body = content[chunk.start : chunk.end]
    if content[chunk.end : chunk.end + _CHECKSUM_BYTES] != _checksum(b"iTXt" + body):
        return None
    is_compressed = body[len(_KEYWORD) : len(_KEYWORD) + 1] != b"\0"
    _language, _, rest = body[len(_KEYWORD) + _FLAGS_BYTES :].partition(b"\0")
    _translated, _, text = rest.partition(b"\0")
    return _inflated(text) if is_compressed else text


def _inflated(text: bytes) -> bytes | None:
    """Returns None if the text is corrupt or a bomb."""
    inflater = zlib.decompressobj()
    try:
        packet = inflater.decompress(text, PACKET_MAX)
    except zlib.error:
        return None
    return packet if inflater.eof else None


def _chunk(name: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + name + body + _checksum(name + body)


def _checksum(named: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(named))
