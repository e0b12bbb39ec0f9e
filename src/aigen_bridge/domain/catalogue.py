"""The catalogue of models: what each supports, which parameters it takes, and what an image costs before it is made.

An empty catalogue has no rules: every model id and parameter is accepted, and nothing has a price.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from aigen_bridge.domain.money import Money, times

MEGAPIXEL = 1_000_000
"""Pixels. N8N's workflow estimates by the same number."""

N = TypeVar("N", int, float)


class PriceUnit(StrEnum):
    """What a price is charged for."""

    IMAGE = "image"
    MEGAPIXEL = "megapixel"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The price of one image, or of each megapixel of it."""

    amount: Decimal
    currency: str
    per: PriceUnit = PriceUnit.IMAGE

    def of(self, width: int, height: int) -> Money:
        """Returns the price of an image of this size, rounded to the places of an amount."""
        units = Decimal(width * height) / MEGAPIXEL if self.per is PriceUnit.MEGAPIXEL else Decimal(1)
        return Money(times(self.amount, units), self.currency)


@dataclass(frozen=True, slots=True, kw_only=True)
class Range(Generic[N]):
    """The values that a parameter may have, and the one that the form offers first."""

    least: N
    most: N
    default: N


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """One entry of the catalogue. None of a range or of `resolutions`: only the limits of the event apply.

    `entry` is the entry on the wire, which N8N gets with each request.
    """

    model_id: UUID
    name: str
    is_active: bool = True
    supports_negative_prompt: bool = False
    supports_seed: bool = True
    steps: Range[int] | None = None
    cfg_scale: Range[float] | None = None
    resolutions: tuple[str, ...] | None = None
    price: Price | None = None
    entry: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """A parameter that the model does not take. `field` is its name on the wire."""

    field: str
    message: str
    allowed: str | None = None


def refusals(model: Model, event: Mapping[str, Any]) -> list[Refused]:
    """Returns what this model does not take of an event. A seed that it does not support is ignored, not refused."""
    found = []
    if not model.is_active:
        found.append(Refused("modelId", f"is the model {model.name!r}, which is not offered any more"))
    if event.get("negativePrompt") and not model.supports_negative_prompt:
        found.append(Refused("negativePrompt", f"is not supported by the model {model.name!r}", "nothing"))
    if model.resolutions is not None and event["resolution"] not in model.resolutions:
        offered = ", ".join(model.resolutions)
        found.append(Refused("resolution", f"is not offered by the model {model.name!r}", offered))
    for field, allowed in (("inferenceSteps", model.steps), ("cfgScale", model.cfg_scale)):
        value = event.get(field)
        if allowed is not None and value is not None and not allowed.least <= value <= allowed.most:
            limits = f"{allowed.least} to {allowed.most}"
            found.append(Refused(field, f"is outside the range of the model {model.name!r}", limits))
    return found


def estimate(price: Price | None, resolution: str) -> Money | None:
    """Returns what an image of this resolution (`1024x768`) costs; None without a price."""
    if price is None:
        return None
    width, height = map(int, resolution.split("x"))
    return price.of(width, height)
