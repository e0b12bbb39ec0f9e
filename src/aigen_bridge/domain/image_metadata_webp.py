"""XMP and C2PA in a WebP: the chunks `XMP ` (RFC 9649; sections in brackets) and `C2PA` (C2PA, appendix A)."""

import struct
from collections.abc import Sequence

from aigen_bridge.domain.image_webp import BITSTREAMS, Chunk, read_chunks, size
from aigen_bridge.domain.splice import Edit, spliced

_PREFIX = struct.Struct("<4sI")
_RIFF_SIZE = struct.Struct("<I")
_RIFF_SIZE_AT, _FIRST_CHUNK = 4, 12
_BEFORE_XMP = BITSTREAMS | {b"ALPH", b"EXIF"}
_XMP_FLAG, _ALPHA_FLAG = 0x04, 0x10
_LOSSLESS_FLAGS_AT = 4  # the byte of a lossless image whose bit `_ALPHA_FLAG` says that it has alpha [3.4]


def read_xmp(content: bytes) -> bytes | None:
    """Returns the first packet."""
    return next((content[chunk.start : chunk.end] for chunk in read_chunks(content) if chunk.name == b"XMP "), None)


def manifest_size(content: bytes) -> int:
    """Returns the bytes in the manifest chunk."""
    return sum(chunk.end - chunk.start for chunk in read_chunks(content) if chunk.name == b"C2PA")


def with_xmp(content: bytes, packet: bytes) -> bytes:
    """Puts the packet behind image and EXIF. A file in the simple format gets the header of the extended one.

    Decoders ignore an alpha chunk in the simple format, but may apply or refuse it in the extended one: it is
    removed.
    """
    chunks = list(read_chunks(content))
    removed = {b"XMP "} if chunks[0].name == b"VP8X" else {b"XMP ", b"ALPH"}
    at = max(_whole(chunk).end for chunk in chunks if chunk.name in _BEFORE_XMP - removed)
    edits = [
        _edit_of_flags(content, chunks[0]),
        Edit(at, at, _chunk(b"XMP ", packet)),
        *(_whole(chunk) for chunk in chunks if chunk.name in removed),
    ]
    return spliced(content, [_edit_of_size(content, edits), *edits])


def _edit_of_size(content: bytes, edits: Sequence[Edit]) -> Edit:
    added = sum(len(edit.replacement) - (edit.end - edit.begin) for edit in edits)
    (size_before,) = _RIFF_SIZE.unpack_from(content, _RIFF_SIZE_AT)
    return Edit(_RIFF_SIZE_AT, _RIFF_SIZE_AT + _RIFF_SIZE.size, _RIFF_SIZE.pack(size_before + added))


def _edit_of_flags(content: bytes, first: Chunk) -> Edit:
    """Sets the flag for XMP [2.7], in a new header if there is none."""
    if first.name == b"VP8X":
        return Edit(first.start, first.start + 1, bytes([content[first.start] | _XMP_FLAG]))
    alpha = content[first.start + _LOSSLESS_FLAGS_AT] & _ALPHA_FLAG if first.name == b"VP8L" else 0
    sides = b"".join((side - 1).to_bytes(3, "little") for side in size(content) or ())
    return Edit(_FIRST_CHUNK, _FIRST_CHUNK, _chunk(b"VP8X", bytes([_XMP_FLAG | alpha, 0, 0, 0]) + sides))


def _whole(chunk: Chunk) -> Edit:
    return Edit(chunk.start - _PREFIX.size, chunk.end + chunk.end % 2)


def _chunk(name: bytes, body: bytes) -> bytes:
    return _PREFIX.pack(name, len(body)) + body + bytes(len(body) % 2)
