"""The code of the Code nodes, piece by piece."""

import io
import json
from typing import Any

import pybase64
import pytest
from code_nodes import SETTINGS, run, settings
from PIL import Image

from aigen_bridge.contracts import examples

OURS = f"{SETTINGS['bridgeUrl']}/api/v1/influencegen/ai-image-callback"
EVENT = examples.REQUESTED | {"callbackUrl": OURS}
KNOWN = {"requestId": EVENT["requestId"], "correlationId": EVENT["correlationId"], "callbackUrl": OURS, "passOn": {}}
ORDER = {"prompt": "A boat", "width": 64, "height": 48}


def checked(*events: Any, headers: dict[str, str] | None = None, **changes: Any) -> list[dict[str, Any]]:
    inputs = [{"json": {**settings(**changes)["json"], "body": event, "headers": headers or {}}} for event in events]
    return [made["json"] for made in run("main/check-the-event", *inputs)]


def test_a_good_event_becomes_an_order_and_its_trace_goes_on() -> None:
    [made] = checked(EVENT, headers={"traceparent": "00-a-b-01", "cookie": "c"})
    assert (made["route"], made["order"]["width"], made["order"]["height"]) == ("make", 1024, 1024)
    assert made["passOn"] == {"x-correlation-id": EVENT["correlationId"], "traceparent": "00-a-b-01"}


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": " "},
        {"prompt": None},
        {"userId": "me"},
        {"modelId": 7},
        {"resolution": "large"},
        {"resolution": "0x10"},
        {"aspectRatio": None},
        {"seed": 1.5},
        {"seed": "7"},
        {"inferenceSteps": 1.5},
        {"cfgScale": "high"},
        {"negativePrompt": 3},
    ],
    ids=str,
)
def test_a_bad_field_is_refused_by_name(change: dict[str, Any]) -> None:
    [made] = checked(EVENT | change)
    assert (made["route"], made["code"]) == ("refuse", "invalid_event")
    assert next(iter(change)) in made["message"]


def test_only_the_bridge_of_the_settings_is_answered() -> None:
    prefixed, other, absent, nameless, text, nothing = checked(
        EVENT | {"callbackUrl": OURS + ".evil.example.com"},
        EVENT | {"callbackUrl": "https://evil.example.com/api/v1/influencegen/ai-image-callback"},
        {name: value for name, value in EVENT.items() if name != "callbackUrl"},
        EVENT | {"requestId": "no-uuid"},
        "text",
        None,
    )
    assert [made["route"] for made in (prefixed, other, nameless, text, nothing)] == ["stop"] * 5
    assert (absent["route"], absent["callbackUrl"]) == ("make", OURS)
    assert "evil" not in json.dumps([prefixed["message"], other["message"]])


def test_the_table_of_models_has_a_row_for_all_others_or_not() -> None:
    row = {"path": "https://models.example.com/a", "scale": 0.5}
    table: dict[str, Any] = {EVENT["modelId"]: row}
    [own] = checked(EVENT, loras=table)
    [other] = checked(EVENT | {"modelId": EVENT["userId"]}, loras=table)
    [rest] = checked(EVENT | {"modelId": EVENT["userId"]}, loras=table | {"*": None})
    assert (own["order"]["lora"], other["code"], rest["order"]["lora"]) == (row, "unknown_model", None)


def question(change: dict[str, Any], **changes: Any) -> dict[str, Any]:
    [made] = checked(EVENT | change, **changes)
    return dict(made["question"])


def test_what_is_absent_is_not_asked_for() -> None:
    absent = dict.fromkeys(("seed", "inferenceSteps", "cfgScale", "negativePrompt"))
    assert set(question(absent)) == {"prompt", "image_size", "num_images", "output_format"}
    assert question({"seed": 0, "cfgScale": 0})["seed"] == 0


def test_a_negative_prompt_is_folded_in_only_when_the_setting_says_so() -> None:
    assert question({"prompt": "A boat", "negativePrompt": "fog"})["prompt"] == "A boat"
    folded = question({"prompt": "A boat", "negativePrompt": "fog"}, negativePrompt="fold")
    assert folded["prompt"] == "A boat\n\nWithout: fog"


def answer(status: int, body: Any) -> dict[str, Any]:
    return {"statusCode": status, "body": body if isinstance(body, str) else json.dumps(body)}


