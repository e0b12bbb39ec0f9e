"""The code of the Code nodes, piece by piece."""

import io
import json
import time
from typing import Any

import pytest
from code_nodes import SETTINGS, run, settings
from PIL import Image

from aigen_bridge.contracts import examples
from aigen_bridge.contracts.models import estimated_cost
from aigen_bridge.domain.money import amount_text

OURS = f"{SETTINGS['bridgeUrl']}/api/v1/influencegen/ai-image-callback"
EVENT = examples.REQUESTED | {"callbackUrl": OURS}
KNOWN = {"requestId": EVENT["requestId"], "correlationId": EVENT["correlationId"], "callbackUrl": OURS, "passOn": {}}
QUEUE = "https://queue.fal.run/fal-ai/flux-lora"
ORDER = {"url": QUEUE, "isQueued": True, "width": 64, "height": 48, "format": "png", "price": None}
MODEL = {
    "modelId": EVENT["modelId"],
    "name": "Watercolor",
    "provider": {"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux-krea-lora"},
    "supports": {"negativePrompt": False, "seed": True},
}
"""An entry of the bridge's catalogue, with what it must have."""


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


def test_the_entry_of_the_catalogue_decides_not_the_settings() -> None:
    loras = [{"path": "https://models.example.com/a", "scale": 0.5}, {"path": "https://models.example.com/b"}]
    price = {"amount": "0.035", "currency": "USD", "per": "image"}
    entry = MODEL | {"loras": loras, "format": "jpeg", "price": price}
    [made] = checked(EVENT | {"model": entry}, loras={}, price=price | {"currency": "EUR"})
    asked = json.loads(made["question"])
    assert (asked["loras"], asked["output_format"]) == ([loras[0], loras[1] | {"scale": 1}], "jpeg")
    assert made["order"] == ORDER | {
        "url": entry["provider"]["endpoint"],
        "width": 1024,
        "height": 1024,
        "format": "jpeg",
        "price": price,
        "lora": f"{loras[0]['path']}, {loras[1]['path']}",
        "negativePrompt": "ignored",
    }


def test_without_an_entry_the_settings_decide() -> None:
    for absent in ({}, {"model": None}):
        [made] = checked(EVENT | absent, price={"amount": "1"}, outputFormat="jpeg")
        assert (made["order"]["url"], made["order"]["isQueued"]) == (SETTINGS["aiUrl"], True)
        assert (made["order"]["price"], made["order"]["format"]) == ({"amount": "1"}, "jpeg")


def test_what_the_request_leaves_out_is_the_default_of_the_entry() -> None:
    ranges = {"steps": {"min": 1, "max": 50, "default": 30}, "cfgScale": {"min": 0, "max": 9, "default": 0}}
    entry, absent = MODEL | ranges, dict.fromkeys(("inferenceSteps", "cfgScale"))
    chosen = question({"model": entry, "inferenceSteps": 12, "cfgScale": 7.5})
    default = question({"model": entry} | absent)
    assert (chosen["num_inference_steps"], chosen["guidance_scale"]) == (12, 7.5)
    assert (default["num_inference_steps"], default["guidance_scale"]) == (30, 0)
    assert not {"num_inference_steps", "guidance_scale", "loras"} & set(question({"model": MODEL} | absent))


def test_a_model_gets_only_what_it_supports() -> None:
    person = {"prompt": "A boat", "seed": 7, "negativePrompt": "fog"}
    both = question(person | {"model": MODEL | {"supports": {"negativePrompt": True, "seed": True}}})
    neither = question(person | {"model": MODEL | {"supports": {"negativePrompt": False, "seed": False}}})
    unsaid = question(person | {"model": {name: MODEL[name] for name in ("name", "provider")}})
    folded = question(person | {"model": MODEL}, negativePrompt="fold")
    assert (both["prompt"], both["negative_prompt"], both["seed"]) == ("A boat", "fog", 7)
    assert not {"negative_prompt", "seed"} & set(neither)
    assert ("negative_prompt" in unsaid, unsaid["seed"]) == (False, 7)
    assert folded["prompt"] == "A boat\n\nWithout: fog"
    [made] = checked(EVENT | {"model": MODEL | {"supports": {"negativePrompt": True}}}, negativePrompt="fold")
    assert made["order"]["negativePrompt"] == "used"


