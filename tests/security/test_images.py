"""Images that lie, that are something else besides, or that want to be unpacked."""

import hashlib
import re
import struct
import tracemalloc
import zipfile
import zlib
from collections.abc import Callable
from contextlib import suppress
from io import BytesIO
from typing import Any
from unittest.mock import Mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFile, PngImagePlugin

from aigen_bridge.domain import image_structure
from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image import ImageMetadata, check, read_metadata
from aigen_bridge.domain.image_structure import MAX_PIXELS, StructureError, check_sides

FORMATS = {"png": "PNG", "jpeg": "JPEG", "webp": "WEBP"}
PICTURE = Image.effect_noise((24, 16), 60).convert("RGB")


def encoded(format_name: str, picture: Image.Image = PICTURE, **options: Any) -> bytes:
    target = BytesIO()
    picture.save(target, format_name, **options)
    return target.getvalue()


TRUE = {name: encoded(format_name) for name, format_name in FORMATS.items()}


def reasons(content: bytes, said: ImageMetadata | None = None, sha256: str | None = None) -> tuple[str, ...]:
    """Why the content is refused when its hash, and what is not given here, are true."""
    said = said or read_metadata(content) or ImageMetadata("png", len(content), 24, 16)
    with pytest.raises(ImageRejectedError) as caught:
        check(content, said, sha256 or hashlib.sha256(content).hexdigest())
    return caught.value.reasons


def accept(content: bytes) -> ImageMetadata:
    said = read_metadata(content)
    assert said is not None
    checked = check(content, said, hashlib.sha256(content).hexdigest())
    assert checked.content is content
    return said


def archive() -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as packed:
        packed.writestr("run.sh", "echo")
    return target.getvalue()


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("behind", [archive(), b"\0" + archive(), b"<script>", *TRUE.values(), b"%PDF-1.7"])
def test_no_other_file_may_stand_behind_an_image(name: str, behind: bytes) -> None:
    (reason,) = reasons(TRUE[name] + behind)
    assert reason.startswith("imageData ")
    assert "behind" in reason


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("behind", [b"\0", b"\n", b"\r\n", bytes(2048)])
def test_padding_may_stand_behind_an_image(name: str, behind: bytes) -> None:
    accept(TRUE[name] + behind)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("before", [b"\0", b"\n", b"GIF89a", b"<html>", b"%PDF-1.7\n", b"PK\3\4"])
def test_nothing_may_stand_before_an_image(name: str, before: bytes) -> None:
    assert "not an image" in reasons(before + TRUE[name])[0]


def test_a_webp_whose_file_length_covers_an_archive_is_refused() -> None:
    content = TRUE["webp"] + archive()
    content = content[:4] + struct.pack("<I", len(content) - 8) + content[8:]
    assert reasons(content)[0].startswith("imageData ")


@pytest.mark.parametrize("format_name", ["GIF", "BMP", "TIFF", "PPM", "ICO", "AVIF", "PDF", "JPEG2000"])
def test_other_formats_are_no_image_to_us(format_name: str) -> None:
    content = encoded(format_name)
    assert "not an image" in reasons(content)[0]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x89",
        b"\xff",
        b"<svg xmlns='http://www.w3.org/2000/svg'><script/></svg>",
        b"<!doctype html>",
        b"RIFF\4\0\0\0WAVE",
        b"RIFF\4\0\0\0WEBP",
        b"\xff\xd8\xff",
        b"\x89PNG\r\n\x1a\n",
    ],
)
def test_what_is_no_image_is_refused(content: bytes) -> None:
    assert "not an image" in reasons(content)[0]


@pytest.mark.parametrize("name", ["png", "webp"])
def test_animations_are_refused(name: str) -> None:
    frames = [PICTURE.rotate(90 * turn) for turn in range(3)]
    content = encoded(FORMATS[name], frames[0], save_all=True, append_images=frames[1:])
    assert "animated" in reasons(content)[0]


def test_several_pictures_in_one_jpeg_are_refused() -> None:
    content = encoded("MPO", save_all=True, append_images=[PICTURE.rotate(90)])
    assert "behind" in reasons(content)[0]


@pytest.mark.parametrize("sides", [(0, 5), (5, 0), (4097, 4096), (2**31 - 1, 2**31 - 1)])
def test_an_image_of_nothing_or_of_too_much_is_refused_by_its_header(sides: tuple[int, int]) -> None:
    with pytest.raises(StructureError, match=f"{sides[0]}x{sides[1]}"):
        check_sides(*sides)


def test_the_largest_image_is_one_that_can_be_asked_for_and_pillow_would_not_warn_of_it() -> None:
    check_sides(4096, 4096)
    assert Image.MAX_IMAGE_PIXELS is not None
    assert MAX_PIXELS < Image.MAX_IMAGE_PIXELS
    assert not ImageFile.LOAD_TRUNCATED_IMAGES


