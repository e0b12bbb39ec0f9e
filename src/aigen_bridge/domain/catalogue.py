"""The catalogue of models: what each supports, which parameters it takes, and what an image costs before it is made.

An empty catalogue has no rules: every model id and parameter is accepted, and nothing has a price.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, Generic, TypeVar
from uuid import UUID

from aigen_bridge.domain.money import Money, times

MEGAPIXEL = 1_000_000
"""Pixels. N8N's workflow estimates by the same number."""

NAMED_MAX = 10
"""The most models that a refusal names."""

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

    @property
    def money(self) -> Money:
        """The price of one unit."""
        return Money(self.amount, self.currency)

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

    `entry` is the entry on the wire, which N8N gets with each request. `updated_at` is when it was last changed.
    """

    model_id: UUID
    name: str
    description: str | None = None
    is_active: bool = True
    supports_negative_prompt: bool = False
    supports_seed: bool = True
    steps: Range[int] | None = None
    cfg_scale: Range[float] | None = None
    resolutions: tuple[str, ...] | None = None
    price: Price | None = None
    entry: Mapping[str, Any]
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Refused:
    """A parameter that the model does not take. `field` is its name on the wire."""

    field: str
    message: str
    allowed: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """All models at one time. `unreadable` has the reasons why entries cannot be read."""

    models: Mapping[UUID, Model] = field(default_factory=dict)
    unreadable: Mapping[UUID, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """True if there is no entry. Then every model and parameter is accepted."""
        return not (self.models or self.unreadable)

    def by_name(self) -> list[Model]:
        """Returns the models in the order in which they are listed."""
        return sorted(self.models.values(), key=lambda model: (model.name.casefold(), model.model_id))

    def refusals(self, event: Mapping[str, Any]) -> list[Refused]:
        """Returns what the catalogue refuses of an event: its model, otherwise the parameters."""
        if self.is_empty:
            return []
        model_id = UUID(event["modelId"])
        model = self.models.get(model_id)
        if model and model.is_active:
            return refusals(model, event)
        if model:
            message = f"is the model {model.name!r}, which is not offered any more"
        elif model_id in self.unreadable:
            message = "is a model whose entry in the catalogue cannot be read; ask operations to run the doctor"
        else:
            message = "is not in the catalogue of models; synchronize the models in Odoo, then choose another"
        return [Refused("modelId", message, self._offered())]

    def _offered(self) -> str:
        named = [f"{model.model_id} ({model.name})" for model in self.by_name() if model.is_active]
        more = [f"{len(named) - NAMED_MAX} more"] if len(named) > NAMED_MAX else []
        return ", ".join(named[:NAMED_MAX] + more) or "no model is offered"


def refusals(model: Model, event: Mapping[str, Any]) -> list[Refused]:
    """Returns what this model does not take of an event. A seed that it does not support is ignored, not refused."""
    found, of = [], f"of the model {model.name!r}"
    if event.get("negativePrompt") and not model.supports_negative_prompt:
        found.append(
            Refused("negativePrompt", f"must be left out: the model {model.name!r} does not use it", "nothing")
        )
    if model.resolutions is not None and event["resolution"] not in model.resolutions:
        offered = ", ".join(model.resolutions)
        found.append(Refused("resolution", f"must be one {of}: {offered}", offered))
    for name, allowed in (("inferenceSteps", model.steps), ("cfgScale", model.cfg_scale)):
        value = event.get(name)
        if allowed is not None and value is not None and not allowed.least <= value <= allowed.most:
            limits = f"{allowed.least:g} to {allowed.most:g}"
            found.append(Refused(name, f"must be within the range {of}: {limits}", limits))
    return found


def estimate(price: Price | None, resolution: str) -> Money | None:
    """Returns what an image of this resolution (`1024x768`) costs; None without a price."""
    if price is None:
        return None
    width, height = map(int, resolution.split("x"))
    return price.of(width, height)
