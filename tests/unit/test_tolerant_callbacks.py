"""A paid image is not refused for a field that does not matter, nor for the form of one that does."""

import json
import zlib
from typing import Any
from uuid import UUID

import pybase64
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.contracts.envelope import Envelope, contents
from aigen_bridge.contracts.messages import Callback, parse_callback, parse_report, parse_requested
from aigen_bridge.contracts.n8n_failure import NO_WORDS
from aigen_bridge.contracts.refusal import InvalidMessageError, MalformedMultipartError, NotJsonError
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed
from aigen_bridge.domain.dead_letter import RefusedCallback
from callbacks import completed, failed
from stage import make_event

COMMON = settings(max_examples=80, deadline=None, derandomize=True, database=None)
IDS = {"requestId": "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11", "correlationId": "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55"}
IMAGE = b"the bytes of an image"
REPLACED = "\N{REPLACEMENT CHARACTER}"


def event(**fields: Any) -> dict[str, Any]:
    return completed(IDS, IMAGE, **fields)


def beside(**fields: Any) -> dict[str, Any]:
    return event(imageData=None, **fields)


def parse(message: dict[str, Any] | bytes, image: bytes | None = None, *files: bytes, by_hash: bool = False) -> Any:
    body = message if isinstance(message, bytes) else json.dumps(message).encode()
    return parse_callback(Envelope(body, image, files), chosen_by_hash=by_hash)


any_text = st.text() | st.text(st.sampled_from('\ud83d\udfff\0\n é/\\"'))
plain = st.none() | st.booleans() | st.integers() | st.floats() | any_text
junk = plain | st.lists(plain, max_size=3) | st.dictionaries(any_text, plain, max_size=3)
optional = st.dictionaries(
    st.sampled_from(["payloadVersion", "resultExpiresAt", "executionId", "generation", "cost", "x"]), junk
)


@COMMON
@given(optional, any_text.filter(lambda name: name not in event()), junk)
def test_no_junk_in_any_optional_field_refuses_an_image(fields: dict[str, Any], name: str, more: Any) -> None:
    unknown = {} if name in {"imageUrl", *fields} else {name: more}
    found = parse({**event(), **fields, **unknown})
    assert isinstance(found.event, ImageCompleted)
    assert found.event.request_id == UUID(IDS["requestId"])
    assert found.event.image_data == event()["imageData"]
    optional_names = {"payloadVersion", "resultExpiresAt", "executionId", "generation", "cost"}
    assert {ignored.partition(".")[0] for ignored in found.ignored} <= optional_names


@COMMON
@given(st.dictionaries(st.sampled_from(["payloadVersion", "errorCode", "executionId"]), junk))
def test_no_junk_in_any_optional_field_refuses_a_failure(fields: dict[str, Any]) -> None:
    found = parse(failed(IDS, errorCode="busy") | fields)
    assert isinstance(found.event, ImageFailed)
    assert found.event.error_message == "The prompt was flagged."


@pytest.mark.parametrize(
    ("field", "value", "kept", "ignored"),
    [
        ("payloadVersion", 1.1, "1.1", False),
        ("payloadVersion", 2, "2", False),
        ("payloadVersion", None, None, False),
        ("payloadVersion", ["1"], None, True),
        ("payloadVersion", "1" * 21, None, True),
        ("resultExpiresAt", "2026-01-31T12:00:00", None, True),
        ("resultExpiresAt", "2026-01-31", None, True),
        ("resultExpiresAt", "", None, True),
        ("resultExpiresAt", 1767225600, None, True),
        ("resultExpiresAt", {}, None, True),
        ("imageUrl", "", None, False),
        ("imageUrl", " \n", None, False),
        ("imageUrl", "n/a", None, False),
        ("imageUrl", 5, None, False),
        ("imageUrl", None, None, False),
    ],
)
def test_a_wrong_value_is_ignored_and_named(field: str, value: Any, kept: Any, ignored: bool) -> None:  # noqa: FBT001
    for found in (parse(event() | {field: value}), parse(beside() | {field: value}, IMAGE)):
        name = "payload_version" if field == "payloadVersion" else "result_expires_at" if "At" in field else "image_url"
        assert getattr(found.event, name) == kept
        assert found.ignored == ((field,) if ignored else ())


