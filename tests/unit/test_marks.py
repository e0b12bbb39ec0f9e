"""Marks are found in every image that the checks accept, and written without touching anything else."""

import json
import shutil
import subprocess
import tracemalloc
import zlib
from datetime import UTC, datetime
from io import BytesIO
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aigen_bridge.domain import image_jpeg, image_png
from aigen_bridge.domain.errors import CannotMarkError, ImageRejectedError
from aigen_bridge.domain.image import read_metadata
from aigen_bridge.domain.image_metadata import Embedded, read_embedded
from aigen_bridge.domain.image_metadata_png import PACKETS_TRIED
from aigen_bridge.domain.image_structure import MAX_PIECES
from aigen_bridge.domain.marks import find_marks, with_metadata
from aigen_bridge.domain.provenance import Mark, Origin
from aigen_bridge.domain.xmp import PACKET_MAX, marked_packet
from image_files import (
    EXIF,
    FLAVOURS,
    ICC,
    LOSSLESS,
    LOSSY,
    PIXELS,
    XMP_OF_JPEG,
    accept,
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
    shown,
    text_chunk,
)

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
SMALL = dict(reversed(FLAVOURS.values()))


def mark(content: bytes, image_format: str) -> bytes:
    return with_metadata(content, image_format, ORIGIN, "aigen-bridge")


def without_xmp(content: bytes, image_format: str) -> object:
    """Everything that the mark must not change, byte for byte."""
    if image_format == "webp":
        size = int.from_bytes(content[4:8], "little") + 8
        is_extended = content[12:16] == b"VP8X"
        ours = {b"XMP ", b"VP8X"} if is_extended else {b"XMP ", b"ALPH"}
        chunks = [(name, body) for name, body in riff_chunks(content) if name not in ours]
        return chunks, content[size:], riff_chunks(content)[0][1][1:] if is_extended else None
    if image_format == "png":
        pieces = [(c.start - 8, c.start, c.end + 4) for c in image_png.read_chunks(content)]
    else:
        pieces = [(s.begin, s.start, s.end) for s in image_jpeg.read_segments(content)]
    packets = (b"XML:com.adobe.xmp\0", XMP_OF_JPEG)
    spans = [(begin, end) for begin, start, end in pieces if content.startswith(packets, start)]
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


@pytest.mark.parametrize(("image_format", "content"), FLAVOURS.values(), ids=FLAVOURS)
def test_pillow_reads_the_packet(image_format: str, content: bytes) -> None:
    marked = mark(content, image_format)
    if shown(content):
        with Image.open(BytesIO(marked)) as image:
            image.load()
            assert image.info["xmp"] == read_embedded(marked, image_format).xmp


def test_the_packet_of_a_jpeg_is_behind_its_exif() -> None:
    marked = mark(carrying("jpeg", SMALL["jpeg"], {"exif": EXIF, "icc": ICC}), "jpeg")
    assert marked.index(b"JFIF") < marked.index(EXIF) < marked.index(XMP_OF_JPEG) < marked.index(ICC)


def test_what_is_behind_the_first_scan_of_a_jpeg_is_not_read() -> None:
    metadata = segment(0xE1, XMP_OF_JPEG + PACKETS["our mark"]) + manifest_segments(manifest_store())
    content = SMALL["jpeg"][:-2] + metadata + b"\xff\xd9"
    accept(content)
    assert find_marks(content, "jpeg") == ()


def test_a_lossless_webp_keeps_its_transparency_in_the_extended_format() -> None:
    (bitstream,) = (c for c in riff_chunks(FLAVOURS["WebP lossless with alpha"][1]) if c[0] == b"VP8L")
    header = riff_chunks(mark(riff(bitstream), "webp"))[0]
    assert header == canvas(flags=0x14)
    assert riff_chunks(mark(riff(LOSSLESS), "webp"))[0] == canvas(flags=0x04)


@pytest.mark.parametrize("before", [[], [(b"teSt", b"odd")]])
def test_an_alpha_chunk_that_decoders_ignore_is_not_made_one_that_they_read(
    before: list[tuple[bytes, bytes]],
) -> None:
    content = riff(LOSSY, *before, (b"ALPH", b"\0" + bytes(45 * 31)))
    test_a_mark_changes_no_pixel_and_no_other_part_of_an_image("webp", content)
    test_a_mark_is_found_and_marking_again_changes_nothing("webp", content)
    assert b"ALPH" not in mark(content, "webp")


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


