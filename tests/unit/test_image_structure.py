"""The rules of each format: what is legal passes, what breaks a rule is named."""

import zlib
from contextlib import suppress
from io import BytesIO
from typing import Any

import pytest
from PIL import Image

from aigen_bridge.domain import image_jpeg, image_png, image_webp
from aigen_bridge.domain.image_structure import MAX_PIECES, StructureError
from image_files import (
    LIGHTHOUSE,
    LOSSLESS,
    LOSSY,
    PICTURE,
    PIXELS,
    ROWS,
    SHOWN,
    canvas,
    chunk,
    corrupt,
    encoded,
    header,
    jpeg_with,
    png,
    riff,
)

FORMATS: dict[str, Any] = {"PNG": image_png, "JPEG": image_jpeg, "WEBP": image_webp}


def prove(format_name: str, content: bytes) -> None:
    FORMATS[format_name].walk(content)
    FORMATS[format_name].decode(content)


def test_the_smallest_png_that_these_tests_build_is_a_true_one() -> None:
    prove("PNG", png(PIXELS))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "I;16"])
def test_every_kind_of_png_passes(mode: str) -> None:
    prove("PNG", encoded("PNG", PICTURE.convert("L" if mode == "I;16" else mode).convert(mode)))


@pytest.mark.parametrize("colour", [0, 2, 3, 4, 6])
@pytest.mark.parametrize("depth", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("interlace", [0, 1])
def test_every_legal_depth_of_a_png_passes_and_no_other(colour: int, depth: int, interlace: int) -> None:
    first = header(width=13, height=11, depth=depth, colour=colour, methods=bytes([0, 0, interlace]))
    palette = [chunk(b"PLTE", bytes(6))] if colour == 3 else []
    if depth not in image_png._DEPTHS[colour]:
        with pytest.raises(StructureError, match="colour type"):
            image_png.walk(png(PIXELS, first=first))
        return
    size = image_png._header(png(first=first)).raw_bytes()
    content = png(*palette, chunk(b"IDAT", zlib.compress(bytes(size))), first=first)
    prove("PNG", content)
    with Image.open(BytesIO(content)) as image:  # the numbers are right if others agree
        image.load()
    with pytest.raises(StructureError, match="less pixel data"):
        prove("PNG", png(*palette, chunk(b"IDAT", zlib.compress(bytes(size - 1))), first=first))


def test_pixel_data_in_many_chunks_and_metadata_around_it_pass() -> None:
    packed = zlib.compress(ROWS)
    parts = [chunk(b"IDAT", packed[i : i + 1]) for i in range(len(packed))]
    prove("PNG", png(chunk(b"tEXt", b"a\0b"), *parts, chunk(b"IDAT", b""), chunk(b"tIME", bytes(7))))


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (png(), "no pixel data"),
        (png(header(), PIXELS), "twice"),
        (png(PIXELS) + b"x", "1 bytes behind .*text"),
        (png(PIXELS) + b"PK\3\4", "4 bytes behind .*ZIP"),
        (png(PIXELS, chunk(b"CgBI", b"")), "unknown kind"),
        (png(PIXELS, chunk(b"t\0xt", b"")), "unknown kind"),
        (png(chunk(b"acTL", bytes(8)), PIXELS), r"animated \(chunk acTL\)"),
        (png(PIXELS, first=header(colour=3)), "lacks its palette"),
        (png(PIXELS, chunk(b"PLTE", bytes(3)), first=header(colour=3)), "lacks its palette"),
        (png(PIXELS, first=header(methods=b"\1\0\0")), "unknown compression"),
        (png(PIXELS, first=header(methods=b"\0\0\2")), "interlace"),
        (png(chunk(b"PLTE", bytes(4)), PIXELS, first=header(colour=3)), "palette of 4 bytes"),
        (png(corrupt(PIXELS)), "checksum"),
        (png(*[chunk(b"teSt", b"")] * MAX_PIECES, PIXELS), "more than 65536 pieces"),
        (png(chunk(b"IDAT", zlib.compress(ROWS + bytes(2**17)))), "more pixel data"),
        (png(chunk(b"IDAT", zlib.compress(ROWS)[:-6])), "is cut off"),
        (png(PIXELS, last=b"")[:-10], "is cut off"),
        (png(chunk(b"IDAT", b"")), "is cut off"),
        (png(chunk(b"IDAT", zlib.compress(ROWS[1:]))), "less pixel data"),
        (png(chunk(b"IDAT", b"not deflated")), "corrupt"),
        (png(chunk(b"IDAT", zlib.compress(b"\5" + ROWS[1:]))), "unknown filter"),
    ],
)
def test_a_png_that_breaks_a_rule_is_refused_by_name(content: bytes, says: str) -> None:
    assert image_png.size(content) is not None
    with pytest.raises(StructureError, match=says):
        prove("PNG", content)


