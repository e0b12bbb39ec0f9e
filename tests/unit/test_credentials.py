"""C2PA manifests in every image that the checks accept. C2PA's library runs in this process, which is quicker."""

import random
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import c2pa
import pytest
from cryptography.x509.oid import ObjectIdentifier
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from aigen_bridge import __version__
from aigen_bridge.clients import c2pa_process, credentials
from aigen_bridge.clients.credentials import Credentials, Fault, SigningError, Validation, is_valid, sign, validate
from aigen_bridge.clients.marking import Marker
from aigen_bridge.clients.signing_certificate import USAGES
from aigen_bridge.domain import image_jpeg, image_png
from aigen_bridge.domain.errors import PermanentError, storable
from aigen_bridge.domain.image_metadata_jpeg import PACKET_MAX
from aigen_bridge.domain.marks import find_marks
from aigen_bridge.domain.provenance import TRAINED_ALGORITHMIC_MEDIA, Mark, MarkingMode, Origin
from aigen_bridge.domain.xmp import marked_packet
from image_files import (
    EXIF,
    FLAVOURS,
    ICC,
    ROWS,
    accept,
    carrying,
    chunk,
    encoded,
    manifest_store,
    png,
    riff_chunks,
    shown,
)
from signing import GOOD, GOOD_WITH_CHAIN, issued

ORIGIN = Origin(generated_at=datetime(2026, 8, 1, tzinfo=UTC), model="FLUX 1.1 [pro]", provider="Black Forest Labs")
OTHER = Credentials(certificate=GOOD.certificate.decode(), key=GOOD.key.decode(), algorithm="es256")
SMALL = dict(reversed(FLAVOURS.values()))
SIGNED = {
    image_format: c2pa_process.answer(credentials.signing_request(image_format, ORIGIN, OTHER), content)[1]
    for image_format, content in SMALL.items()
}
PADDED = ("fill bytes", "bytes between", "padding", "no last chunk", "zeros behind", "a line behind")
"""Flavours of which C2PA's library drops bytes that mean nothing."""


@pytest.fixture(autouse=True)
def _library_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "_run", in_this_process)


def in_this_process(request: dict[str, Any], content: bytes, *_: object) -> tuple[Any, bytes]:
    return c2pa_process.answer(request, content)


@pytest.fixture(scope="module")
def marker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Marker]:
    folder = tmp_path_factory.mktemp("credentials")
    yield from opened(folder, MarkingMode.C2PA)


def opened(folder: Path, mode: MarkingMode) -> Iterator[Marker]:
    (folder / "certificate.pem").write_bytes(GOOD_WITH_CHAIN.certificate)
    (folder / "key.pem").write_bytes(GOOD_WITH_CHAIN.key)
    marker = Marker(
        mode=mode,
        certificate=folder / "certificate.pem",
        key=folder / "key.pem",
        timestamp_url=None,
        timeout=timedelta(seconds=5),
    )
    yield marker
    marker.close()


async def marked(marker: Marker, content: bytes, image_format: str, origin: Origin = ORIGIN) -> bytes:
    result = await marker.mark(content, image_format, origin)
    assert result is not None
    content, mode = result
    assert mode is MarkingMode.C2PA
    return content


def others(content: bytes, image_format: str) -> object:
    """Everything but the XMP and the manifest, which are all that marking may change."""
    match image_format:
        case "png":
            pieces = [(c.name, content[c.start : c.end + 4]) for c in image_png.read_chunks(content)]
            return [(name, body) for name, body in pieces if name != b"caBX" and not body.startswith(b"XML:com")]
        case "jpeg":
            segments = [(s.marker, content[s.begin : s.end]) for s in image_jpeg.read_segments(content)]
            return [(marker, body) for marker, body in segments if marker != 0xEB and b"ns.adobe.com/xap" not in body]
        case _:
            return [(name, body) for name, body in riff_chunks(content) if name not in {b"C2PA", b"XMP ", b"VP8X"}]


def known(content: bytes, image_format: str) -> Validation:
    validation = validate(content, image_format)
    assert validation is not None
    return validation


