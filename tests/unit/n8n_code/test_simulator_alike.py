"""The simulated N8N decides about models and costs as the workflow's code does."""

import json
from typing import Any

import httpx
import pytest
from code_nodes import SETTINGS, run, settings

from aigen_bridge.contracts import examples
from aigen_bridge.sim.n8n_ai import generation_error, generation_input
from aigen_bridge.sim.n8n_model import Model, objection
from aigen_bridge.sim.n8n_order import Refusal, Start, checked
from aigen_bridge.sim.n8n_results import priced, refused
from aigen_bridge.sim.n8n_settings import N8nSettings, Price

BRIDGE = SETTINGS["bridgeUrl"]
CALLBACK = f"{BRIDGE}/api/v1/influencegen/ai-image-callback"
EVENT = examples.REQUESTED | {"callbackUrl": CALLBACK}
PRICE = {"amount": "0.035", "currency": "USD", "per": "image"}
QUEUE = "https://queue.fal.run/fal-ai/flux-krea"
MODEL = {"name": "Krea", "provider": {"kind": "fal", "endpoint": QUEUE}, "price": PRICE | {"currency": "EUR"}}
SIMULATED = N8nSettings(
    key="k",
    callback_key="k",
    bridge_url=BRIDGE,
    flux_url="https://queue.fal.run",
    flux_key="k",
    ai_origins=("https://AI.example.com:443/",),
    price=Price(amount="0.035", currency="USD"),
)


def at(endpoint: Any, kind: str = "fal") -> dict[str, Any]:
    return {"model": MODEL | {"provider": {"kind": kind, "endpoint": endpoint}}}


EVENTS = {
    "without a model": {},
    "null": {"model": None},
    "model": {"model": MODEL},
    "defaults": {
        "model": MODEL | {"steps": {"default": 9}, "cfgScale": {"default": 0}, "format": "webp"},
        "inferenceSteps": None,
        "cfgScale": None,
    },
    "supports": {"model": MODEL | {"supports": {"negativePrompt": True, "seed": False}}, "negativePrompt": "fog"},
    "null in it": {"model": MODEL | {"supports": {"seed": None}, "loras": None, "steps": None, "format": None}},
    "loras": {"model": MODEL | {"loras": [{"path": "a", "scale": None}, {"path": "b"}, {"path": "c", "scale": 0}]}},
    "sync": at("https://ai.example.com/x", "fal-sync"),
    "other kind": at(QUEUE, "other"),
    "known job": at(QUEUE, "other") | {"providerJob": {"jobId": "j1"}},
    "no model": {"model": "text"},
    "no provider": {"model": {"price": PRICE}},
    "no lora": {"model": MODEL | {"loras": [1]}},
    "loras that are none": {"model": MODEL | {"loras": {}}},
    "wrong field": {"model": MODEL, "prompt": " "},
    "wrong field, without a model": {"resolution": "0x5"},
    "wrong field, price without currency": {"model": MODEL | {"price": {"amount": "1"}}, "prompt": ""},
    "wrong field, price that is none": {"model": MODEL | {"price": "1 EUR"}, "prompt": ""},
    "wrong field, known job": {"model": MODEL, "prompt": "", "providerJob": {"jobId": "j1"}},
} | {
    url: at(url)
    for url in [
        "https://QUEUE.FAL.RUN/x",
        "https://queue.fal.run:443",
        "https://queue.fal.run:444/",
        "https://queue.fal.run:0443/",
        "https://queue.fal.run:/",
        "https://queue.fal.run./",
        "https://queue.fal.run?x",
        "https://queue.fal.run#/",
        "https://queue.fal.run\\@evil.example.com/",
        "https://queue.fal.run\t/",
        "https://queue.fal.run\n",
        " https://queue.fal.run/",
        "https://queue.fal.run@evil.example.com/",
        "https://key:word@queue.fal.run/",
        "https://@queue.fal.run/",
        "https:/queue.fal.run/",
        "http://queue.fal.run/",
        "http://queue.fal.run:443/",
        "https://queue。fal.run/",
        "https://qUeue.fal.run/".replace("U", "\N{LATIN SMALL LETTER U WITH DIAERESIS}"),
        "https://queue.fal.run%2eevil.example.com/",
        "https://queue.fal.run.evil.example.com/",
        "https://[::1]/",
    ]
}


