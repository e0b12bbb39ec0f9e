"""Marks are found in every image that the checks accept, and written without touching anything else."""

import hashlib
import json
import shutil
import subprocess
import tracemalloc
import zlib
from datetime import UTC, datetime
from io import BytesIO
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from image_files import (
    EXIF,
    FLAVOURS,
    ICC,
    LOSSLESS,
    LOSSY,
    PICTURE,
    PIXELS,
    XMP_OF_JPEG,
    canvas,
    carrying,
    chunk,
    corrupt,
    encoded,
    jpeg_with,
    manifest_segments,
    manifest_store,
    png,
    riff,
    riff_chunks,
    segment,
    text_chunk,
)
from PIL import Image

from aigen_bridge.domain import image_jpeg, image_png, image_webp
from aigen_bridge.domain.errors import CannotMarkError, ImageRejectedError
from aigen_bridge.domain.image import check, read_metadata
from aigen_bridge.domain.image_metadata import Embedded, read_embedded
from aigen_bridge.domain.image_structure import MAX_PIECES
from aigen_bridge.domain.marks import find_marks, with_metadata
from aigen_bridge.domain.provenance import Mark, Origin
from aigen_bridge.domain.xmp import marked_packet

TERMS = "http://cv.iptc.org/newscodes/digitalsourcetype/"
ORIGIN = Origin(generated_at=datetime(2026, 8, 1, tzinfo=UTC), model="FLUX 1.1 [pro]", provider="Black Forest Labs")


def packet(properties: str) -> bytes:
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        '<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:iptc="http://iptc.org/std/Iptc4xmpExt/2008-02-29/" xmlns:xmpNote="http://ns.adobe.com/xmp/note/">'
        f"{properties}</rdf:Description></rdf:RDF></x:xmpmeta>"
    ).encode()


FORMAT_OF_TITLE = "<dc:format>kept</dc:format>"
PACKETS = {
    "other XMP": packet(FORMAT_OF_TITLE),
    "a camera's term": packet(
        f"{FORMAT_OF_TITLE}<iptc:DigitalSourceType>{TERMS}digitalCapture</iptc:DigitalSourceType>"
    ),
    "our mark": marked_packet(packet(FORMAT_OF_TITLE), ORIGIN, "aigen-bridge"),
    "malformed XMP": packet(FORMAT_OF_TITLE)[:-9],
}
METADATA: dict[str, dict[str, bytes]] = {
    "nothing": {},
    "EXIF": {"exif": EXIF},
    "ICC": {"icc": ICC},
    "a manifest": {"manifest": manifest_store()},
    **{name: {"xmp": content} for name, content in PACKETS.items()},
    "compressed XMP": {"packed": PACKETS["other XMP"]},
    "everything": {"exif": EXIF, "icc": ICC, "xmp": PACKETS["a camera's term"], "manifest": manifest_store()},
    "two packets": {"xmp": PACKETS["malformed XMP"], "exif": EXIF, "packed": PACKETS["other XMP"]},
}
IMAGES = {
    f"{flavour} with {existing}": (image_format, carrying(image_format, content, metadata))
    for (flavour, (image_format, content)), (existing, metadata) in product(FLAVOURS.items(), METADATA.items())
}
SMALL = {image_format: content for image_format, content in reversed(FLAVOURS.values())}


def mark(content: bytes, image_format: str) -> bytes:
    return with_metadata(content, image_format, ORIGIN, "aigen-bridge")


def accept(content: bytes) -> None:
    found = read_metadata(content)
    assert found is not None
    check(content, found, hashlib.sha256(content).hexdigest())


def shown(content: bytes) -> tuple[Any, ...] | None:
    """What a viewer shows: mode, pixels and colours. None if Pillow refuses the file."""
    try:
        with Image.open(BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return None
    kept = {key: image.info.get(key) for key in ("icc_profile", "exif", "transparency", "gamma", "dpi")}
    return image.mode, image.size, image.tobytes(), image.getpalette(), kept


def without_xmp(content: bytes, image_format: str) -> object:
    """Everything that the mark must not change, byte for byte."""
    if image_format == "webp":
        size = int.from_bytes(content[4:8], "little") + 8
        chunks = [(name, body) for name, body in riff_chunks(content) if name not in {b"XMP ", b"VP8X"}]
        return chunks, content[size:], riff_chunks(content)[0][1][1:] if content[12:16] == b"VP8X" else None
    spans = []
    if image_format == "png":
        for c in image_png.read_chunks(content):
            if content[c.start - 4 : c.start + 18] == b"iTXtXML:com.adobe.xmp\0":
                spans.append((c.start - 8, c.end + 4))
    else:
        for s in image_jpeg.read_segments(content):
            if s.marker == 0xE1 and content[s.start : s.end].startswith(XMP_OF_JPEG):
                spans.append((s.begin, s.end))
    for begin, end in reversed(spans):
        content = content[:begin] + content[end:]
    return content


@pytest.mark.parametrize(("image_format", "content"), IMAGES.values(), ids=IMAGES)
def test_a_mark_changes_no_pixel_and_no_other_part_of_an_image(image_format: str, content: bytes) -> None:
    accept(content)
    marked = mark(content, image_format)
    accept(marked)
    assert shown(marked) == shown(content)
    before, after = without_xmp(content, image_format), without_xmp(marked, image_format)
    if image_format == "webp" and content[12:16] != b"VP8X":
        before, after = before[:2], after[:2]  # type: ignore[index]
    assert after == before


@pytest.mark.parametrize(("image_format", "content"), IMAGES.values(), ids=IMAGES)
def test_a_mark_is_found_and_marking_again_changes_nothing(image_format: str, content: bytes) -> None:
    marked = mark(content, image_format)
    had_manifest = read_embedded(content, image_format).manifest > 0
    assert find_marks(marked, image_format) == ((Mark.C2PA,) if had_manifest else ()) + (Mark.DIGITAL_SOURCE_TYPE,)
    assert mark(marked, image_format) == marked


@pytest.mark.skipif(not shutil.which("exiftool"), reason="exiftool (Debian: libimage-exiftool-perl) is not installed")
def test_exiftool_reads_the_mark_and_what_was_there_before(tmp_path: Path) -> None:
    names = [name for name, (_, content) in IMAGES.items() if shown(content)]
    for number, name in enumerate(names):
        image_format, content = IMAGES[name]
        (tmp_path / f"{number}.{image_format}").write_bytes(mark(content, image_format))
    command = ["exiftool", "-j", "-n", "-G1", "-r", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=False, timeout=60)
    read = {int(Path(tags["SourceFile"]).stem): tags for tags in json.loads(done.stdout)}
    for number, name in enumerate(names):
        tags = read[number]
        assert tags["XMP-iptcExt:DigitalSourceType"] == TERMS + "trainedAlgorithmicMedia", name
        assert tags["XMP-xmp:CreatorTool"] == "aigen-bridge", name
        assert tags["XMP-iptcExt:AISystemUsed"] == "FLUX 1.1 [pro]", name
        keeps_title = name.endswith(("other XMP", "term", "mark", "compressed XMP", "everything"))
        assert tags.get("XMP-dc:Format") == ("kept" if keeps_title else None), name
        has_exif = name.endswith(("with EXIF", "everything", "two packets"))
        assert not has_exif or tags["IFD0:Artist"] == "Somebody", name
        assert not name.endswith(("ICC", "everything")) or "ICC_Profile:ProfileDescription" in tags, name
