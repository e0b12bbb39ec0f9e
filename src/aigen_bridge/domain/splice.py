"""Edits of bytes that leave everything around them as it is."""

from collections.abc import Iterable
from typing import NamedTuple


class Edit(NamedTuple):
    """The bytes from `begin` to `end` (exclusive), and what replaces them."""

    begin: int
    end: int
    replacement: bytes = b""


def spliced(content: bytes, edits: Iterable[Edit]) -> bytes:
    """Returns the content with these edits, which must not overlap."""
    view, position = memoryview(content), 0
    pieces: list[bytes | memoryview] = []
    for edit in sorted(edits):
        pieces += [view[position : edit.begin], edit.replacement]
        position = edit.end
    return b"".join([*pieces, view[position:]])