@pytest.mark.parametrize("change", EVENTS.values(), ids=[name.encode("unicode_escape").decode() for name in EVENTS])
def test_an_event_is_called_or_refused_alike(change: dict[str, Any]) -> None:
    event = EVENT | change
    body = settings(price=PRICE, aiOrigins=["https://AI.example.com:443/"])["json"] | {"body": event, "headers": {}}
    made = run("main/check-the-event", {"json": {}}, nodes={"Settings": {"json": body}})[0]["json"]
    order = checked(event, BRIDGE, lambda order: objection(order, SIMULATED))

    if not isinstance(order, Refusal):
        assert made["route"] == "make"
        assert json.loads(made["question"]) == generation_input(order, SIMULATED)
        return
    assert (made["route"], made["code"]) == ("refuse", order.code)
    assert order.code == "invalid_event" or made["message"] == order.message
    [result] = run("main/write-the-result", {"json": made}, nodes={"Check the event": {"json": made}})
    sent = refused(order, SIMULATED, Start(event, BRIDGE, {})).event
    assert json.loads(result["json"]["event"]).get("cost") == sent.get("cost")


KNOWN = {
    "requestId": EVENT["requestId"],
    "correlationId": EVENT["correlationId"],
    "callbackUrl": CALLBACK,
    "passOn": {},
}
IMAGE = {"images": [{"url": "https://x/1.png", "width": 1, "height": 1}]}
AMOUNTS = [
    "0.035", "0", "0.000000001", "0.0000005", "0.000000005", "0.123456789", "999999.999999999", "1000000", "5.",
    "999999999999.999999999", "1e-3", "1E5", "-1", "+1", "NaN", "Infinity", "1,5", "0x1", " 1", "1\n", "", ".5",
    "0.0000000001", "1000000000000", "٣",
]  # fmt: skip


@pytest.mark.parametrize("size", [(1024, 1024), (10, 10), (9999, 9999), (1001, 500)])
def test_a_price_gives_the_same_amount(size: tuple[int, int]) -> None:
    width, height = size
    for amount in AMOUNTS:
        price = {"amount": amount, "currency": "USD", "per": "megapixel"}
        order = {"url": QUEUE, "format": "png", "width": width, "height": height, "price": price}
        node = {"json": KNOWN | settings()["json"] | {"order": order}}
        [made] = run("main/write-the-result", {"json": {"code": "x", "body": IMAGE}}, nodes={"Check the event": node})
        cost = json.loads(made["json"]["event"]).get("cost", {})
        assert (amount, cost.get("amount")) == (amount, priced(amount, width * height))


BODIES = [
    "<html>",
    {"detail": "x"},
    {"detail": "x", "error_type": "request_timeout"},
    {"detail": []},
    {"detail": [None]},
    {"detail": [{"type": "missing", "msg": "m"}]},
    {"detail": [{"type": "missing_file", "msg": "m"}]},
    {"detail": [{"type": "missing"}, {"type": "content_policy_violation"}]},
    {"detail": [{"type": 1}]},
]


@pytest.mark.parametrize("is_queued", [True, False])
@pytest.mark.parametrize("body", BODIES, ids=str)
def test_a_failed_submission_is_unbilled_alike(body: Any, *, is_queued: bool) -> None:
    model = Model(url=QUEUE, is_queued=is_queued, image_format="png")
    nodes = {"Check the event": {"json": {"order": {"isQueued": is_queued}}}, "The question": {"json": {"ask": {}}}}
    for status in (302, 400, 401, 402, 403, 404, 408, 413, 415, 422, 429, 499, 500, 502, 503, 504):
        said = {"statusCode": status, "body": body if isinstance(body, str) else json.dumps(body)}
        [made] = run("main/read-the-ai-answer", {"json": said | {"isSubmission": True}}, nodes=nodes)
        simulated = generation_error(httpx.Response(status, text=said["body"]), submitted_to=model)
        assert (status, made["json"]["isUnbilled"]) == (status, simulated.unbilled)
