"""Reads `multipart/form-data` for version 2: an event and an image, parsed as they stream in."""

from dataclasses import dataclass, field
from io import BytesIO
from typing import TYPE_CHECKING, cast

from fastapi import Request
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from aigen_bridge.api.body import Limits, bounded, check_encoding, in_time, media_type
from aigen_bridge.api.errors import MalformedMultipartError, UnsupportedMediaTypeError

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

WANTED = ("event", "image")
PARTS_MAX = 8
"""A workflow may add unknown parts, which are skipped, up to this number."""
PART_HEADERS_MAX = 8 * 2**10
"""Bytes, for all headers of one part."""


@dataclass
class _Parts:
    """The parser's callbacks: collects the wanted parts and skips the others."""

    found: dict[str, BytesIO] = field(default_factory=dict)
    count: int = 0
    _headers: dict[bytes, bytes] = field(default_factory=dict)
    _name: bytearray = field(default_factory=bytearray)
    _value: bytearray = field(default_factory=bytearray)
    _header_bytes: int = 0
    _into: BytesIO | None = None

    def on_part_begin(self) -> None:
        self.count += 1
        if self.count > PARTS_MAX:
            raise MalformedMultipartError(f"It has more than {PARTS_MAX} parts.")
        self._headers, self._header_bytes, self._into = {}, 0, None

    def on_header_field(self, piece: bytes, start: int, end: int) -> None:
        self._collect(self._name, piece[start:end])

    def on_header_value(self, piece: bytes, start: int, end: int) -> None:
        self._collect(self._value, piece[start:end])

    def _collect(self, into: bytearray, piece: bytes) -> None:
        self._header_bytes += len(piece)
        if self._header_bytes > PART_HEADERS_MAX:
            raise MalformedMultipartError(f"The headers of a part are larger than {PART_HEADERS_MAX} bytes.")
        into += piece

    def on_header_end(self) -> None:
        self._headers[bytes(self._name).lower()] = bytes(self._value)
        self._name, self._value = bytearray(), bytearray()

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        name = options.get(b"name", b"").decode(errors="replace")
        if name in self.found:
            raise MalformedMultipartError(f"It has two parts named {name!r}.")
        if name in WANTED:
            self._into = self.found[name] = BytesIO()

    def on_part_data(self, piece: bytes, start: int, end: int) -> None:
        if self._into is not None:
            self._into.write(memoryview(piece)[start:end])

    ended: bool = False

    def on_end(self) -> None:
        self.ended = True


async def read_parts(request: Request, limits: Limits) -> tuple[bytes, bytes | None]:
    """Returns the bytes of the parts `event` and `image` (None when there is no image part).

    Raises `MalformedMultipartError`, `UnsupportedMediaTypeError`, and what `bounded` raises.
    """
    parts = _Parts()
    boundary = _boundary(request)
    try:
        parser = MultipartParser(boundary, _callbacks(parts))
        begun = False
        async with in_time(limits):
            async for piece in bounded(request, limits):
                # The parser skips leading newlines too, but then also anything up to a hyphen in the same piece.
                rest = piece if begun else piece.lstrip(b"\r\n")
                begun = begun or bool(rest)
                parser.write(rest)
        parser.finalize()
    except FormParserError as error:
        raise MalformedMultipartError(f"{error}.") from error
    if not parts.ended:
        raise MalformedMultipartError("Its end is missing.")
    if "event" not in parts.found:
        raise MalformedMultipartError("It has no part named 'event'.")
    image = parts.found.get("image")
    return parts.found["event"].getvalue(), None if image is None else image.getvalue()


def _boundary(request: Request) -> bytes:
    if (found := media_type(request)) != "multipart/form-data":
        raise UnsupportedMediaTypeError(found, "multipart/form-data")
    check_encoding(request)
    _, options = parse_options_header(request.headers["content-type"])
    if not (boundary := options.get(b"boundary")):
        raise MalformedMultipartError("The header Content-Type names no boundary.")
    return boundary


def _callbacks(parts: _Parts) -> "MultipartCallbacks":
    names = ("part_begin", "part_data", "header_field", "header_value", "header_end", "headers_finished", "end")
    return cast("MultipartCallbacks", {f"on_{name}": getattr(parts, f"on_{name}") for name in names})
