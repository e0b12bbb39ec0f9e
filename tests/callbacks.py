"""Builds callbacks as N8N does, and sends them."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pybase64

from aigen_bridge.domain.signature import secret_bytes, sign
from aigen_bridge.sim.faults import Fault, FaultKind
from stage import CALLBACK, Stage

CALLBACK_V2 = CALLBACK.replace("/v1/", "/v2/")


def completed(request: dict[str, Any], image: bytes, **fields: Any) -> dict[str, Any]:
    """Builds EVT-AIG-002 for this request. A field given as None is omitted."""
    event = {
        "requestId": request["requestId"],
        "correlationId": request["correlationId"],
        "status": "completed",
        "imageData": pybase64.b64encode(image).decode(),
        "imageMetadata": {"format": "png", "size": len(image), "width": 64, "height": 64},
        "hashValue": hashlib.sha256(image).hexdigest(),
    }
    return {name: value for name, value in (event | fields).items() if value is not None}


def failed(request: dict[str, Any], **fields: Any) -> dict[str, Any]:
    """Builds EVT-AIG-003 for this request."""
    event = {
        "requestId": request["requestId"],
        "correlationId": request["correlationId"],
        "status": "failed",
        "errorCode": "content_policy",
        "errorMessage": "The prompt was flagged.",
    }
    return event | fields


def signed(body: bytes, *secrets: str, message_id: str = "msg_1", at: datetime | None = None) -> dict[str, str]:
    """Returns the signature headers for a body."""
    return sign([secret_bytes(secret) for secret in secrets], message_id, at or datetime.now(UTC), body)


async def report(stage: Stage, event: dict[str, Any], **headers: str) -> httpx.Response:
    """Sends an event to version 1."""
    content = {"Content-Type": "application/json"}
    body = json.dumps(event).encode()
    return await stage.api.post(CALLBACK, content=body, headers=stage.as_client("n8n") | content | headers)


async def report_v2(
    stage: Stage, event: dict[str, Any] | bytes, image: bytes | None = None, **headers: str
) -> httpx.Response:
    """Sends an event to version 2, with the image as a separate part."""
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    parts: dict[str, Any] = {"event": (None, body)}
    if image is not None:
        parts["image"] = ("image.png", image, "image/png")
    return await stage.api.post(CALLBACK_V2, files=parts, headers=stage.as_client("n8n") | headers)


async def with_url(stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    """A request that N8N says nothing about, and the callback with a URL of a picture that Flux made."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
    asked = await stage.ask()
    return asked, await picture_of(stage, asked)


async def picture_of(stage: Stage, asked: dict[str, Any]) -> dict[str, Any]:
    """The callback for this request with a URL of a picture that Flux made."""
    made = await _picture(stage)
    metadata = {name: made[name] for name in ("format", "size", "width", "height")}
    return completed(asked, b"", imageData=None, imageUrl=made["url"], imageMetadata=metadata, hashValue=made["sha256"])


async def _picture(stage: Stage) -> dict[str, Any]:
    wish = {"prompt": "A boat", "image_size": {"width": 64, "height": 64}, "seed": 3, "output_format": "png"}
    key = {"Authorization": f"Key {stage.chain.flux.settings.key}"}
    answer = await stage.api.post(f"{stage.chain.flux_url}/fal-ai/flux-lora", json=wish, headers=key)
    url = answer.json()["images"][0]["url"]
    content = (await stage.api.get(url)).content
    return {
        "url": url,
        "format": "png",
        "size": len(content),
        "width": 64,
        "height": 64,
        "sha256": hashlib.sha256(content).hexdigest(),
    }
