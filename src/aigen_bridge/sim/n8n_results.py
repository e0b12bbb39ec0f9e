"""The workflow's result messages: EVT-AIG-002 and EVT-AIG-003, in one of three styles."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pybase64

from aigen_bridge.sim.n8n_ai import Made, lora_of
from aigen_bridge.sim.n8n_order import Order, Refusal, ReturnAddress, Start
from aigen_bridge.sim.n8n_pictures import Picture
from aigen_bridge.sim.n8n_settings import N8nSettings

PAYLOAD_VERSION, WORKFLOW_VERSION = "1.1", "1.3.0"
"""The versions of the events and of the simulated workflow in n8n/."""
SMALLEST_AMOUNT = Decimal("1e-9")


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
    told = picture.made.as_json() if picture.made else {"seed": picture.seed}
    event["generation"] = {**told, **_ordered(order, settings)}
    event |= _cost(order, settings)
    return _callback(order.callback_url, event, settings, start, picture.content)


def failed(
    order: Order, code: str, message: str, settings: N8nSettings, start: Start, made: Made | None = None
) -> Callback:
    """Builds EVT-AIG-003. `made` is the generation, if there was one."""
    event = _failed(order, code, message, settings, start)
    if made:
        event["generation"] = {**made.as_json(), **_ordered(order, settings)}
    if made and made.output.get("images"):
        event |= _cost(order, settings)
    return _callback(order.callback_url, event, settings, start)


def refused(refusal: Refusal, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-003 for an invalid event."""
    event = _failed(refusal.to, refusal.code, refusal.message, settings, start)
    return _callback(refusal.to.callback_url, event, settings, start)


def _failed(to: Order | ReturnAddress, code: str, message: str, settings: N8nSettings, start: Start) -> dict[str, Any]:
    return {**_head(to, "failed", settings, start), "errorCode": code, "errorMessage": message}


def _callback(
    url: str, event: dict[str, Any], settings: N8nSettings, start: Start, image: bytes | None = None
) -> Callback:
    if settings.callback_style == "v2":
        return Callback(url.replace("/api/v1/", "/api/v2/"), event, start.trace, image, multipart=True)
    return Callback(url, event, start.trace, image)


def _ordered(order: Order, settings: N8nSettings) -> dict[str, Any]:
    """Returns the fields of `generation` that say what became of the order."""
    fields: dict[str, Any] = {}
    if order.negative_prompt:
        fields["negativePrompt"] = "folded" if settings.negative_prompt == "fold" else "ignored"
    if lora := lora_of(order, settings):
        fields["lora"] = lora["path"]
    return fields


def _cost(order: Order, settings: N8nSettings) -> dict[str, Any]:
    """Returns the estimated cost of one image, as the field `cost`; nothing without a price."""
    price = settings.price
    if price is None:
        return {}
    width, height = order.size
    units = Decimal(width * height) / 1_000_000 if price.per == "megapixel" else Decimal(1)
    amount = f"{(Decimal(price.amount) * units).quantize(SMALLEST_AMOUNT).normalize():f}"
    cost = {"amount": amount, "currency": price.currency, "basis": "estimated"}
    return {"cost": cost | {"units": float(units), "unit": price.per}}


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