def drawn(kind: str, **how: Any) -> bytes:
    file = io.BytesIO()
    Image.effect_noise((333, 77), 50).convert("RGB").save(file, kind, **how)
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "how"),
    [
        ("png", {}),
        ("jpeg", {}),
        ("jpeg", {"progressive": True, "exif": b"Exif\0\0" + b"x" * 3000}),
        ("webp", {}),
        ("webp", {"lossless": True}),
        ("webp", {"exif": b"Exif\0\0" + b"x" * 300}),
    ],
)
def test_a_file_is_measured_by_its_own_bytes(kind: str, how: dict[str, Any]) -> None:
    content = drawn(kind, **how)
    [made] = run("main/look-at-the-image", {"json": {}, "file": content})
    assert made["json"]["metadata"] == {"format": kind, "width": 333, "height": 77, "size": len(content)}
    assert (made["binary"]["image"]["mimeType"], made["binary"]["image"]["fileName"]) == (
        f"image/{kind}",
        f"image.{kind}",
    )


def test_what_is_no_image_is_a_failure() -> None:
    files = [b"<html>", drawn("gif"), drawn("png")[:20], drawn("jpeg")[:30]]
    inputs = [*({"json": {}, "file": content} for content in files), {"json": {"details": {"httpCode": "502"}}}]
    made = run("main/look-at-the-image", *inputs, nodes={"Read the AI answer": {"json": {}}})
    assert [one["json"]["code"] for one in made] == ["image_unreadable"] * 4 + ["image_download_failed"]


def told(style: str) -> tuple[dict[str, Any], dict[str, Any]]:
    content = drawn("png")
    nodes = {
        "Settings": settings(callbackStyle=style),
        "Check the event": {"json": KNOWN | {"order": ORDER | {"negativePrompt": "fog"}}},
        "Look at the image": {
            "json": {"metadata": {"format": "png"}, "base64": pybase64.b64encode(content).decode()},
            "file": content,
        },
        "Read the AI answer": {"json": {"url": "https://x.example.com/y.png", "seed": 3, "jobId": "j1"}},
    }
    [made] = run("main/write-the-result", {"json": {"sha256": "ab"}}, nodes=nodes)
    return made["json"], json.loads(made["json"]["event"])


def test_each_style_has_the_image_in_its_own_place() -> None:
    v2, v1, url = told("v2"), told("v1"), told("v1-url")
    assert (v2[0]["url"], v2[0]["way"]) == (OURS.replace("/v1/", "/v2/"), "event and image")
    assert [v1[0]["url"], url[0]["url"]] == [OURS, OURS]
    assert [{"imageData", "imageUrl"} & set(event) for _, event in (v2, v1, url)] == [
        set(),
        {"imageData"},
        {"imageUrl"},
    ]
    assert v2[1]["generation"] == {"seed": 3, "jobId": "j1", "negativePrompt": "not supported by the model"}
    assert v2[1]["executionId"] == "7"


def test_no_half_of_an_emoji_leaves_a_workflow() -> None:
    cut, whole = "x" * 499 + "\ud83c", "x" * 499 + "\N{REPLACEMENT CHARACTER}"
    nodes = {
        "Settings": settings(),
        "Check the event": {"json": KNOWN},
        "Next try at the callback": {"json": {"attempt": 4}},
    }
    [result] = run("main/write-the-result", {"json": {"code": "busy", "message": cut}}, nodes=nodes)
    failure = {"execution": {"id": "3", "error": {"message": cut}}}
    handed_over = {"report": {"errorMessage": "x", "result": {"errorMessage": cut}}}
    crash, undelivered = run("dead-letter/describe-what-happened", {"json": failure}, {"json": handed_over})
    assert json.loads(result["json"]["event"])["errorMessage"] == whole
    assert json.loads(crash["json"]["event"])["errorMessage"] == whole
    assert json.loads(undelivered["json"]["event"])["result"]["errorMessage"] == whole


def bridge(attempt: int, *answers: dict[str, Any]) -> list[dict[str, Any]]:
    nodes = {"Next try at the callback": {"json": {"attempt": attempt}}}
    return [made["json"] for made in run("main/read-the-bridge-answer", *({"json": a} for a in answers), nodes=nodes)]


