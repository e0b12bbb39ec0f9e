"""The marks in an image that say that AI generated it."""

from aigen_bridge.domain.image_metadata import read_embedded, with_xmp
from aigen_bridge.domain.image_structure import StructureError
from aigen_bridge.domain.provenance import Mark, Origin
from aigen_bridge.domain.xmp import is_generated, marked_packet, source_types


def find_marks(content: bytes, image_format: str) -> tuple[Mark, ...]:
    """Returns the marks in an image of a format in `MEDIA_TYPES`. Finds none in bytes that violate the format.

    Nothing is validated. Takes microseconds, unless the image has many pieces or a long XMP packet.
    """
    try:
        embedded = read_embedded(content, image_format)
    except StructureError:
        return ()
    says_generated = any(map(is_generated, source_types(embedded.xmp or b"")))
    present = {Mark.C2PA: embedded.manifest > 0, Mark.DIGITAL_SOURCE_TYPE: says_generated}
    return tuple(mark for mark, is_present in present.items() if is_present)


def with_metadata(content: bytes, image_format: str, origin: Origin, software: str) -> bytes:
    """Returns the image with XMP that says that it was generated, by which model, and which software marked it.

    No pixel and no other metadata changes, but a C2PA manifest is not valid for the result. Marking the result again
    changes nothing. Requires that the image passed its checks. Raises `CannotMarkError` if the format has no room.
    """
    packet = marked_packet(read_embedded(content, image_format).xmp, origin, software)
    return with_xmp(content, image_format, packet)
