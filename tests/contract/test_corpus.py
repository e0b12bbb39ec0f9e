"""Payloads as Odoo and N8N really send them. What was once accepted is accepted for ever; add files, change none.

Each file says why it is there, where it goes (`endpoint`), the `status` of the answer, and what is sent: an `event`, or
a `body` to the letter, for version 2 with an `image` beside it (base64). `field`: the one that the refusal names.
`{callbackUrl}` stands for the address of the service.
"""

import json
from base64 import b64decode
from pathlib import Path
from typing import Any

import httpx

from callbacks import CALLBACK_V2
from stage import CALLBACK, REQUESTS, Stage

CORPUS = Path(__file__).parent / "corpus"
JSON = {"Content-Type": "application/json"}


def payloads(kind: str) -> dict[str, Any]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((CORPUS / kind).glob("*.json"))}


async def send(stage: Stage, payload: dict[str, Any]) -> httpx.Response:
    body = payload.get("body") or json.dumps(payload["event"], ensure_ascii=False)
    content = body.replace("{callbackUrl}", stage.settings.callback_url).encode()
    if payload["endpoint"] == "request":
        return await stage.api.post(REQUESTS, content=content, headers=stage.as_client("odoo") | JSON)
    await _make_known(stage, payload)
    if payload["endpoint"] == "callback":
        return await stage.api.post(CALLBACK, content=content, headers=stage.as_client("n8n") | JSON)
    parts: dict[str, Any] = {"event": (None, content, "application/json")}
    if "image" in payload:
        parts["image"] = ("image", b64decode(payload["image"]), "application/octet-stream")
    return await stage.api.post(CALLBACK_V2, files=parts, headers=stage.as_client("n8n"))


async def _make_known(stage: Stage, payload: dict[str, Any]) -> None:
    """Ask for what the callback is about."""
    event = payload.get("event")
    if payload.get("known", True) and isinstance(event, dict):
        await stage.ask(requestId=event["requestId"], correlationId=event["correlationId"])


async def test_what_was_accepted_once_is_accepted_for_ever(idle_stage: Stage) -> None:
    accepted = payloads("accepted")
    for name, payload in accepted.items():
        answer = await send(idle_stage, payload)
        assert answer.status_code == payload["status"], f"{name}: {answer.text}"
        stored = await idle_stage.read(answer.json()["requestId"])
        assert stored["status"] == answer.json()["status"] == expected_status(payload), name
    assert {payload["endpoint"] for payload in accepted.values()} == {"request", "callback", "callback-v2"}


def expected_status(payload: dict[str, Any]) -> str:
    event = payload.get("event") or json.loads(payload["body"])
    if payload["endpoint"] == "request":
        return "queued"
    return "received" if event.get("imageUrl") else str(event["status"])


async def test_what_is_wrong_is_refused_and_named(idle_stage: Stage) -> None:
    refused = payloads("refused")
    for name, payload in refused.items():
        answer = await send(idle_stage, payload)
        problem = answer.json()
        named = {error["field"] for error in problem.get("errors", [{"field": None}])}
        assert answer.status_code == payload["status"], f"{name}: {answer.text}"
        assert answer.headers["content-type"] == "application/problem+json", name
        assert payload["field"] in named, f"{name}: {problem}"
    assert len(refused) >= 40