@pytest.mark.parametrize("image_format", SMALL)
@pytest.mark.parametrize("size", [99, 65000, 65001, 10_000_000])
def test_a_manifest_of_any_size_is_found(image_format: str, size: int) -> None:
    content = carrying(image_format, SMALL[image_format], {"manifest": manifest_store(size)})
    accept(content)
    assert read_embedded(content, image_format) == Embedded(None, size)
    assert find_marks(content, image_format) == (Mark.C2PA,)


@pytest.mark.parametrize("image_format", SMALL)
@pytest.mark.parametrize("at", range(20, 392, 31))
def test_a_manifest_that_was_tampered_with_is_found(image_format: str, at: int) -> None:
    content = bytearray(carrying(image_format, SMALL[image_format], {"manifest": manifest_store(400)}))
    content[content.index(b"jumdc2pa") + at] ^= 1
    assert find_marks(bytes(content), image_format) == (Mark.C2PA,)


def test_a_manifest_in_a_png_that_ends_in_it_is_found() -> None:
    content = png(PIXELS, chunk(b"caBX", manifest_store(999)))
    cut = content[: content.index(b"caBX") + 104]
    accept(cut)
    assert read_embedded(cut, "png") == Embedded(None, 100)


def test_other_boxes_in_a_jpeg_are_not_taken_for_a_manifest() -> None:
    other = manifest_store().replace(b"jumdc2pa", b"jumdjson")
    segments = manifest_segments(other).replace(b"JP\2\x11", b"JP\0\1")
    content = SMALL["jpeg"]
    assert find_marks(content[:2] + segments + content[2:], "jpeg") == ()
    manifest = manifest_segments(manifest_store(70_000))
    both = content[:2] + segments + manifest + segments + segment(0xEB, b"JP") + content[2:]
    assert read_embedded(both, "jpeg").manifest == 70_000


def test_a_box_with_a_long_length_is_read() -> None:
    store = manifest_store(500)
    body = b"JP\2\x11\0\0\0\1" + b"\0\0\0\1jumb" + (508).to_bytes(8, "big") + store[8:]
    content = SMALL["jpeg"]
    assert find_marks(content[:2] + segment(0xEB, body) + content[2:], "jpeg") == (Mark.C2PA,)


@pytest.mark.parametrize("image_format", SMALL)
@given(after=st.binary(max_size=200), data=st.data())
def test_no_bytes_that_begin_like_an_image_make_the_search_for_marks_fail(
    image_format: str, after: bytes, data: st.DataObject
) -> None:
    whole = carrying(image_format, SMALL[image_format], METADATA["everything"])
    content = whole[: data.draw(st.integers(40, len(whole)))] + after
    if read_metadata(content):
        assert set(find_marks(content, image_format)) <= set(Mark)


def test_a_bomb_in_a_packet_is_not_unpacked() -> None:
    bomb = zlib.compress(PACKETS["our mark"].replace(b"kept", bytes(50_000_000)))
    content = carrying("png", LIGHT, {"packed": b""})[:33] + _packed(bomb) + LIGHT[33:]
    tracemalloc.start()
    assert find_marks(content, "png") == ()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4_000_000
    assert find_marks(mark(content, "png"), "png") == (Mark.DIGITAL_SOURCE_TYPE,)


def test_only_the_first_packets_of_a_png_are_unpacked() -> None:
    bomb = _packed(zlib.compress(bytes(2 * PACKET_MAX), 9))
    our_mark = text_chunk(PACKETS["our mark"])
    assert find_marks(png(*[bomb] * (PACKETS_TRIED - 1), our_mark, PIXELS), "png") == (Mark.DIGITAL_SOURCE_TYPE,)
    assert find_marks(png(*[bomb] * PACKETS_TRIED, our_mark, PIXELS), "png") == ()


LIGHT = png(PIXELS)


def _packed(deflated: bytes) -> bytes:
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + deflated)


@pytest.mark.parametrize(
    "bad",
    [
        corrupt(text_chunk(PACKETS["our mark"])),
        corrupt(text_chunk(PACKETS["our mark"], compressed=True)),
        _packed(b"not deflated"),
        _packed(zlib.compress(PACKETS["our mark"])[:-9]),
        chunk(b"iTXt", b"XML:com.adobe.xmp\0"),
    ],
    ids=["checksum", "checksum of a compressed one", "not compressed", "cut off", "empty"],
)
def test_a_packet_that_readers_cannot_read_is_no_mark_and_is_replaced(bad: bytes) -> None:
    content = png(bad, PIXELS)
    assert find_marks(content, "png") == ()
    assert mark(content, "png") == mark(png(PIXELS), "png")
    good = png(bad, text_chunk(PACKETS["our mark"]), PIXELS)
    assert find_marks(good, "png") == (Mark.DIGITAL_SOURCE_TYPE,)
    assert mark(good, "png").count(b"XML:com.adobe.xmp") == 1


