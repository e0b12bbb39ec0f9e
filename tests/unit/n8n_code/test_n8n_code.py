"""The code of the Code nodes, piece by piece."""

import io
import json
import time
from typing import Any

import pytest
from code_nodes import SETTINGS, run, settings
from PIL import Image

from aigen_bridge.contracts import examples

OURS = f"{SETTINGS['bridgeUrl']}/api/v1/influencegen/ai-image-callback"
EVENT = examples.REQUESTED | {"callbackUrl": OURS}
KNOWN = {"requestId": EVENT["requestId"], "correlationId": EVENT["correlationId"], "callbackUrl": OURS, "passOn": {}}
ORDER = {"prompt": "A boat", "width": 64, "height": 48}


def checked(
    *events: Any, headers: dict[str, str] | None = None, expected: str | None = None, **changes: Any
) -> list[dict[str, Any]]:
    arrived = [{"json": {**settings(**changes)["json"], "body": event, "headers": headers or {}}} for event in events]
    signed = {"json": {} if expected is None else {"expected": expected}}
    return [run("main/check-the-event", signed, nodes={"Settings": one})[0]["json"] for one in arrived]


def test_a_good_event_becomes_an_order_and_its_trace_goes_on() -> None:
    [made] = checked(EVENT, headers={"traceparent": "00-a-b-01", "cookie": "c"})
    assert (made["route"], made["order"]["width"], made["order"]["height"]) == ("make", 1024, 1024)
    assert made["passOn"] == {"x-correlation-id": EVENT["correlationId"], "traceparent": "00-a-b-01"}
    assert json.loads(made["headers"]) == made["passOn"]


def test_the_first_question_to_the_bridge_has_a_key_of_its_own() -> None:
    one, other = checked(EVENT, EVENT)
    body = json.loads(one["body"])
    assert one["url"] == OURS.replace("ai-image-callback", f"ai-image-requests/{EVENT['requestId']}/generation")
    assert body == {"correlationId": EVENT["correlationId"], "executionId": "7", "askKey": one["ask"]["askKey"]}
    assert one["ask"]["askKey"] != other["ask"]["askKey"]


def test_a_synchronous_call_tells_how_long_it_is_silent() -> None:
    [synchronous], [queued] = checked(EVENT, aiMode="sync", aiTimeoutSeconds=60), checked(EVENT)
    assert (json.loads(synchronous["body"])["quietFor"], synchronous["aiTimeout"]) == (490, 60_000)
    assert ("quietFor" in json.loads(queued["body"]), queued["aiTimeout"]) == (False, 30_000)


def signed(*signatures: str, age: float = 0, expected: str | None = "right=", **changes: Any) -> str:
    """Which way an event with these signatures goes."""
    headers = {"webhook-timestamp": f"{time.time() - age:.0f}", "webhook-signature": " ".join(signatures)}
    [made] = checked(EVENT, headers=headers, expected=expected, **{"verifySignature": True} | changes)
    return str(made["route"])


def test_the_webhook_takes_any_right_one_of_ten_signatures() -> None:
    assert signed("v1,right=") == signed("v1,other", "v1,right=") == signed("v1a,x", "v1,right=", age=-290) == "make"
    assert signed(*["v1,x"] * 9, "v1,right=") == "make"
    assert signed(*["v1,x"] * 10, "v1,right=") == "forged"


@pytest.mark.parametrize(
    ("signatures", "age", "expected"),
    [
        (["v1,wrong="], 0, "right="),
        (["right="], 0, "right="),
        (["v1,right"], 0, "right="),
        (["v1,right=="], 0, "right="),
        ([""], 0, "right="),
        (["v1,"], 0, ""),
        (["v1,right="], 310, "right="),
        (["v1,right="], -310, "right="),
        (["v1,undefined"], 0, None),
    ],
    ids=["wrong", "no version", "cut", "longer", "none", "empty", "old", "of the future", "not computed"],
)
def test_a_forged_or_old_signature_is_refused(signatures: list[str], age: float, expected: str | None) -> None:
    assert signed(*signatures, age=age, expected=expected) == "forged"


def test_without_a_secret_nothing_is_checked() -> None:
    assert signed("v1,wrong", expected=None, verifySignature=False) == "make"


def test_what_is_forged_leaves_nothing_behind_and_a_broken_check_is_acknowledged_first() -> None:
    assert checked(EVENT, verifySignature=True) == [{"route": "forged"}]
    [broken] = checked(EVENT, loras=None)
    assert (broken["route"], "The workflow failed" in broken["message"]) == ("stop", True)


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
    assert json.loads(own["question"])["loras"] == [row]
    assert (own["order"]["lora"], other["code"], "lora" in rest["order"]) == (row["path"], "unknown_model", False)


