"""The workflow's result messages: EVT-AIG-002 and EVT-AIG-003, in one of three styles."""

from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pybase64

from aigen_bridge.sim.n8n_ai import lora_of
from aigen_bridge.sim.n8n_order import Order, Refusal, ReturnAddress, Start
from aigen_bridge.sim.n8n_pictures import Picture
from aigen_bridge.sim.n8n_settings import N8nSettings

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


def completed(order: Order, picture: Picture, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-002."""
    metadata = {name: getattr(picture, name) for name in ("format", "size", "width", "height")}
    event = {**_head(order, "completed", settings, start), "imageMetadata": metadata, "hashValue": picture.sha256}
    if settings.callback_style == "v1-url":
        event["imageUrl"] = picture.url
    elif settings.callback_style == "v1":
        event["imageData"] = pybase64.b64encode(picture.content).decode()
    event["generation"] = _generation(order, picture, settings)
    return _callback(order.callback_url, event, settings, start, picture.content)


def failed(to: Order | ReturnAddress, code: str, message: str, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-003."""
    event = {**_head(to, "failed", settings, start), "errorCode": code, "errorMessage": message}
    return _callback(to.callback_url, event, settings, start)


def refused(refusal: Refusal, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-003 for an invalid event."""
    return failed(refusal.to, refusal.code, refusal.message, settings, start)


def _callback(
    url: str, event: dict[str, Any], settings: N8nSettings, start: Start, image: bytes | None = None
) -> Callback:
    if settings.callback_style == "v2":
        return Callback(url.replace("/api/v1/", "/api/v2/"), event, start.trace, image, multipart=True)
    return Callback(url, event, start.trace, image)


def _generation(order: Order, picture: Picture, settings: N8nSettings) -> dict[str, Any]:
    """Describes how the image was generated."""
    facts: dict[str, Any] = {} if picture.seed is None else {"seed": picture.seed}
    if picture.job:
        facts |= {"provider": picture.job.provider, "jobId": picture.job.job_id}
    if lora := lora_of(order, settings):
        facts["lora"] = lora["path"]
    if order.negative_prompt:
        folded = settings.negative_prompt == "fold"
        facts["negativePrompt"] = "folded into the prompt" if folded else "not supported by the model"
    return facts


def _head(to: Order | ReturnAddress, status: str, settings: N8nSettings, start: Start) -> dict[str, Any]:
    execution = {"executionId": start.execution_id} if settings.speaks else {}
    return {
        **execution,
        "requestId": to.request_id,
        "correlationId": to.correlation_id,
        "payloadVersion": PAYLOAD_VERSION,
        "workflowVersion": WORKFLOW_VERSION,
        "status": status,
    }
