"""Builds callbacks as N8N does, and sends them."""

import hashlib
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pybase64

from aigen_bridge.domain.signature import secret_bytes, sign
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
