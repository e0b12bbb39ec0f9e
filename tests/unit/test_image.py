"""What an image really is."""

import hashlib
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from aigen_bridge.domain.errors import ImageRejectedError
from aigen_bridge.domain.image import ImageMetadata, check, normal_format, parse_sha256, read_metadata
from aigen_bridge.sim.drawing import draw

PNG = (Path(__file__).parents[1] / "lighthouse.png").read_bytes()
SAID = ImageMetadata("png", len(PNG), 64, 64)


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_format_and_dimensions_come_from_the_content(image_format: str) -> None:
    content = draw("a", seed=1, width=80, height=64, image_format=image_format)
    assert read_metadata(content) == ImageMetadata(image_format, len(content), 80, 64)


@given(content=st.binary(max_size=300))
def test_any_bytes_are_an_image_or_none_and_never_an_error(content: bytes) -> None:
    assert read_metadata(content) is None


@given(cut=st.integers(0, len(PNG) - 1))
def test_a_cut_image_never_passes(cut: int) -> None:
    with pytest.raises(ImageRejectedError):
        check(PNG[:cut], SAID, hashlib.sha256(PNG).hexdigest())


@given(digest=st.binary(min_size=32, max_size=32))
def test_every_spelling_of_a_sha256_is_read_as_the_same_hex(digest: bytes) -> None:
    hexadecimal = digest.hex()
    spellings = [
        hexadecimal,
        hexadecimal.upper(),
        f"sha256:{hexadecimal}",
        f" {hexadecimal} ",
        pybase64.b64encode(digest).decode(),
        f"sha256:{pybase64.b64encode(digest).decode()}",
    ]
    assert {parse_sha256(s) for s in spellings} == {hexadecimal}


@given(text=st.text())
def test_anything_else_is_no_sha256_and_never_an_error(text: str) -> None:
    parsed = parse_sha256(text)
    assert parsed is None or len(parsed) == 64


@pytest.mark.parametrize("name", ["png", "PNG", " image/png "])
def test_formats_are_understood_as_people_write_them(name: str) -> None:
    assert normal_format(name) == "png"
    assert normal_format("JPG") == normal_format("image/jpeg") == "jpeg"


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
@pytest.mark.parametrize(
    ("field", "lie"), [("format", "gif"), ("size", 7), ("width", 81), ("height", 0), ("height", -64)]
)
def test_a_lie_in_the_metadata_is_named_by_its_field(image_format: Any, field: str, lie: Any) -> None:
    content = draw("a", seed=1, width=80, height=64, image_format=image_format)
    said = ImageMetadata(image_format, len(content), 80, 64)
    assert check(content, said, hashlib.sha256(content).hexdigest()).described.format == image_format
    with pytest.raises(ImageRejectedError) as caught:
        check(content, replace(said, **{field: lie}), hashlib.sha256(content).hexdigest())
    (reason,) = caught.value.reasons
    assert reason.startswith(f"imageMetadata.{field} says {lie}, the image has ")


def test_the_hash_of_another_image_is_refused() -> None:
    other = hashlib.sha256(draw("a", seed=1, width=64, height=64)).hexdigest()
    with pytest.raises(ImageRejectedError) as caught:
        check(PNG, SAID, other)
    (reason,) = caught.value.reasons
    assert reason.startswith(f"hashValue says {other}, the SHA-256 of the image is ")


def test_hash_metadata_and_structure_are_all_named_at_once() -> None:
    with pytest.raises(ImageRejectedError) as caught:
        check(PNG + b"PK", ImageMetadata("webp", 1, 2, 3), "0" * 64)
    fields = [reason.split()[0] for reason in caught.value.reasons]
    assert fields == ["hashValue", *(f"imageMetadata.{f}" for f in ("format", "size", "width", "height")), "imageData"]


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
def test_the_sides_are_those_of_the_stored_pixels_however_exif_turns_them(image_format: str) -> None:
    exif, target = Image.Exif(), BytesIO()
    exif[0x0112] = 6  # a quarter turn
    Image.new("RGB", (24, 16)).save(target, image_format, exif=exif)
    content = target.getvalue()
    checked = check(content, ImageMetadata(image_format, len(content), 24, 16), hashlib.sha256(content).hexdigest())
    assert (checked.described.width, checked.described.height) == (24, 16)