def test_any_flipped_bit_of_a_png_is_found_or_changes_no_pixel() -> None:
    for position in range(len(LIGHTHOUSE)):
        for bit in range(8):
            flipped = bytearray(LIGHTHOUSE)
            flipped[position] ^= 1 << bit
            with suppress(StructureError):
                _prove_what_it_claims_to_be("PNG", bytes(flipped))
                assert pixels(bytes(flipped)) == pixels(LIGHTHOUSE)


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_png_without_all_of_its_last_chunk_is_accepted(cut: int) -> None:
    _prove_what_it_claims_to_be("PNG", LIGHTHOUSE[:-cut])


def test_a_png_cut_at_any_byte_is_found_or_has_all_its_pixels() -> None:
    passed = 0
    for cut in range(len(LIGHTHOUSE)):
        with suppress(StructureError):
            _prove_what_it_claims_to_be("PNG", LIGHTHOUSE[:cut])
            assert pixels(LIGHTHOUSE[:cut]) == pixels(LIGHTHOUSE)
            passed += 1
    assert 12 <= passed < 30  # without some of the last chunk, and of the checksums before it


def pixels(content: bytes) -> bytes:
    """The pixels as Pillow sees them."""
    with Image.open(BytesIO(content)) as image:
        return image.tobytes()


@pytest.mark.parametrize("content", SHOWN.values(), ids=SHOWN)
def test_a_png_that_every_viewer_shows_passes(content: bytes) -> None:
    prove("PNG", content)
    assert pixels(content) == bytes(len(pixels(content)))


@pytest.mark.parametrize(
    "content",
    [
        png(corrupt(chunk(b"tEXt", b"a\0b")), PIXELS),
        png(chunk(b"IDAT", zlib.compress(ROWS)[:-1] + b"\xff")),
    ],
    ids=["the checksum of a text", "the checksum of the zlib stream"],
)
def test_a_png_that_browsers_show_passes_although_pillow_refuses_it(content: bytes) -> None:
    prove("PNG", content)


@pytest.mark.parametrize("format_name", ["JPEG", "WEBP"])
def test_a_file_cut_at_any_byte_is_found_by_its_structure_alone(format_name: str) -> None:
    content = encoded(format_name, exif=Image.Exif().tobytes() if format_name == "WEBP" else b"")
    prove(format_name, content)
    for cut in range(len(content)):
        with pytest.raises(StructureError):
            _prove_what_it_claims_to_be(format_name, content[:cut])


def _prove_what_it_claims_to_be(format_name: str, content: bytes) -> None:
    """Everything for a PNG; for others the walk alone, without the decoder."""
    if FORMATS[format_name].size(content) is None:
        raise StructureError("is none")
    FORMATS[format_name].walk(content)
    if format_name == "PNG":
        image_png.decode(content)


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}, {"subsampling": 0}])
@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_every_kind_of_jpeg_passes(options: dict[str, Any], mode: str) -> None:
    content = encoded("JPEG", PICTURE.convert(mode), **options)
    assert image_jpeg.size(content) == PICTURE.size
    prove("JPEG", content)


def test_fill_bytes_comments_and_a_thumbnail_inside_exif_pass() -> None:
    thumbnail = encoded("JPEG")
    content = encoded("JPEG", exif=b"Exif\0\0" + thumbnail, comment=b"\xff\xd9")
    prove("JPEG", content[:2] + b"\xff\xff\xff" + content[2:-2] + b"\xff\xff" + content[-2:])


@pytest.mark.parametrize(
    "content",
    [
        jpeg_with(lambda p: [*p[:2], b"PK", *p[2:]]),
        jpeg_with(lambda p: [*p[:-1], b"\0\0", p[-1]]),
        jpeg_with(lambda p: [*p[:2], b"\xff\xd0\xff\xd7", *p[2:]]),
        jpeg_with(lambda p: [*p, b"\0\0\r\n"]),
    ],
    ids=["bytes between segments", "bytes behind the scan", "restart markers outside a scan", "padding"],
)
def test_a_jpeg_that_every_viewer_shows_passes(content: bytes) -> None:
    prove("JPEG", content)
    assert pixels(content) == pixels(encoded("JPEG", PICTURE.convert("L")))