def test_the_kind_of_the_provider_says_how_the_model_is_called() -> None:
    synchronous = MODEL | {"provider": {"kind": "fal-sync", "endpoint": "https://queue.fal.run/a"}}
    [one], [other] = checked(EVENT | {"model": synchronous}), checked(EVENT | {"model": MODEL}, aiMode="sync")
    assert (one["order"]["isQueued"], one["aiTimeout"], one["quietFor"]) == (False, 60_000, 490)
    assert (other["order"]["isQueued"], other["aiTimeout"], "quietFor" in other) == (True, 30_000, False)
    for kind in ("replicate", "toString", ""):
        [made] = checked(EVENT | {"model": MODEL | {"provider": {"kind": kind, "endpoint": QUEUE}}})
        assert (made["route"], made["code"]) == ("refuse", "unknown_provider")
        assert "fal and fal-sync" in made["message"]


@pytest.mark.parametrize(
    "endpoint",
    [
        "https://evil.example.com/fal-ai/flux-lora",
        "https://queue.fal.run.evil.example.com/",
        "https://queue.fal.run@evil.example.com/",
        "https://queue.fal.run:444/",
        "http://queue.fal.run/",
        "https://queue.fal.run\\@evil.example.com/",
        "//queue.fal.run/",
        "",
    ],
)
def test_a_model_elsewhere_never_gets_the_key_of_the_ai_service(endpoint: str) -> None:
    [made] = checked(EVENT | {"model": MODEL | {"provider": {"kind": "fal", "endpoint": endpoint}}})
    assert (made["route"], made["code"], "question" in made) == ("refuse", "endpoint_not_allowed", False)


def test_a_model_elsewhere_works_once_the_settings_have_its_origin() -> None:
    entry = MODEL | {"provider": {"kind": "fal", "endpoint": "https://ai.example.com:443/flux"}}
    [refused] = checked(EVENT | {"model": entry}, aiOrigins=["https://other.example.com"])
    assert 'Add "https://ai.example.com" to aiOrigins in n8n/settings.json' in refused["message"]
    for origin in ("https://AI.example.com", "https://ai.example.com/", "https://ai.example.com:443/flux"):
        [made] = checked(EVENT | {"model": entry}, aiOrigins=[origin])
        assert (made["route"], made["order"]["url"]) == ("make", "https://ai.example.com:443/flux")
        [made] = checked(EVENT | {"model": entry}, aiOrigins=origin)
        assert (made["route"], made["order"]["url"]) == ("make", "https://ai.example.com:443/flux")


@pytest.mark.parametrize(
    "model",
    ["text", [], {}, {"provider": None}, {"provider": {"kind": "fal"}}, MODEL | {"loras": {}}, MODEL | {"loras": [1]}],
    ids=str,
)
def test_an_entry_that_is_none_is_refused(model: Any) -> None:
    [made] = checked(EVENT | {"model": model})
    assert (made["route"], made["code"]) == ("refuse", "invalid_event")
    assert "model must be" in made["message"]


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
    """What "Write the result" makes of an image, and the event in it; `changes` are of the order, or what is known."""
    found = {name: changes.pop(name) for name in ("metadata", "base64", "body") if name in changes}
    known = KNOWN | {"order": ORDER | changes} | settings(callbackStyle=style)["json"]
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
    assert told("v2", negativePrompt="ignored")[1]["generation"] == facts
    other = told("v2", url="https://queue.fal.run/fal-ai/flux-krea-lora/", lora="a, b")[1]["generation"]
    assert (other["model"], other["lora"]) == ("fal-ai/flux-krea-lora", "a, b")
    assert "cost" not in told("v2")[1]