def test_the_callback_is_tried_again_after_1_2_and_4_seconds_and_only_if_that_can_help() -> None:
    busy, asks, silent = (
        answer(503, ""),
        answer(429, "") | {"headers": {"retry-after": "9"}},
        {"error": {"message": "x"}},
    )
    waits = [bridge(number, busy)[0].get("waitSeconds") for number in (1, 2, 3, 4)]
    assert waits == [1, 2, 4, None]
    assert [made.get("waitSeconds") for made in bridge(1, asks, silent)] == [9, 1]
    far_off = ("9" * 20, "9" * 400, "Fri, 31 Dec 9999 23:59:59 GMT", "-5", "soon")
    asks = [answer(429, "") | {"headers": {"retry-after": value}} for value in far_off]
    assert [made.get("waitSeconds") for made in bridge(1, *asks)] == [300, 300, 300, 1, 1]
    routes = [made["route"] for made in bridge(1, *(answer(code, "") for code in (408, 425, 400, 401, 413)))]
    assert routes == ["again", "again", *["undeliverable"] * 3]


def test_only_the_bridges_own_receipt_delivers_a_callback() -> None:
    receipt = {"requestId": KNOWN["requestId"], "status": "completed", "duplicate": False}
    as_text, as_object = answer(202, receipt), {"statusCode": 202, "body": receipt}
    assert [made["route"] for made in bridge(1, as_text, as_object)] == ["delivered"] * 2
    page = "<!doctype html><title>Back soon</title>"
    strangers = [answer(200, page), answer(202, ""), answer(200, {"ok": True}), answer(302, ""), answer(404, page)]
    assert [made["route"] for made in bridge(1, *strangers)] == ["again"] * 5
    assert [made["route"] for made in bridge(4, *strangers)] == ["undeliverable"] * 5


def test_what_the_bridge_keeps_itself_is_not_handed_over() -> None:
    problem = {"headers": {"content-type": "application/problem+json; charset=utf-8"}}
    routes = [made["route"] for made in bridge(1, *(answer(code, "") | problem for code in (404, 409, 422, 401, 413)))]
    assert routes == ["kept"] * 3 + ["undeliverable"] * 2


def test_a_failed_execution_starts_over_when_a_person_retries_it() -> None:
    nodes = {
        "Write the result": {"json": {"executionId": "7"}},
        "Check the event": {"json": KNOWN},
        "Read the bridge answer": {"json": {"route": "undeliverable", "attempt": 4, "answer": "503"}},
    }
    [failed] = run("main/give-up", {"json": {}}, nodes=nodes, execution="7")
    [again] = run("main/give-up", {"json": {}}, nodes=nodes, execution="8")
    assert "handed over" in failed
    assert again["json"] == {"attempt": 0}


def test_the_dead_letters_pass_over_what_is_seen_to() -> None:
    def failure(message: str) -> dict[str, Any]:
        error = {"message": message, "name": "TypeError"}
        return {"json": {"workflow": {"name": "aigen-main"}, "execution": {"id": "3", "error": error}}}

    failures = failure("Not delivered [seen to]"), failure("x is not a function"), {"json": {}}
    seen_to, crash, wordless = run("dead-letter/describe-what-happened", *failures)
    assert [one["json"]["isNews"] for one in (seen_to, crash, wordless)] == [False, True, True]
    told = crash["json"]["report"]
    assert (told["errorMessage"], told["errorName"]) == ("x is not a function", "TypeError")
    assert wordless["json"]["report"]["errorMessage"] == "The execution failed without a word."


def test_only_the_bridges_own_answer_ends_telling_operations() -> None:
    problem = {"headers": {"content-type": "application/problem+json"}}
    answers = [
        answer(202, {"id": "callback-7"}),
        answer(200, "<title>Back soon</title>"),
        answer(404, "<title>Not Found</title>"),
        answer(404, {"code": "http_404"}) | problem,
    ]
    nodes = {"Next try": {"json": {"attempt": 1}}}
    made = [run("dead-letter/read-the-bridge-answer", {"json": one}, nodes=nodes)[0]["json"] for one in answers]
    assert [one["route"] for one in made] == ["delivered", "again", "again", "undeliverable"]


def test_telling_operations_goes_on_for_a_day() -> None:
    waits = []
    for attempt in range(1, 32):
        nodes = {"Next try": {"json": {"attempt": attempt}}}
        [made] = run("dead-letter/read-the-bridge-answer", {"json": answer(401, "")}, nodes=nodes)
        waits.append(made["json"].get("waitSeconds"))
    assert waits[-1] is None
    assert 24 * 3600 < sum(wait for wait in waits if wait) < 25 * 3600