@pytest.fixture
def no_decoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever decodes or inflates in this test fails it."""

    def fail(*_: Any) -> Any:
        raise AssertionError("decoded")

    monkeypatch.setattr(Image, "open", fail)
    monkeypatch.setattr(zlib, "decompressobj", fail)


def _with_sides_png(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">II", width, height) + TRUE["png"][24:29]
    return TRUE["png"][:12] + head + struct.pack(">I", zlib.crc32(head)) + TRUE["png"][33:]


def _with_sides_jpeg(width: int, height: int) -> bytes:
    sides = TRUE["jpeg"].index(b"\xff\xc0") + 5
    return TRUE["jpeg"][:sides] + struct.pack(">HH", height, width) + TRUE["jpeg"][sides + 4 :]


def _with_sides_webp(width: int, height: int) -> bytes:
    return TRUE["webp"][:26] + struct.pack("<HH", width, height) + TRUE["webp"][30:]


MAKERS = [_with_sides_png, _with_sides_jpeg, _with_sides_webp]


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("sides", [(16383, 16383), (0, 16), (24, 0)])
def test_a_bomb_is_refused_by_its_header_before_anything_is_decoded(
    make: Callable[[int, int], bytes], sides: tuple[int, int]
) -> None:
    said = "0 pixels" if 0 in sides else "more than the"
    (reason,) = reasons(make(*sides))
    assert f"{sides[0]}x{sides[1]}" in reason
    assert said in reason


@pytest.mark.usefixtures("no_decoder")
@pytest.mark.parametrize("name", FORMATS)
def test_what_is_refused_for_less_is_not_decoded(name: str) -> None:
    assert len(reasons(TRUE[name], sha256="0" * 64)) == 1


def test_compressed_texts_and_profiles_of_a_png_are_never_inflated(monkeypatch: pytest.MonkeyPatch) -> None:
    bomb = "A" * 2**20
    texts = PngImagePlugin.PngInfo()
    for _ in range(40):
        texts.add_text("a", bomb, zip=True)
        texts.add_itxt("b", bomb, zip=True)
    content = encoded("PNG", pnginfo=texts, icc_profile=bomb.encode())
    monkeypatch.setattr(Image, "open", lambda *_, **__: pytest.fail("Pillow would inflate them"))
    assert _peak(lambda: accept(content)) < 2**20


def test_pixel_data_that_inflates_to_a_hundred_megabytes_is_given_up_at_once() -> None:
    packed = zlib.compress(bytes(10**8), 9)
    body = b"IDAT" + packed
    idat = struct.pack(">I", len(packed)) + body + struct.pack(">I", zlib.crc32(body))
    content = TRUE["png"][:33] + idat + TRUE["png"][-12:]
    assert _peak(lambda: reasons(content)) < 2**21
    assert "more pixel data" in reasons(content)[0]


def test_a_decoder_that_runs_out_of_memory_says_nothing_about_the_image(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image_structure.Image, "open", Mock(side_effect=MemoryError))
    with pytest.raises(MemoryError):
        accept(TRUE["jpeg"])


def test_metadata_of_a_jpeg_never_reaches_a_parser(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bytes] = []
    open_image = Image.open

    def watch(file: BytesIO, **options: Any) -> Any:
        seen.append(file.getvalue())
        return open_image(file, **options)

    monkeypatch.setattr(image_structure.Image, "open", watch)
    accept(encoded("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", comment=b"secret", icc_profile=b"profile"))
    assert len(seen) == 1
    assert not any(word in seen[0] for word in (b"Exif", b"secret", b"profile", b"JFIF"))


@given(content=st.binary(max_size=400), name=st.sampled_from([*FORMATS, "gif"]))
@settings(max_examples=300, deadline=None)
def test_any_bytes_are_refused_and_never_an_error(content: bytes, name: str) -> None:
    with pytest.raises(ImageRejectedError):
        check(content, ImageMetadata(name, len(content), 1, 1), hashlib.sha256(content).hexdigest())


@given(data=st.data(), name=st.sampled_from(list(FORMATS)))
@settings(max_examples=800, deadline=None)
def test_what_passes_is_what_pillow_shows_and_never_an_error(data: st.DataObject, name: str) -> None:
    content = bytearray(TRUE[name])
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(content)))
        length = data.draw(st.sampled_from([0, 1, 2, 4, 30]))
        content[start : start + length] = data.draw(st.binary(max_size=6))
    said = read_metadata(bytes(content)) or ImageMetadata(name, len(content), 24, 16)
    seen = _seen_by_pillow(bytes(content), name)
    refused = _refusal(bytes(content), said)
    if refused is None:
        assert seen == (said.width, said.height)
    else:
        assert seen is None or PILLOW_IS_LAXER.search(refused), refused


PILLOW_IS_LAXER = re.compile(
    "behind the end|checksum|unknown kind|end marker|animated|cut off in its|out of place|twice|header is damaged"
)
"""Why a file is refused although Pillow shows it: other data behind it, and damage at which browsers stop."""


def _refusal(content: bytes, said: ImageMetadata) -> str | None:
    """Why the content is refused, or None."""
    try:
        check(content, said, hashlib.sha256(content).hexdigest())
    except ImageRejectedError as error:
        return error.detail
    return None


def _seen_by_pillow(content: bytes, name: str) -> tuple[int, int] | None:
    """The size of the image if Pillow can open and decode it completely."""
    with suppress(Exception), Image.open(BytesIO(content), formats=[FORMATS[name]]) as image:
        image.load()
        return image.size
    return None


def _peak(work: Callable[[], object]) -> int:
    """Bytes that Python objects took at most."""
    tracemalloc.start()
    try:
        work()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
