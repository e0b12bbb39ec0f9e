"""The workflow's result messages: EVT-AIG-002 and EVT-AIG-003, in one of three styles."""

import re
from dataclasses import dataclass, field
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
AMOUNT = re.compile(r"([0-9]{1,12})(?:\.([0-9]{0,9}))?")
MILLION = 1_000_000
"""Pixels of a megapixel."""


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
        event |= _no_cost(order.model, settings)
    elif made and made.output.get("images"):
        event |= _cost(order, settings)
    return _callback(order.callback_url, event, settings, start)


def refused(refusal: Refusal, settings: N8nSettings, start: Start) -> Callback:
    """Builds EVT-AIG-003 for an event that is refused. It costs nothing, unless an earlier execution named a job."""
    event = _failed(refusal.to, refusal.code, refusal.message, settings, start)
    if refusal.event.get("providerJob") is None:
        event |= _no_cost(refusal.event.get("model"), settings)
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
    price = price_of(order.model, settings)
    width, height = order.size
    pixels = width * height if price and price.per == "megapixel" else MILLION
    amount = priced(price.amount, pixels) if price else None
    if price is None or amount is None:
        return {}
    about = {"basis": "estimated", "units": pixels / MILLION, "unit": price.per}
    return {"cost": {"amount": amount, "currency": price.currency, **about}}


def _no_cost(entry: Any, settings: N8nSettings) -> dict[str, Any]:
    """Returns the cost of what the AI service surely did not bill; nothing without a price, which has the currency."""
    price = price_of(entry, settings)
    return {"cost": {"amount": "0.00", "currency": price.currency, "basis": "billed"}} if price else {}


def priced(amount: str, pixels: int) -> str | None:
    """Returns a price times the number of megapixels, exact and rounded half up; None for a wrong price."""
    found = AMOUNT.fullmatch(str(amount))
    if found is None:
        return None
    whole, places = found.groups("")
    product = int(whole + places.ljust(9, "0")) * pixels
    digits = str((product + MILLION // 2) // MILLION).zfill(10)
    return f"{digits[:-9]}.{digits[-9:].rstrip('0').ljust(2, '0')}"


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