def existing(image_format: str, content: bytes) -> dict[str, bytes]:
    """The image with different things in it."""
    metadata = {"exif": EXIF, "icc": ICC, "xmp": marked_packet(None, ORIGIN, "another")}
    return {"nothing": content, "EXIF, ICC and XMP": carrying(image_format, content, metadata)}


IMAGES = {
    f"{flavour} with {name}": (image_format, content)
    for flavour, (image_format, plain) in FLAVOURS.items()
    for name, content in existing(image_format, plain).items()
}


@pytest.mark.parametrize(("image_format", "content"), IMAGES.values(), ids=IMAGES)
async def test_every_image_can_be_signed_twice_and_shows_the_same(
    marker: Marker, image_format: str, content: bytes, request: pytest.FixtureRequest
) -> None:
    once = await marked(marker, content, image_format)
    twice = await marked(marker, once, image_format)
    for signed, manifests in ((once, 1), (twice, 2)):
        accept(signed)
        assert shown(signed) == shown(content) or shown(content) is None
        if not any(padding in request.node.callspec.id for padding in PADDED):
            assert others(signed, image_format) == others(content, image_format)
        validation = known(signed, image_format)
        assert (validation.valid, validation.failures, len(validation.chain)) == (True, (), manifests)
        assert validation.says_generated
        assert find_marks(signed, image_format) == (Mark.C2PA, Mark.DIGITAL_SOURCE_TYPE)


async def test_an_image_without_room_for_metadata_is_signed_all_the_same(marker: Marker, tmp_path: Path) -> None:
    packet = marked_packet(None, ORIGIN, "another").replace(b"trainedAlgorithmicMedia", b"digitalCapture")
    content = carrying("jpeg", SMALL["jpeg"], {"xmp": packet + b" " * (PACKET_MAX - len(packet))})
    signed = await marked(marker, content, "jpeg")

    assert find_marks(signed, "jpeg") == (Mark.C2PA,)
    assert known(signed, "jpeg").valid
    for metadata in opened(tmp_path, MarkingMode.METADATA):
        with pytest.raises(PermanentError, match="has room for 65504"):
            await metadata.mark(content, "jpeg", ORIGIN)


@pytest.mark.parametrize("cut", range(61))
async def test_a_png_that_is_cut_off_behind_its_pixels_can_be_signed(marker: Marker, cut: int) -> None:
    whole = png(chunk(b"IDAT", zlib.compress(ROWS) + bytes(30)), chunk(b"tEXt", b"a\0b"))
    content = whole[: len(whole) - cut]
    accept(content)
    signed = await marked(marker, content, "png")
    accept(signed)
    assert known(signed, "png").valid


async def test_the_chain_names_every_manifest_the_latest_first(marker: Marker) -> None:
    content = sign(SMALL["jpeg"], "jpeg", ORIGIN, OTHER)
    signed = await marked(marker, content, "jpeg")
    latest, earlier = known(signed, "jpeg").chain
    assert latest.signer == earlier.signer == "Marketing, Example"
    assert latest.software == f"aigen-bridge {__version__}"
    assert TRAINED_ALGORITHMIC_MEDIA in latest.source_types
    assert actions(signed, "jpeg") == ["c2pa.opened"]
    assert actions(content, "jpeg") == ["c2pa.created"]


@pytest.mark.parametrize("image_format", SIGNED)
async def test_a_signed_image_gets_a_manifest_and_nothing_else(marker: Marker, image_format: str) -> None:
    """Metadata would make its earlier manifest invalid."""
    signed = await marked(marker, SIGNED[image_format], image_format)
    _, earlier = known(signed, image_format).chain
    assert earlier.failures == ()
    assert find_marks(signed, image_format) == (Mark.C2PA,)


def actions(content: bytes, image_format: str) -> list[str]:
    return [action["action"] for action in described(content, image_format)["assertions"][0]["data"]["actions"]]


def described(content: bytes, image_format: str) -> dict[str, Any]:
    """The image's own manifest, as the library reads it."""
    manifest = c2pa.Reader(f"image/{image_format}", BytesIO(content)).get_active_manifest()
    assert manifest is not None
    return manifest


