"""The workflow's result messages: EVT-AIG-002 and EVT-AIG-003, in one of three styles."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pybase64

from aigen_bridge.sim.n8n_order import Order, Refusal, ReturnAddress
from aigen_bridge.sim.n8n_pictures import Picture, lora_of
from aigen_bridge.sim.n8n_settings import CallbackStyle, N8nSettings

PAYLOAD_VERSION, WORKFLOW_VERSION = "1.1", "1.2.0"
"""The versions of the events and of the simulated workflow in n8n/."""


@dataclass(frozen=True)
class Callback:
    """One result message. All attempts and replays have the same `message_id`."""

    url: str
    event: dict[str, Any]
    trace: dict[str, str]
    image: bytes | None = None
    """The image's bytes. They are sent as a separate part only when `multipart`."""
    multipart: bool = False
    message_id: str = field(default_factory=lambda: f"msg_{uuid4().hex}")


def completed(order: Order, picture: Picture, settings: N8nSettings, trace: dict[str, str]) -> Callback:
    """Builds EVT-AIG-002."""
    style = settings.callback_style
    metadata = {name: getattr(picture, name) for name in ("format", "size", "width", "height")}
    event = {**_head(order, "completed"), "imageMetadata": metadata, "hashValue": picture.sha256}
    if style == "v1-url":
        event["imageUrl"] = picture.url
    elif style == "v1":
        event["imageData"] = pybase64.b64encode(picture.content).decode()
    event["generation"] = _generation(order, picture, settings)
    return _callback(order.callback_url, event, style, trace, picture.content)


def failed(to: Order | ReturnAddress, code: str, message: str, style: CallbackStyle, trace: dict[str, str]) -> Callback:
    """Builds EVT-AIG-003."""
    event = {**_head(to, "failed"), "errorCode": code, "errorMessage": message}
    return _callback(to.callback_url, event, style, trace)


def refused(refusal: Refusal, style: CallbackStyle, trace: dict[str, str]) -> Callback:
    """Builds EVT-AIG-003 for an invalid event."""
    return failed(refusal.to, refusal.code, refusal.message, style, trace)


def _callback(
    url: str, event: dict[str, Any], style: CallbackStyle, trace: dict[str, str], image: bytes | None = None
) -> Callback:
    if style == "v2":
        return Callback(url.replace("/api/v1/", "/api/v2/"), event, trace, image, multipart=True)
    return Callback(url, event, trace, image)


def _generation(order: Order, picture: Picture, settings: N8nSettings) -> dict[str, Any]:
    """Describes how the image was generated."""
    facts: dict[str, Any] = {} if picture.seed is None else {"seed": picture.seed}
    if lora := lora_of(order, settings):
        facts["lora"] = lora["path"]
    if order.negative_prompt:
        folded = settings.negative_prompt == "fold"
        facts["negativePrompt"] = "folded into the prompt" if folded else "not supported by the model"
    return facts


def _head(to: Order | ReturnAddress, status: str) -> dict[str, Any]:
    return {
        "requestId": to.request_id,
        "correlationId": to.correlation_id,
        "payloadVersion": PAYLOAD_VERSION,
        "workflowVersion": WORKFLOW_VERSION,
        "status": status,
    }
