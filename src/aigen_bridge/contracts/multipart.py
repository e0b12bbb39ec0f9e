"""Splits `multipart/form-data` (RFC 7578, RFC 2046) into its parts.

Accepts what programs write beyond the standard and what cannot be misread: text before the first and after the last
part, line feeds alone, folded headers, and a part in base64 or quoted-printable.
"""

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass

import pybase64
from python_multipart.multipart import parse_options_header

PARTS_MAX = 8
"""A workflow may add unknown parts up to this number."""
PART_HEADERS_MAX = 8 * 2**10
"""Bytes, for all headers of one part."""
OPTIONS_MAX = 2**10
"""Bytes of a header whose options are read. The time that its parser takes grows with the square of the length."""
BOUNDARY_MAX = 256
LINES_MAX = 100
"""The most lines that begin like a boundary. It limits the work on a body that consists of them."""

_LINE_END = re.compile(rb"--|[ \t]*+(?:\r?\n|\Z)")
_FIRST_LINE = re.compile(rb"[\r\n]{0,64}+--([^\r\n]{1,%d})\r?\n" % BOUNDARY_MAX)
_FOLDED = re.compile(rb"\r?\n[ \t]+")


@dataclass(frozen=True, slots=True)
class Part:
    """One part. `media_type` is empty if it declares none. `is_file`: it declares a file name."""

    name: str
    media_type: str
    is_file: bool
    content: bytes


def is_multipart(body: bytes, content_type: str) -> bool:
    """Returns whether a body is declared as multipart, or begins like one."""
    declared = content_type.strip().lower().startswith("multipart/")
    return declared or _FIRST_LINE.match(body) is not None


def split(body: bytes, content_type: str) -> tuple[list[Part], str | None]:
    """Returns the parts, and what is wrong with the body, if anything.

    If the declared boundary is missing or wrong, the first line is taken as the boundary.
    """
    boundary = _declared_boundary(content_type)
    fault = None if boundary else "The header Content-Type names no usable boundary."
    chunks, end_fault = _chunks(body, boundary) if boundary else ([], None)
    if not chunks and not end_fault and (first := _FIRST_LINE.match(body)):
        fault = fault or "The boundary that Content-Type names is not in it; its first line is another one."
        chunks, end_fault = _chunks(body, first[1].rstrip())
    if not chunks and not end_fault:
        return [], fault or "The boundary that Content-Type names is not in it."
    parts = []
    for start, end, newline in chunks:
        part, part_fault = _part(body, start, end, newline)
        fault = fault or part_fault
        parts.append(part)
    if len(parts) > PARTS_MAX:
        fault = fault or f"It has more than {PARTS_MAX} parts."
    return parts, fault or end_fault


def _declared_boundary(content_type: str) -> bytes | None:
    _, options = _options(content_type.encode("latin-1", errors="replace"))
    boundary = options.get(b"boundary", b"")
    return boundary if 0 < len(boundary) <= BOUNDARY_MAX else None


def _chunks(body: bytes, boundary: bytes) -> tuple[list[tuple[int, int, bytes]], str | None]:
    """Returns start, end and line break of each part with its headers, and a fault if the last boundary is missing.

    The line break after the first boundary is the one of the whole body: an image may contain the other.
    """
    chunks: list[tuple[int, int, bytes]] = []
    start, newline = None, b"\r\n"
    for begin, end, line_end in _delimiters(body, b"--" + boundary):
        if start is None:
            newline = b"\n" if line_end.endswith(b"\n") and not line_end.endswith(b"\r\n") else newline
        elif body[begin - len(newline) : begin] != newline:
            continue
        else:
            chunks.append((start, max(start, begin - len(newline)), newline))
        if line_end == b"--":
            return chunks, None
        start = end
    if start is None:
        return [], None
    chunks.append((start, len(body), newline))
    return chunks, "Its end is missing."


def _delimiters(body: bytes, marker: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Yields begin, end and last characters of each boundary line."""
    begin = 0 if body.startswith(marker) else body.find(b"\n" + marker) + 1
    for _ in range(LINES_MAX):
        if begin == 0 and not body.startswith(marker):
            return
        line_end = _LINE_END.match(body, begin + len(marker))
        if line_end:
            yield begin, line_end.end(), line_end[0]
        found = body.find(b"\n" + marker, begin)
        if found < 0:
            return
        begin = found + 1


def _part(body: bytes, start: int, end: int, newline: bytes) -> tuple[Part, str | None]:
    head, content_start, fault = _head(body, start, end, newline)
    lines = _FOLDED.sub(b" ", head).splitlines()
    if any(b":" not in line for line in lines):
        fault = fault or "A header of a part has no colon."
    fields = [line.partition(b":") for line in lines]
    headers = {name.strip().lower(): value.strip() for name, _, value in fields}
    disposition, options = _options(headers.get(b"content-disposition", b""))
    media_type, _ = _options(headers.get(b"content-type", b""))
    part = Part(
        name=options.get(b"name", b"").decode(errors="replace").strip().lower(),
        media_type=media_type.decode(errors="replace"),
        is_file=disposition == b"attachment" or b"filename" in headers.get(b"content-disposition", b"").lower(),
        content=_decoded(body[content_start:end], headers.get(b"content-transfer-encoding", b"")),
    )
    return part, fault


def _options(header: bytes) -> tuple[bytes, dict[bytes, bytes]]:
    """Returns the value of a header in lower case, and its options."""
    return parse_options_header(header[:OPTIONS_MAX])


def _head(body: bytes, start: int, end: int, newline: bytes) -> tuple[bytes, int, str | None]:
    """Returns the headers of a part, where its content begins, and what is wrong with them."""
    if body.startswith(newline, start, end):
        return b"", start + len(newline), None
    limit = min(end, start + PART_HEADERS_MAX)
    blank = body.find(newline * 2, start, limit)
    if blank >= 0:
        return body[start:blank], blank + 2 * len(newline), None
    if limit < end:
        return b"", start, f"The headers of a part are larger than {PART_HEADERS_MAX} bytes."
    return body[start:end], end, None  # headers without content


def _decoded(content: bytes, encoding: bytes) -> bytes:
    """Decodes a `Content-Transfer-Encoding`. Returns content that only claims to be encoded unchanged."""
    match encoding.lower():
        case b"base64":
            try:
                return pybase64.b64decode(content.translate(None, b" \t\r\n"), validate=True)
            except binascii.Error:
                return content
        case b"quoted-printable":
            return binascii.a2b_qp(content)
    return content
