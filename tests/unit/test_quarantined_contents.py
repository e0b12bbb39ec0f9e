"""What a callback in quarantine promised beside what it holds, for every body that may arrive."""

import hashlib
import json
from dataclasses import replace
from typing import Any

import pybase64
import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.contracts.quarantined import BODY_MAX, examine, image_of
from aigen_bridge.domain.dead_letter import N8N_REPORT, RefusedCallback
from aigen_bridge.sim.drawing import draw

PNG = draw("a", seed=1, width=80, height=64, image_format="png")
EVENT: dict[str, Any] = {
    "status": "completed",
    "imageMetadata": {"format": "PNG", "size": len(PNG), "width": "80", "height": 64},
    "hashValue": hashlib.sha256(PNG).hexdigest().upper(),
}


def refused(payload: bytes, image: bytes | None = None, version: str = "v1", **headers: str) -> RefusedCallback:
    return RefusedCallback(
        client="n8n",
        version=version,
        request_id=None,
        error_code="x",
        error_detail="x",
        headers=headers,
        payload=payload,
        image=image,
    )


def broken(kept: RefusedCallback) -> list[str]:
    [image] = examine(kept).images
    return [each.what for each in image.compared if not each.is_kept]


def test_what_is_kept_is_said_however_it_was_written() -> None:
    assert broken(refused(json.dumps(EVENT).encode(), PNG)) == []


@pytest.mark.parametrize(
    ("field", "value", "what"),
    [("format", "webp", "Format"), ("size", 1, "Size"), ("width", 81, "Width"), ("height", "tall", "Height")],
)
def test_what_is_not_kept_is_named(field: str, value: Any, what: str) -> None:
    event = EVENT | {"imageMetadata": EVENT["imageMetadata"] | {field: value}}
    assert broken(refused(json.dumps(event).encode(), PNG)) == [what]


def test_an_image_in_the_message_is_found_and_its_base64_is_not_shown() -> None:
    data = pybase64.b64encode(PNG).decode()
    kept = refused(json.dumps(EVENT | {"imageData": data}).encode())
    found = examine(kept)
    assert data not in found.message
    assert f"({len(data):,} characters)" in found.message
    assert image_of(kept, 1) == (PNG, "image/png")
    assert broken(kept) == []


def test_the_result_inside_a_refused_report_of_n8n_is_compared() -> None:
    report = {"errorMessage": "No answer.", "result": EVENT}
    kept = refused(json.dumps(report).encode(), PNG, N8N_REPORT)
    assert broken(kept) == []
    assert broken(replace(kept, image=PNG + b"\0")) == ["Size", "SHA-256"]


@pytest.mark.parametrize("depth", [40, 900, 100_000])
def test_a_message_is_shown_to_some_depth(depth: int) -> None:
    for begin, end in (('{"a":', "}"), ("[", "]")):
        found = examine(refused(f'{{"x":{begin * depth}"end"{end * depth}}}'.encode()))
        assert ("end" in found.message) is (depth == 40)


def test_only_images_are_shown() -> None:
    pages = (b"<html>", b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"GIF89a\1\0\1\0", b"%PDF-1.7", PNG[:20])
    for content in pages:
        kept = refused(b"{}", content)
        assert image_of(kept, 1) is None
        assert examine(kept).images[0].media_type is None


def test_an_image_with_too_many_pixels_is_not_shown() -> None:
    wide = PNG[:16] + (2**31 - 1).to_bytes(4) * 2 + PNG[24:]
    assert image_of(refused(b"{}", wide), 1) is None


@pytest.mark.parametrize("address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", ""])
def test_only_an_address_of_the_web_is_a_link(address: str) -> None:
    """A callback may carry a header with the name under which N8N's address is kept."""
    assert examine(refused(b"{}", **{"execution-url": address})).execution_url is None


@given(st.binary(max_size=200) | st.recursive(st.none() | st.integers() | st.text(), st.lists).map(str).map(str.encode))
def test_no_body_is_too_strange(payload: bytes) -> None:
    for version in ("v1", "v2", N8N_REPORT):
        found = examine(refused(payload, payload, version))
        assert len(found.message) <= BODY_MAX + 1


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "imageMetadata": st.none()
            | st.lists(st.integers())
            | st.dictionaries(st.text(), st.integers() | st.text()),
            "hashValue": st.none() | st.integers() | st.text(),
            "imageData": st.none() | st.integers() | st.text(),
            "imageUrl": st.none() | st.integers() | st.text(),
            "result": st.none() | st.text() | st.dictionaries(st.text(), st.text()),
        },
    )
)
def test_no_message_is_too_strange(event: dict[str, Any]) -> None:
    for version in ("v1", N8N_REPORT):
        examine(refused(json.dumps(event).encode(), PNG, version))
