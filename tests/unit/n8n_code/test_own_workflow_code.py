"""The Code nodes of the example workflow: what an answer of the AI service means, and what is sent."""

import io
import json
from typing import Any

import pybase64
import pytest
from code_nodes import CODE, run
from PIL import Image

from aigen_bridge.contracts import examples
from aigen_bridge.contracts.facts import read_facts
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, callback_event

EXAMPLE = json.loads((CODE.parent / "examples/own-workflow.json").read_text())
REQUEST = {"json": {"body": examples.DISPATCHED}}
SETTINGS = {"refusals": 0, "provider": "example", "model": "example-image-1", "cost": {}}
ERROR = {"error": {"message": "Not now.", "type": "requests", "code": "rate_limit_exceeded"}}
PAGE = "<html>Please wait</html>"


@pytest.fixture(scope="module")
def code(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Files with the code of the Code nodes, as `run` takes them."""
    folder = tmp_path_factory.mktemp("code")
    nodes = {node["name"]: node["parameters"] for node in EXAMPLE["nodes"] if "jsCode" in node["parameters"]}
    for name, parameters in nodes.items():
        (folder / f"{name}.js").write_text(parameters["jsCode"])
    return {name: str(folder / name) for name in nodes}


def read(code: dict[str, str], *answers: dict[str, Any], **settings: Any) -> list[Any]:
    nodes = {"A request arrives": REQUEST, "Settings": {"json": SETTINGS | settings}}
    return run(code["Read the answer"], *({"json": answer} for answer in answers), nodes=nodes)


def answer(status: int, body: Any) -> dict[str, Any]:
    return {"statusCode": status, "body": body if isinstance(body, str) else json.dumps(body)}


def error(code: str, message: str) -> dict[str, Any]:
    return {"error": {"code": code, "message": message}}


def test_what_may_have_been_paid_for_ends_without_a_word(code: dict[str, str]) -> None:
    unsure = [
        error("ECONNABORTED", "timeout of 120000ms exceeded"),
        error("ECONNRESET", "socket hang up"),
        error("", "The connection was aborted, perhaps the server is offline"),
        answer(200, PAGE),
        answer(302, ""),
        answer(408, ERROR),
        answer(500, PAGE),
        answer(502, PAGE),
        answer(503, PAGE),
        answer(504, ERROR),
    ]
    assert read(code, *unsure) == [None] * len(unsure)


def test_what_surely_cost_nothing_is_tried_twice_more_and_then_reported(code: dict[str, str]) -> None:
    refusals = [answer(429, ERROR), answer(503, ERROR), error("ECONNREFUSED", "connect"), error("ENOTFOUND", "dns")]
    assert [made["json"] for made in read(code, *refusals, refusals=1)] == [{"route": "refused", "refusals": 2}] * 4

    reported = [made["json"] for made in read(code, *refusals, refusals=2)]
    assert {made["route"] for made in reported} == {"failed"}
    assert [made["code"] for made in reported] == ["rate_limit_exceeded"] * 2 + ["ai_unreachable"] * 2


def test_a_call_that_was_not_made_for_want_of_a_grant_is_no_refusal(code: dict[str, str]) -> None:
    [made] = read(code, error("ERR_INVALID_URL", "Invalid URL: no-valid-grant"), refusals=1)
    assert made["json"] == {"route": "refused", "refusals": 1}


def test_a_verdict_is_reported_with_the_code_and_words_of_the_service(code: dict[str, str]) -> None:
    bare = {"error": {"message": "It broke.", "type": "server_error", "code": None}}
    verdicts = [answer(400, ERROR), answer(500, bare), answer(404, PAGE), answer(200, {"created": 1, "data": []})]
    assert [(made["json"]["route"], made["json"]["code"]) for made in read(code, *verdicts)] == [
        ("failed", "rate_limit_exceeded"),
        ("failed", "server_error"),
        ("failed", "ai_http_404"),
        ("failed", "ai_no_image"),
    ]


def test_a_wrong_address_or_key_in_n8n_fails_the_execution(code: dict[str, str]) -> None:
    wrong = [error("", "Invalid URL: images"), error("", "Credentials not found")]
    for told in read(code, *wrong):
        assert "nothing was submitted" in told


def test_a_file_that_is_no_png_stays_in_the_execution(code: dict[str, str]) -> None:
    image = {"created": 1, "data": [{"b64_json": "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"}]}
    [told] = read(code, answer(200, image))
    assert "not a PNG" in told


def test_an_image_becomes_a_completed_event(code: dict[str, str]) -> None:
    png = _png(48, 32)
    [made] = read(code, answer(200, {"created": 1, "data": [{"b64_json": pybase64.b64encode(png).decode()}]}))
    assert made["json"]["metadata"] == {"format": "png", "width": 48, "height": 32, "size": len(png)}
    assert pybase64.b64decode(made["binary"]["image"]["data"]) == png

    cost = {"amount": "0.04", "currency": "USD", "basis": "estimated"}
    [written] = _written(code, {"json": made["json"] | {"sha256": "ab" * 32}}, png, cost=cost)
    event = callback_event.validate_json(written["event"])
    assert isinstance(event, ImageCompleted)
    assert event.image_metadata.width == 48
    facts, ignored = read_facts(event.generation, event.cost)
    assert (ignored, facts.cost and facts.cost.currency) == ([], "USD")
    assert facts.generation
    assert (facts.generation.model, facts.generation.negative_prompt) == ("example-image-1", "ignored")


def test_a_failure_becomes_a_failed_event(code: dict[str, str]) -> None:
    [written] = _written(code, {"json": {"route": "failed", "code": "busy", "message": "cut \ud83d"}})
    event = callback_event.validate_json(written["event"])
    assert isinstance(event, ImageFailed)
    assert (event.error_code, event.error_message) == ("busy", "cut \N{REPLACEMENT CHARACTER}")
    assert "cost" not in json.loads(written["event"])


def test_the_next_try_has_the_same_event_and_id_and_counts(code: dict[str, str]) -> None:
    before = {"tries": 4, "executionId": "7", "messageId": "msg_1", "event": "{}", "timestamp": "1"}
    nodes = {"A request arrives": REQUEST, "Settings": {"json": SETTINGS}, "Sign": {"json": before}}
    node, said = code["Write the event"], {"json": {"statusCode": 503}}
    [again] = run(node, said, nodes=nodes)
    [last] = run(node, said, nodes=nodes | {"Sign": {"json": before | {"tries": 240}}})
    [retried] = run(node, said, nodes=nodes | {"Sign": {"json": before | {"tries": 240}}}, execution="8")

    assert (again["json"]["tries"], again["json"]["event"], again["json"]["messageId"]) == (5, "{}", "msg_1")
    assert int(again["json"]["timestamp"]) > 1
    assert "Retry sends it again" in last
    assert (retried["json"]["tries"], retried["json"]["event"]) == (1, "{}")


def _written(code: dict[str, str], found: dict[str, Any], png: bytes = b"", **settings: Any) -> list[dict[str, Any]]:
    nodes = {
        "A request arrives": REQUEST,
        "Settings": {"json": SETTINGS | settings},
        "Read the answer": {"file": png},
    }
    return [made["json"] for made in run(code["Write the event"], found, nodes=nodes)]


def _png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (width, height)).save(file, "png")
    return file.getvalue()
