"""The workflow's result messages: EVT-AIG-002 and EVT-AIG-003, in one of three styles."""

from dataclasses import dataclass, field
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import uuid4

import pybase64

from aigen_bridge.sim.n8n_ai import GenerationError, use_of_negative_prompt
from aigen_bridge.sim.n8n_model import model_of, price_of
from aigen_bridge.sim.n8n_order import Order, Refusal, ReturnAddress, Start
from aigen_bridge.sim.n8n_pictures import Picture
from aigen_bridge.sim.n8n_settings import N8nSettings

PAYLOAD_VERSION, WORKFLOW_VERSION = "1.1", "1.4.0"
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


def failed(order: Order, error: GenerationError, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-003 for an order without an image."""
    event, made = _failed(order, error.code, str(error), settings, start), error.made
    if made:
        event["generation"] = {**made.as_json(), **_ordered(order, settings)}
    if error.unbilled:
        event |= _no_cost(order, settings)
    elif made and made.output.get("images"):
        event |= _cost(order, settings)
    return _callback(order.callback_url, event, settings, start)


def refused(refusal: Refusal, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-003 for an invalid event."""
    event = _failed(refusal.to, refusal.code, refusal.message, settings, start)
    if refusal.order and not refusal.order.provider_job:
        event |= _no_cost(refusal.order, settings)
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
    if use := use_of_negative_prompt(order, settings):
        fields["negativePrompt"] = use
    if loras := model_of(order, settings).loras:
        fields["lora"] = ", ".join(lora["path"] for lora in loras)
    return fields


def _cost(order: Order, settings: N8nSettings) -> dict[str, Any]:
    """Returns the estimated cost of one image, as the field `cost`; nothing without a price."""
    price = price_of(order, settings)
    if price is None:
        return {}
    width, height = order.size
    units = Decimal(width * height) / 1_000_000 if price.per == "megapixel" else Decimal(1)
    cost = {"amount": _amount(Decimal(price.amount) * units), "currency": price.currency, "basis": "estimated"}
    return {"cost": cost | {"units": float(units), "unit": price.per}}


def _no_cost(order: Order, settings: N8nSettings) -> dict[str, Any]:
    """Returns the cost of what the AI service surely did not bill; nothing without a price, which has the currency."""
    price = price_of(order, settings)
    return {"cost": {"amount": "0.00", "currency": price.currency, "basis": "billed"}} if price else {}


def _amount(exact: Decimal) -> str:
    """Rounds half up, and keeps at least two places."""
    whole, _, places = f"{exact.quantize(SMALLEST_AMOUNT, ROUND_HALF_UP):f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


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