def test_a_manifest_names_model_provider_and_time_but_neither_prompt_nor_person() -> None:
    for content in (SMALL["png"], sign(SMALL["png"], "png", ORIGIN, OTHER)):
        action = described(sign(content, "png", ORIGIN, OTHER), "png")["assertions"][0]["data"]["actions"][0]
        assert action["when"] == "2026-08-01T00:00:00+00:00"
        parameters = {name: value for name, value in action["parameters"].items() if name != "ingredients"}
        assert parameters == {
            "aigen-bridge.model": "FLUX 1.1 [pro]",
            "aigen-bridge.provider": "Black Forest Labs",
        }
        assert action.get("softwareAgent") in ({"name": "FLUX 1.1 [pro]"}, None)


@settings(max_examples=30, deadline=None)
@given(prompt=st.text(max_size=2000), user_id=st.text(min_size=1), model=st.text())
def test_a_prompt_and_a_person_are_named_if_the_origin_has_them(prompt: str, user_id: str, model: str) -> None:
    origin = replace(ORIGIN, prompt=prompt, user_id=user_id, model=model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(credentials, "_run", in_this_process)
        signed = sign(SMALL["png"], "png", origin, OTHER)
        assert known(signed, "png").valid
    parameters = described(signed, "png")["assertions"][0]["data"]["actions"][0]["parameters"]
    assert parameters.get("aigen-bridge.prompt") == (storable(prompt) or None)
    assert parameters["aigen-bridge.userId"] == storable(user_id)


def test_a_manifest_has_no_thumbnail_and_takes_five_kilobytes() -> None:
    large = encoded("JPEG", Image.effect_noise((1024, 1024), 60).convert("RGB"))
    for _ in range(3):
        signed = sign(large, "jpeg", ORIGIN, OTHER)
        assert len(signed) - len(large) < 6000
        assert b"thumbnail" not in signed
        large = signed


TAMPERED = {
    "a pixel": lambda content: content.replace(b"IDAT\x78", b"IDAT\x79"),
    "what it says": lambda content: content.replace(b"trainedAlgorithmic", b"trainedAlgorythmic"),
    "the claim version": lambda content: content.replace(b"c2pa.claim.v2", b"c2pa.claim.v9"),
    "an assertion's name": lambda content: content.replace(b"c2pa.actions.v2", b"c2pa.actions.v9"),
    "half of the manifest": lambda content: content[:1500] + bytes(1000) + content[2500:],
}


@pytest.mark.parametrize("tamper", TAMPERED.values(), ids=TAMPERED)
async def test_a_tampered_image_is_not_valid(tamper: Callable[[bytes], bytes]) -> None:
    content = tamper(SIGNED["png"])
    assert content != SIGNED["png"]
    validation = known(content, "png")
    assert not validation.valid
    assert validation.failures
    assert is_valid(content, "png") is False


async def test_a_tampered_image_that_is_signed_again_still_says_what_was_wrong(marker: Marker) -> None:
    content = TAMPERED["a pixel"](SIGNED["png"])
    validation = known(await marked(marker, content, "png"), "png")
    assert validation.valid
    assert validation.chain[1].failures == ("assertion.dataHash.mismatch",)


async def test_an_earlier_manifest_that_was_changed_afterwards_is_not_valid(marker: Marker) -> None:
    content = await marked(marker, SIGNED["jpeg"], "jpeg")
    at = content.index(b"c2pa.created")  # only the earlier manifest says so
    validation = known(content[:at] + b"c2pa.cropped" + content[at + 12 :], "jpeg")
    assert not validation.valid
    assert validation.failures


@settings(deadline=None, max_examples=150)
@given(data=st.data(), image_format=st.sampled_from(["png", "jpeg", "webp"]))
def test_changed_bytes_are_never_an_error(data: st.DataObject, image_format: str) -> None:
    content = bytearray(SIGNED[image_format])
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(12, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(1, len(content)))
    for changed in (bytes(content), bytes(content[:cut])):
        in_this_process({"action": "validate", "format": image_format}, changed)


STORES = {
    "nothing": b"",
    "zeros": bytes(10_000_000),
    "noise": random.Random(1).randbytes(10_000_000),
    "an empty box": manifest_store(),
    "ten megabytes in a box": manifest_store(10_000_000),
}


@pytest.mark.parametrize("store", STORES.values(), ids=STORES)
async def test_a_store_without_a_manifest_is_not_valid_and_never_an_error(marker: Marker, store: bytes) -> None:
    content = carrying("png", SMALL["png"], {"manifest": store})
    assert is_valid(content, "png") in {False, None}
    with suppress(PermanentError):  # what cannot be read cannot be kept, so nothing is signed
        assert known(await marked(marker, content, "png"), "png").valid


@pytest.mark.parametrize("image_format", ["png", "jpeg", "webp"])
async def test_assertions_of_the_future_and_ten_megabytes_are_kept(marker: Marker, image_format: str) -> None:
    content = signed_by_another(SMALL[image_format], image_format)
    assert len(content) > 10_000_000
    accept(content)
    assert known(content, image_format).valid
    signed = await marked(marker, content, image_format)
    accept(signed)
    assert known(signed, image_format).valid
    assert len(known(signed, image_format).chain) == 2
    assert len(signed) > len(content)


def signed_by_another(content: bytes, image_format: str) -> bytes:
    """The image with a manifest that has an assertion of the future and a thumbnail of ten megabytes."""
    manifest: dict[str, Any] = credentials.signing_request(image_format, ORIGIN, OTHER)["created"]
    manifest["assertions"].append({"label": "org.example.future.v99", "data": {"answer": 42}})
    builder = c2pa.Builder(manifest | {"thumbnail": {"format": "image/png", "identifier": "large"}})
    builder.add_resource("large", BytesIO(random.Random(1).randbytes(10_000_000)))
    signer = c2pa.Signer.from_info(c2pa.C2paSignerInfo(b"es256", GOOD.certificate, GOOD.key, None))
    signed = BytesIO()
    builder.sign(signer, f"image/{image_format}", BytesIO(content), signed)
    return signed.getvalue()


def test_names_from_outside_are_made_visible() -> None:
    pair = issued(subject="Adobe\x1b[2J\u202e\n")
    other = replace(OTHER, certificate=pair.certificate.decode(), key=pair.key.decode())
    signer = known(sign(SMALL["png"], "png", ORIGIN, other), "png").chain[0].signer
    assert signer == r"Adobe\x1b[2J\u202e\n, Example"


@pytest.mark.parametrize("usage", USAGES, ids=lambda usage: usage.dotted_string)
def test_certificates_for_every_usage_that_c2pa_allows_are_valid(usage: ObjectIdentifier) -> None:
    pair = issued(usages=[usage])
    other = replace(OTHER, certificate=pair.certificate.decode(), key=pair.key.decode())
    assert is_valid(sign(SMALL["png"], "png", ORIGIN, other), "png")


def test_an_image_without_a_manifest_is_neither_valid_nor_not() -> None:
    assert validate(SMALL["png"], "png") is None
    assert is_valid(SMALL["png"], "png") is None


def test_without_the_library_nothing_is_validated(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials, "is_available", lambda: False)
    assert is_valid(SIGNED["png"], "png") is None


def test_an_image_that_cannot_be_signed_is_not_the_fault_of_the_certificate() -> None:
    with pytest.raises(SigningError) as raised:
        sign(carrying("png", SMALL["png"], {"manifest": b"nonsense"}), "png", ORIGIN, OTHER)
    assert raised.value.fault is Fault.IMAGE


async def test_metadata_is_not_added_to_a_signed_image_which_it_would_invalidate(tmp_path: Path) -> None:
    with contextmanager(opened)(tmp_path, MarkingMode.METADATA) as marker:
        assert await marker.mark(SIGNED["webp"], "webp", ORIGIN) is None
        content, mode = await marker.mark(SMALL["webp"], "webp", ORIGIN) or (b"", None)
        assert mode is MarkingMode.METADATA
        assert find_marks(content, "webp") == (Mark.DIGITAL_SOURCE_TYPE,)


def test_credentials_do_not_show_the_key() -> None:
    assert "PRIVATE" not in repr(OTHER)