def question(change: dict[str, Any], **changes: Any) -> dict[str, Any]:
    [made] = checked(EVENT | change, **changes)
    return dict(json.loads(made["question"]))


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
    [made] = run("main/look-at-the-image", {"json": {}, "file": content}, nodes=LOOKED)
    assert made["json"]["metadata"] == {"format": kind, "width": 333, "height": 77, "size": len(content)}
    assert made["json"]["sha256"] == "ab"


def test_what_is_no_image_is_a_failure() -> None:
    files = [b"<html>", drawn("gif"), drawn("png")[:20], drawn("jpeg")[:30]]
    inputs = [*({"json": {}, "file": content} for content in files), {"json": {"details": {"httpCode": "404"}}}]
    made = run("main/look-at-the-image", *inputs, nodes=LOOKED)
    assert [one["json"]["code"] for one in made] == ["image_unreadable"] * 4 + ["image_download_failed"]


LOOKED = {"Check the event": {"json": KNOWN | settings()["json"]}, "Hash the image": {"json": {"sha256": "ab"}}}
LOOKED["An image?"] = {"json": {}}
ANSWER = {
    "images": [{"url": "https://x.example.com/y.png", "width": 64, "height": 48}],
    "seed": 3,
    "timings": {"inference": 3.1},
    "has_nsfw_concepts": [False],
}


