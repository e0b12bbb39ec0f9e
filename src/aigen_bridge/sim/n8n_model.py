"""How the model of an order is called: as its entry of the bridge's catalogue says, or else as the settings say."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from aigen_bridge.sim.drawing import ImageFormat
from aigen_bridge.sim.n8n_order import Order
from aigen_bridge.sim.n8n_settings import N8nSettings, Price

MODEL, QUEUE = "/fal-ai/flux-lora", "/queue/fal-ai/flux-lora"
IS_QUEUED = {"fal": True, "fal-sync": False}
"""The kinds of AI services that the workflow knows: whether they have a queue, or are called synchronously."""
ORIGIN = re.compile(r"https?://[\w.-]+(:\d+)?(?=/|\Z)", re.IGNORECASE | re.ASCII)
USUAL_PORT = re.compile(r"(https:.*):443|(http:.*):80")


@dataclass(frozen=True, kw_only=True)
class Model:
    """What the workflow uses of a model. `steps` and `cfg_scale` count if the request names none."""

    url: str
    is_queued: bool
    image_format: ImageFormat
    loras: tuple[Mapping[str, Any], ...] = ()
    steps: int | None = None
    cfg_scale: float | None = None
    has_negative_prompt: bool = False
    has_seed: bool = True

    @property
    def name(self) -> str:
        """The provider's name of it, such as `fal-ai/flux-lora`."""
        return urlsplit(self.url).path.strip("/").removeprefix("queue/")


def model_of(order: Order, settings: N8nSettings) -> Model:
    """Returns the model of an order that was checked."""
    entry = _entry(order, settings)
    return _of_catalogue(entry, settings) if entry else _of_settings(order.model_id, settings)


def price_of(entry: Any, settings: N8nSettings) -> Price | None:
    """Returns the price by the `model` of an event, which may be wrong, or without one by the settings."""
    if entry is None or not settings.speaks:
        return settings.price
    price = entry.get("price") if isinstance(entry, dict) else None
    if not isinstance(price, dict) or not price.get("currency"):
        return None
    return Price(amount=price.get("amount", ""), currency=price["currency"], per=price.get("per", "image"))


def objection(order: Order, settings: N8nSettings) -> tuple[str, str] | None:
    """Returns why the model of an order cannot be called: an error code and a message."""
    entry = _entry(order, settings)
    if entry is None:
        is_known = order.model_id in settings.loras or "*" in settings.loras
        reason = f"The workflow's table of models has no row for {order.model_id}."
        return None if is_known else ("unknown_model", reason)
    name = f"The model {entry.get('name', order.model_id)}"
    kind, endpoint = entry["provider"]["kind"], entry["provider"]["endpoint"]
    if kind not in IS_QUEUED:
        known = " and ".join(IS_QUEUED)
        reason = (
            f"{name} has the provider.kind {kind}, of which this workflow knows only {known}. Nothing was submitted."
        )
        return "unknown_provider", f"{reason} Correct the model in the bridge's catalogue."
    if settings.flux_url is None or settings.stands_in or _is_allowed(endpoint, settings):
        return None
    reason = f"{name} has its endpoint at {_origin(endpoint) or endpoint}, where the workflow's settings send no key"
    return "endpoint_not_allowed", f"{reason} of the AI service. Nothing was submitted. {_advice(_origin(endpoint))}"


def _advice(origin: str | None) -> str:
    add = f'Add "{origin}" to aiOrigins in n8n/settings.json and import the workflows again, or correct'
    return f"{add if origin else 'Correct'} the model in the bridge's catalogue."


def _is_allowed(endpoint: str, settings: N8nSettings) -> bool:
    return any(has_same_origin(endpoint, origin) for origin in (settings.flux_url, *settings.ai_origins))


def has_same_origin(url: str, other: str | None) -> bool:
    """Returns whether two URLs have the same origin. False for anything that is no URL."""
    origin = _origin(url)
    return origin is not None and origin == _origin(other or "")


def _origin(url: str) -> str | None:
    found = ORIGIN.match(url)
    origin = found[0].lower() if found else ""
    usual = USUAL_PORT.fullmatch(origin)
    return (usual[1] or usual[2]) if usual else origin or None


def _entry(order: Order, settings: N8nSettings) -> Mapping[str, Any] | None:
    """Returns the entry of the catalogue. An older workflow ignores it."""
    return order.model if settings.speaks else None


def _of_settings(model_id: str, settings: N8nSettings) -> Model:
    lora = settings.loras.get(model_id, settings.loras.get("*"))
    is_queued = settings.speaks and settings.ai_mode == "queue"
    return Model(
        url=f"{settings.flux_url}{QUEUE if is_queued else MODEL}",
        is_queued=is_queued,
        image_format=settings.image_format,
        loras=(_lora(lora),) if lora else (),
    )


def _of_catalogue(entry: Mapping[str, Any], settings: N8nSettings) -> Model:
    supports = entry.get("supports") or {}
    url, is_queued = entry["provider"]["endpoint"], IS_QUEUED[entry["provider"]["kind"]]
    if settings.stands_in and not _is_allowed(url, settings):
        url, is_queued = f"{settings.flux_url}{MODEL}", False
    return Model(
        url=url,
        is_queued=is_queued,
        image_format=entry.get("format") or settings.image_format,
        loras=tuple(map(_lora, entry.get("loras") or ())),
        steps=(entry.get("steps") or {}).get("default"),
        cfg_scale=(entry.get("cfgScale") or {}).get("default"),
        has_negative_prompt=supports.get("negativePrompt") is True,
        has_seed=supports.get("seed") is not False,
    )


def _lora(given: Mapping[str, Any]) -> dict[str, Any]:
    scale = given.get("scale")
    return {"path": given["path"], "scale": 1 if scale is None else scale}
