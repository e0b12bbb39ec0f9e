"""What an image file carries besides pixels: its XMP packet and its C2PA manifest store.

One module for each format implements this. Requires bytes that passed the checks of `domain.image`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from aigen_bridge.domain import (
    image_jpeg,
    image_metadata_jpeg,
    image_metadata_png,
    image_metadata_webp,
    image_png,
    image_webp,
)
from aigen_bridge.domain.errors import CannotMarkError
from aigen_bridge.domain.image_structure import StructureError


@dataclass(frozen=True, slots=True)
class Embedded:
    """The metadata in an image: its main XMP packet, and the size of its C2PA manifest store in bytes (0: none)."""

    xmp: bytes | None
    manifest: int


class _Format(Protocol):
    """Implemented for each format."""

    def read_xmp(self, content: bytes, /) -> bytes | None:
        """Returns the first intact XMP packet."""

    def manifest_size(self, content: bytes, /) -> int:
        """Returns the bytes of the C2PA manifest store."""

    def with_xmp(self, content: bytes, packet: bytes, /) -> bytes:
        """Replaces all XMP packets by this one. Raises `CannotMarkError` if the format has no room for it."""


_FORMATS: Mapping[str, _Format] = {
    "png": image_metadata_png,
    "jpeg": image_metadata_jpeg,
    "webp": image_metadata_webp,
}
_WALKS = {"png": image_png.walk, "jpeg": image_jpeg.walk, "webp": image_webp.walk}


def read_embedded(content: bytes, image_format: str) -> Embedded:
    """Reads the metadata of an image. Its cost does not depend on the pixels. Raises `StructureError`."""
    module = _FORMATS[image_format]
    return Embedded(module.read_xmp(content), module.manifest_size(content))


def with_xmp(content: bytes, image_format: str, packet: bytes) -> bytes:
    """Returns the image with this XMP packet in place of those that it has. Nothing else changes.

    Raises `CannotMarkError` if the format has no room for it.
    """
    marked = _FORMATS[image_format].with_xmp(content, packet)
    try:
        _WALKS[image_format](marked)
    except StructureError as error:
        raise CannotMarkError(f"With an XMP packet, the image {error}.") from error
    return marked