def told(style: str, meta: dict[str, Any] | None = None, **changes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What "Write the result" makes of an image, and the event in it; `changes` are settings, or what is known."""
    found = {name: changes.pop(name) for name in ("metadata", "base64", "body") if name in changes}
    known = KNOWN | {"order": ORDER | {"negativePrompt": "fog"}} | settings(callbackStyle=style, **changes)["json"]
    nodes = {
        "Check the event": {"json": known},
        "Fetch the image": {"json": {}, "file": b"x", "meta": {"mimeType": "image/png", "bytes": 235} | (meta or {})},
        "Read the submission": {"json": {"job": {"jobId": "j1", "since": 5}}},
    }
    [made] = run("main/write-the-result", {"json": {"sha256": "ab", "body": ANSWER} | found}, nodes=nodes)
    return made["json"], json.loads(made["json"].get("event", "{}"))


def test_each_style_has_the_image_in_its_own_place() -> None:
    metadata = {"format": "png", "size": 235, "width": 64, "height": 48}
    v2, v1, url = told("v2"), told("v1", metadata=metadata, base64="eA=="), told("v1-url")
    assert (v2[0]["url"], v2[0]["way"]) == (OURS.replace("/v1/", "/v2/"), "event and image")
    assert [v1[0]["url"], url[0]["url"]] == [OURS, OURS]
    assert [{"imageData", "imageUrl"} & set(event) for _, event in (v2, v1, url)] == [
        set(),
        {"imageData"},
        {"imageUrl"},
    ]
    assert [event["imageMetadata"] for _, event in (v2, v1, url)] == [metadata] * 3
    assert v2[1]["executionId"] == "7"


def test_the_bytes_are_read_only_when_what_was_said_is_incomplete_or_not_what_was_ordered() -> None:
    unsure = [
        told("v2", {"mimeType": "application/octet-stream"}),
        told("v2", {"mimeType": "image/jpeg"}),
        told("v2", {"bytes": None}),
        told("v2", body=ANSWER | {"images": [{"url": "https://x.example.com/y.png"}]}),
        told("v2", body=ANSWER | {"images": [{"url": "https://x.example.com/y.png", "width": 65, "height": 48}]}),
        told("v1"),
    ]
    assert [made for made, _ in unsure] == [{"way": "look"}] * 6
    assert told("v2", {"bytes": None}, metadata={"format": "webp"})[0]["way"] == "event and image"


def test_how_an_image_was_made_is_told() -> None:
    facts = {
        "provider": "fal",
        "model": "fal-ai/flux-lora",
        "jobId": "j1",
        "seed": 3,
        "seconds": 3.1,
        "hasNsfwConcepts": [False],
        "negativePrompt": "ignored",
    }
    assert told("v2")[1]["generation"] == facts
    assert told("v2", negativePrompt="fold")[1]["generation"]["negativePrompt"] == "folded"
    assert "cost" not in told("v2")[1]


def test_the_cost_is_estimated_from_the_price_of_the_settings() -> None:
    per_image = told("v2", price={"amount": "0.035", "currency": "USD", "per": "image"})[1]["cost"]
    per_megapixel = told("v2", price={"amount": 0.5, "currency": "EUR", "per": "megapixel"})[1]["cost"]
    assert per_image == {"amount": "0.035", "currency": "USD", "basis": "estimated", "units": 1, "unit": "image"}
    assert (per_megapixel["amount"], per_megapixel["units"]) == ("0.001536", 0.003072)
    assert "cost" not in told("v2", price={"amount": "free", "currency": "USD", "per": "image"})[1]


def test_a_failure_says_how_it_came_about_and_what_an_image_cost_that_nobody_gets() -> None:
    price = {"amount": "0.035", "currency": "USD", "per": "image"}
    known = KNOWN | {"order": ORDER} | settings(price=price)["json"]
    nodes = {"Check the event": {"json": known}, "Read the submission": {"json": {"job": {"jobId": "j1", "since": 5}}}}
    withheld = {"json": {"code": "nsfw_content", "message": "No.", "body": ANSWER}}
    refused = {"json": {"code": "busy", "message": "No.", "body": {"detail": "No."}}}
    early = {"json": {"code": "invalid_event", "message": "No."}}
    events = [
        json.loads(made["json"]["event"])
        for made in run("main/write-the-result", withheld, refused, early, nodes=nodes)
    ]
    assert [one["generation"]["jobId"] for one in events[:2]] == ["j1", "j1"]
    assert ["cost" in one for one in events] == [True, False, False]
    assert "generation" not in events[2]


def test_no_half_of_an_emoji_leaves_a_workflow() -> None:
    cut, whole = "x" * 499 + "\ud83c", "x" * 499 + "\N{REPLACEMENT CHARACTER}"
    nodes = {"Check the event": {"json": KNOWN | settings()["json"]}}
    [result] = run("main/write-the-result", {"json": {"code": "busy", "message": cut}}, nodes=nodes)
    failure = {"execution": {"id": "3", "error": {"message": cut}}}
    handed_over = {"report": {"errorMessage": "x", "result": {"errorMessage": cut}}}
    crash, undelivered = run("dead-letter/describe-what-happened", {"json": failure}, {"json": handed_over})
    assert json.loads(result["json"]["event"])["errorMessage"] == whole
    assert json.loads(crash["json"]["event"])["errorMessage"] == whole
    assert json.loads(undelivered["json"]["event"])["result"]["errorMessage"] == whole


def bridge(attempt: int, *answers: dict[str, Any]) -> list[dict[str, Any]]:
    nodes = {"Sign the result": {"json": {"attempt": attempt}}, "Write the result": {"json": {}, "file": b"x"}}
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
    assert [made.get("waitSeconds") for made in bridge(1, *asks)] == [60, 60, 60, 1, 1]
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


def test_an_image_about_which_something_wrong_was_said_is_read_and_sent_again_once() -> None:
    refused = answer(422, {"detail": "imageMetadata.width says 65, the image has 64."})
    refused |= {"headers": {"content-type": "application/problem+json"}}
    nodes = {"Sign the result": {"json": {"attempt": 1}}, "Write the result": {"json": {}, "file": b"x"}}
    [first] = run("main/read-the-bridge-answer", {"json": refused}, nodes=nodes)
    nodes["Sign the result"]["json"]["isLooked"] = True
    [second] = run("main/read-the-bridge-answer", {"json": refused}, nodes=nodes)
    assert (first["json"]["route"], "image" in first["binary"], second["json"]["route"]) == ("look", True, "kept")


def test_a_retry_by_a_person_sends_the_result_once_more_and_then_fails_too() -> None:
    nodes = {
        "Write the result": {"json": {"executionId": "7", "event": "{}"}},
        "Sign the result": {"json": {"executionId": "7", "event": "{}"}},
        "Check the event": {"json": KNOWN},
        "Read the bridge answer": {"json": {"route": "undeliverable", "attempt": 4, "answer": "503"}},
    }
    [failed] = run("main/give-up", {"json": {}}, nodes=nodes, execution="7")
    [again] = run("main/give-up", {"json": {}}, nodes=nodes, execution="8")
    [nodes["Sign the result"]] = run("main/next-try-at-the-callback", again, nodes=nodes, execution="8")
    [failed_too] = run("main/give-up", {"json": {}}, nodes=nodes, execution="8")
    assert "handed over" in failed
    assert (again["json"], nodes["Sign the result"]["json"]["attempt"]) == ({"attempt": 0}, 1)
    assert failed_too == failed


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