def test_the_long_packet_of_a_jpeg_stays_when_its_main_one_is_marked() -> None:
    main = packet(f"{FORMAT_OF_TITLE}<xmpNote:HasExtendedXMP>{'A' * 32}</xmpNote:HasExtendedXMP>")
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"A" * 32 + bytes(8) + b"<x/>")
    content = encoded("JPEG", xmp=main)
    content = content[:20] + extended + content[20:]
    marked = mark(content, "jpeg")
    assert extended in marked
    assert b"HasExtendedXMP" in (read_embedded(marked, "jpeg").xmp or b"")


def test_a_jpeg_without_room_for_the_mark_is_refused() -> None:
    longest = packet(f"<dc:format>{'x' * 64_000}</dc:format>")
    assert find_marks(mark(encoded("JPEG", xmp=longest), "jpeg"), "jpeg")
    too_long = packet(f"<dc:format>{'x' * 65_000}</dc:format>")
    with pytest.raises(CannotMarkError, match="a JPEG has room for 65504"):
        mark(encoded("JPEG", xmp=too_long), "jpeg")


def test_an_image_with_as_many_pieces_as_are_accepted_is_refused() -> None:
    content = png(*[chunk(b"teSt", b"")] * (MAX_PIECES - 3), PIXELS)
    accept(content)
    with pytest.raises(CannotMarkError, match="more than 65536 pieces"):
        mark(content, "png")


PACKET = st.sampled_from(list(PACKETS.values()))
BODY = st.binary(max_size=9)
PNG_CHUNK = st.one_of(
    st.builds(chunk, st.sampled_from([b"teSt", b"tEXt", b"iTXt", b"zTXt", b"eXIf", b"caBX", b"PLTE"]), BODY),
    st.builds(text_chunk, PACKET, compressed=st.booleans()),
)
JPEG_SEGMENT = st.one_of(
    st.builds(segment, st.sampled_from([0xE0, 0xE1, 0xE2, 0xEB, 0xED, 0xFE]), BODY),
    st.builds(lambda content: segment(0xE1, XMP_OF_JPEG + content), PACKET),
    st.builds(lambda content: segment(0xE1, b"Exif\0\0" + content), BODY),
    st.sampled_from([b"\xff\xff", b"PK", b"\xff\xd0", manifest_segments(manifest_store())]),
)
WEBP_CHUNK = st.one_of(
    st.tuples(st.sampled_from([b"teSt", b"EXIF", b"ICCP", b"C2PA", b"XMP\0", b"ALPH"]), BODY),
    st.tuples(st.just(b"XMP "), PACKET),
)
FILE = st.one_of(
    st.builds(
        lambda before, after, end: ("png", png(*before, PIXELS, *after, last=end)),
        st.lists(PNG_CHUNK, max_size=4),
        st.lists(PNG_CHUNK, max_size=4),
        st.sampled_from([chunk(b"IEND", b""), b"", b"\0", chunk(b"IEND", b"") + b"\n"]),
    ),
    st.builds(
        lambda before, end: ("jpeg", jpeg_with(lambda p: [p[0], *before, *p[1:]]) + end),
        st.lists(JPEG_SEGMENT, max_size=6),
        st.sampled_from([b"", b"\r\n"]),
    ),
    st.builds(
        lambda head, before, image, after, end: ("webp", riff(*head, *before * len(head), image, *after) + end),
        st.sampled_from([[], [canvas()], [canvas(flags=0x3C)]]),
        st.lists(WEBP_CHUNK, max_size=3),
        st.sampled_from([LOSSY, LOSSLESS]),
        st.lists(WEBP_CHUNK, max_size=3),
        st.sampled_from([b"", b"\0"]),
    ),
)


@given(file=FILE)
def test_any_sequence_of_pieces_that_is_accepted_can_be_marked(file: tuple[str, bytes]) -> None:
    image_format, content = file
    try:
        accept(content)
    except ImageRejectedError:
        return
    test_a_mark_changes_no_pixel_and_no_other_part_of_an_image(image_format, content)
    marked = mark(content, image_format)
    assert Mark.DIGITAL_SOURCE_TYPE in find_marks(marked, image_format)
    assert mark(marked, image_format) == marked
    assert read_embedded(marked, image_format).manifest == read_embedded(content, image_format).manifest