@pytest.mark.parametrize(
    "fields",
    [
        {"requestId": IDS["requestId"].upper()},
        {"requestId": f"{{{IDS['requestId']}}}", "correlationId": f"urn:uuid:{IDS['correlationId']}"},
        {"requestId": IDS["requestId"].replace("-", ""), "correlationId": f" {IDS['correlationId']}\n"},
        {"requestId": IDS["requestId"] + "\0"},
        {"status": " Completed "},
        {"status": "COMPLETED"},
        {"imageMetadata": {"format": "PNG\0", "size": "21", "width": 64.0, "height": "64.0"}},
        {"imageMetadata": {"format": " image/png\n", "size": 21.0, "width": " 64 ", "height": 64, "more": []}},
        {"hashValue": event()["hashValue"].upper() + "\n\0"},
    ],
    ids=str,
)
def test_a_required_value_in_another_form_is_the_same_value(fields: dict[str, Any]) -> None:
    found = parse(event(**fields)).event
    assert (str(found.request_id), str(found.correlation_id)) == tuple(IDS.values())
    metadata = found.image_metadata
    assert (metadata.format.lower().removeprefix("image/"), metadata.size, metadata.width) == ("png", 21, 64)
    assert found.hash_value.lower() == event()["hashValue"]


@pytest.mark.parametrize(
    "fields",
    [
        {"requestId": "5f0c"},
        {"status": "done"},
        {"imageMetadata": {"format": "png", "size": "21 bytes", "width": 64, "height": 64}},
        {"imageMetadata": {"format": "png", "size": 21.5, "width": 64, "height": 64}},
        {"imageMetadata": {"format": "png", "size": "9" * 5000, "width": True, "height": 64}},
        {"imageMetadata": []},
        {"hashValue": None},
        {"imageUrl": "https://images.example/1.png"},
        {"imageData": 5},
    ],
    ids=lambda fields: str(fields)[:40],
)
def test_a_required_value_that_is_wrong_is_refused_by_name(fields: dict[str, Any]) -> None:
    with pytest.raises(InvalidMessageError) as refused:
        parse(event(**fields))
    assert next(iter(fields)) in refused.value.detail


@pytest.mark.parametrize(
    "wrong",
    [
        r"cut \ud83d",
        r"\udf0a and",
        r"\ud83d\ud83d\ude00\ude00",
        r"\\\ud83d",
        "caf\xe9",
        "line\nbreak\t\0",
        r"nul \u0000",
    ],
)
def test_a_text_that_was_cut_or_written_badly_is_read(wrong: str) -> None:
    body = json.dumps(failed(IDS, errorMessage="@", note="@", payloadVersion=7)).replace("@", wrong).encode("latin-1")
    found = parse(body).event
    assert REPLACED in found.error_message or wrong.startswith("line")
    found.error_message.encode()
    assert "\0" not in found.error_message
    assert parse_report(json.dumps({"errorMessage": "@"}).replace("@", wrong).encode("latin-1")).error_message.encode()


def test_whole_pairs_and_escaped_escapes_stay_what_they_are() -> None:
    body = json.dumps(failed(IDS, errorMessage=r"😀 \ud83d", note="\ud83d")).encode()
    assert parse(body).event.error_message == r"😀 \ud83d"


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
def test_a_callback_in_another_encoding_of_json_is_read(encoding: str) -> None:
    assert parse(json.dumps(event()).encode(encoding)).event.image_data


@pytest.mark.parametrize("body", [b"", b"no", b'{"a": 1', b"[" * 100_000, b"\xff\xfe", b'{"a": \\ud83d}'])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    for read in (parse, parse_report, lambda body: parse_requested(body, callback_url="")):
        with pytest.raises(NotJsonError):
            read(body)