def test_the_cost_is_estimated_from_the_price() -> None:
    per_image = told("v2", price={"amount": "0.035", "currency": "USD", "per": "image"})[1]["cost"]
    per_megapixel = told("v2", price={"amount": 0.5, "currency": "EUR", "per": "megapixel"})[1]["cost"]
    assert per_image == {"amount": "0.035", "currency": "USD", "basis": "estimated", "units": 1, "unit": "image"}
    assert (per_megapixel["amount"], per_megapixel["units"]) == ("0.001536", 0.003072)
    assert "cost" not in told("v2", price={"amount": "free", "currency": "USD", "per": "image"})[1]


@pytest.mark.parametrize("amount", ["0", "2.50", "0.035", "999999.999999999", "0.000000005", "1", "0.123456789"])
@pytest.mark.parametrize(
    "size", [(16, 16), (64, 48), (1000, 1000), (1024, 1024), (1344, 768), (500, 1000), (1001, 500)]
)
def test_the_cost_is_the_bridges_own_estimate_to_the_last_digit(amount: str, size: tuple[int, int]) -> None:
    price = {"amount": amount, "currency": "USD", "per": "megapixel"}
    width, height = size
    cost = told("v2", metadata={"format": "png"}, price=price, width=width, height=height)[1]["cost"]
    expected = estimated_cost({"price": price}, {"resolution": f"{width}x{height}"})
    assert expected is not None
    assert cost["amount"] == amount_text(expected.amount)


def failure(**found: Any) -> dict[str, Any]:
    """The event that "Write the result" makes of a failure, with a price."""
    price = {"amount": "0.035", "currency": "USD", "per": "image"}
    known = KNOWN | {"order": ORDER | {"price": price}} | settings()["json"]
    nodes = {"Check the event": {"json": known}, "Read the submission": {"json": {"job": {"jobId": "j1", "since": 5}}}}
    [made] = run("main/write-the-result", {"json": {"message": "No.", **found}}, nodes=nodes)
    return dict(json.loads(made["json"]["event"]))


def test_a_failure_says_how_it_came_about_and_what_an_image_cost_that_nobody_gets() -> None:
    withheld = failure(code="nsfw_content", body=ANSWER)
    refused = failure(code="content_policy_violation", body={"detail": "No."}, isUnbilled=False)
    early = failure(code="job_expired")
    assert [one["generation"]["jobId"] for one in (withheld, refused)] == ["j1", "j1"]
    assert (withheld["cost"]["amount"], withheld["cost"]["basis"]) == ("0.035", "estimated")
    assert not {"cost"} & (refused.keys() | early.keys())
    assert "generation" not in early


def test_a_failure_that_was_surely_not_billed_says_so() -> None:
    nothing = {"amount": "0.00", "currency": "USD", "basis": "billed"}
    assert failure(code="busy", isUnbilled=True)["cost"] == nothing
    ended = failure(code="request_timeout", body={"detail": "No."}, isUnbilled=True)
    assert (ended["cost"], ended["generation"]["jobId"]) == (nothing, "j1")


def test_a_refused_event_costs_nothing_unless_a_job_is_known() -> None:
    price = {"amount": "0.035", "currency": "EUR", "per": "image"}
    wrong = EVENT | {"model": MODEL | {"price": price, "provider": {"kind": "other", "endpoint": QUEUE}}}
    again = wrong | {"providerJob": {"provider": "fal", "jobId": "j1"}}
    events = []
    for made in checked(wrong, again):
        [result] = run("main/write-the-result", {"json": made}, nodes={"Check the event": {"json": made}})
        events.append(json.loads(result["json"]["event"]))
    assert events[0]["cost"] == {"amount": "0.00", "currency": "EUR", "basis": "billed"}
    assert [event["errorCode"] for event in events] == ["unknown_provider"] * 2
    assert "cost" not in events[1]


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