def _frame(body: bytes, code: int = 0xC0) -> bytes:
    return bytes([0xFF, code]) + (len(body) + 2).to_bytes(2, "big") + body


GREY_FRAME = b"\x08\0\x1f\0\x2d\1\1\x11\0"


def _with_frame(frame: bytes) -> bytes:
    return jpeg_with(lambda p: [frame if s[1] == 0xC0 else s for s in p])


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (jpeg_with(lambda p: [*p, b"x"]), "1 bytes behind"),
        (jpeg_with(lambda p: p[:-1]), "end marker is missing"),
        (jpeg_with(lambda p: [*p[:-2], p[-1]]), "0 scans"),
        (jpeg_with(lambda p: [*p[:-1], *p[-2:-1] * image_jpeg.MAX_SCANS, p[-1]]), "65 scans"),
        (jpeg_with(lambda p: [p[0], p[-2], *p[1:]]), "scan before its frame"),
        (jpeg_with(lambda p: [*p[:2], p[0], *p[2:]]), "out of place"),
        (jpeg_with(lambda p: [*p[:2], b"\xff\xfe\0\1", *p[2:]]), "out of place"),
        (jpeg_with(lambda p: [*p[:-1], b"\xff\xfe\xff\xff", p[-1]]), "cut off in its segment"),
        (jpeg_with(lambda p: [*p[:-1], _frame(GREY_FRAME), p[-1]]), "2 frames"),
        (_with_frame(_frame(GREY_FRAME, 0xC9)), "SOF9"),
        (_with_frame(_frame(b"\x0c" + GREY_FRAME[1:], 0xC1)), "12 bits"),
        (_with_frame(_frame(GREY_FRAME[:5] + b"\2" + GREY_FRAME[6:] * 2)), "2 colour components"),
        (_with_frame(_frame(GREY_FRAME + b"x")), "in 10 bytes"),
        (jpeg_with(lambda p: [s for s in p if s[1] != 0xDB]), "cannot be decoded"),
        (jpeg_with(lambda p: [*p[:2], *[b"\xff\xfe\0\2"] * MAX_PIECES, *p[2:]]), "pieces"),
    ],
)
def test_a_jpeg_that_breaks_a_rule_is_refused_by_name(content: bytes, says: str) -> None:
    with pytest.raises(StructureError, match=says):
        prove("JPEG", content)


def test_a_webp_may_have_padding_behind_its_end() -> None:
    prove("WEBP", riff(LOSSLESS) + bytes(7))


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L"])
@pytest.mark.parametrize("lossless", [True, False])
@pytest.mark.parametrize("exif", [b"", b"Exif\0\0odd"])
def test_every_kind_of_still_webp_passes(mode: str, lossless: bool, exif: bytes) -> None:  # noqa: FBT001
    picture = PICTURE.convert(mode)
    if mode == "RGBA":
        picture.putalpha(90)
    content = encoded("WEBP", picture, lossless=lossless, exif=exif)
    assert image_webp.size(content) == picture.size
    prove("WEBP", content)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (riff(LOSSLESS) + b"x", "1 bytes behind the end"),
        (riff(LOSSLESS) + riff(LOSSLESS), "behind the end .*WebP"),
        (b"RIFF\0\0\0\0WEBP" + riff(LOSSLESS)[12:], "behind|empty"),
        (riff(LOSSLESS)[:-2], "cut off"),
        (riff(canvas(flags=2), LOSSLESS), "animated"),
        (riff(canvas(), (b"ANMF", bytes(16))), "animated"),
        (riff(LOSSLESS, LOSSY), "2 images"),
        (riff(canvas(), (b"EXIF", b"12")), "0 images"),
        (riff(canvas(46), LOSSLESS), r"canvas of \(46, 31\) pixels and an image of \(45, 31\)"),
        (riff(canvas(16383, 16383), LOSSY), "canvas"),
        (riff(canvas(), (b"VP8 ", b"")), "an image of None"),
        (riff(LOSSLESS, (b"teSt", b"")).replace(b"teSt\0", b"teSt\2"), "cut off in its chunk"),
        (riff(canvas(), *[(b"teSt", b"")] * MAX_PIECES, LOSSLESS), "pieces"),
        (riff((b"VP8 ", LOSSY[1][: len(LOSSY[1]) // 2])), "cannot be decoded"),
        (riff((b"VP8L", LOSSLESS[1][: len(LOSSLESS[1]) // 2])), "cannot be decoded"),
    ],
)
def test_a_webp_that_breaks_a_rule_is_refused_by_name(content: bytes, says: str) -> None:
    with pytest.raises(StructureError, match=says):
        prove("WEBP", content)