def test_a_prompt_that_was_cut_in_an_emoji_is_accepted() -> None:
    """As browsers send such a text. NUL is no text at all: it is refused by the field's name."""
    cut = json.dumps(make_event(prompt="A boat \ud83d", negativePrompt="fog \ude00")).encode()
    found = parse_requested(cut, callback_url="")
    assert (found.prompt, found.negative_prompt) == (f"A boat {REPLACED}", f"fog {REPLACED}")
    with pytest.raises(InvalidMessageError, match="modelId"):
        parse_requested(json.dumps(make_event(modelId="\ud83d")).encode(), callback_url="")
    with pytest.raises(NotJsonError):  # a wrong encoding would change every word
        parse_requested(json.dumps(make_event(prompt="@")).replace("@", "caf\xe9").encode("latin-1"), callback_url="")


def test_of_several_files_none_is_guessed_but_the_hash_can_decide() -> None:
    assert parse(beside(), None, IMAGE) == Callback(parse(beside(), IMAGE).event, IMAGE)
    with pytest.raises(MalformedMultipartError, match="2 files"):
        parse(beside(), None, IMAGE, b"another")
    assert parse(beside(), None, b"another", IMAGE, by_hash=True).image == IMAGE
    with pytest.raises(MalformedMultipartError, match="2 files"):
        parse(beside(), None, b"another", b"third", by_hash=True)


def test_a_file_that_is_not_needed_is_ignored() -> None:
    url = "https://images.example/1.png"
    assert parse(event(), None, b"thumbnail").image is None
    assert parse(beside(imageUrl=url), None, b"thumbnail", b"second").image is None
    assert parse(failed(IDS), None, b"log").image is None
    assert parse(beside(imageUrl="n/a"), None, IMAGE).image == IMAGE


@pytest.mark.parametrize("result", [failed(IDS), json.dumps(failed(IDS))], ids=["object", "text"])
def test_a_report_needs_a_result_or_a_word(result: Any) -> None:
    found = parse_report(json.dumps({"result": result, "errorMessage": None}).encode())
    assert (found.error_message, json.loads(found.result_event or b"")) == (NO_WORDS, failed(IDS))
    assert parse_report(b'{"errorMessage": {"code": 5}}').error_message == '{"code": 5}'
    assert (
        parse_report(b'{"errorMessage": "x", "executionUrl": "https://n8n/%s"}' % (b"x" * 3000)).execution_url is None
    )
    for wordless in (b"{}", b'{"errorMessage": ""}', b'{"errorMessage": "x", "result": [1]}'):
        with pytest.raises(InvalidMessageError):
            parse_report(wordless)


def test_what_an_operator_saves_is_the_body_and_each_image_in_it() -> None:
    def kept(payload: bytes, image: bytes | None = None, **headers: str) -> dict[str, bytes]:
        letter = RefusedCallback(
            client="n8n",
            version="v1",
            request_id=None,
            error_code="x",
            error_detail="x",
            headers=headers,
            payload=payload,
            image=image,
        )
        return contents(letter)

    body = json.dumps(event()).encode()
    assert kept(body) == {"body": body, "image-1.bin": IMAGE}
    assert kept(b"no", IMAGE) == {"body": b"no", "image-1.bin": IMAGE}
    packed = zlib.compress(body)
    assert kept(packed, **{"content-encoding": "deflate"}) == {"body": packed, "image-1.bin": IMAGE}
    assert kept(body, **{"content-encoding": "gzip"})["image-1.bin"] == IMAGE
    assert kept(json.dumps(event(imageData="=")).encode())["body"]
    assert kept(json.dumps(event(imageData="cut \ud83d")).encode())["image-1.bin"] == b"cut ?"
    spelled = "data:image/png;base64," + pybase64.urlsafe_b64encode(IMAGE).decode().rstrip("=")
    assert kept(json.dumps(event(imageData=spelled)).encode())["image-1.bin"] == IMAGE


def test_a_report_of_millions_of_values_is_refused_before_it_takes_gigabytes() -> None:
    with pytest.raises(InvalidMessageError, match="more than 10000 values"):
        parse_report(json.dumps({"errorMessage": "x", "details": [0] * 20_000}).encode())
