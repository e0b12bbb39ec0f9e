"""The catalogue of models on the wire: an entry as it is put and listed, and as N8N gets it with a request."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Literal, TypeVar
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from aigen_bridge.contracts.amounts import CURRENCY, Amount, Currency
from aigen_bridge.contracts.v1 import CFG_MAX, STEPS_MAX, NotBlank, Resolution, StorableText, Uuid
from aigen_bridge.contracts.wire import ANYTHING, WireModel
from aigen_bridge.domain.address import checked_url
from aigen_bridge.domain.catalogue import Catalogue, Model, Price, PriceUnit, Range, estimate
from aigen_bridge.domain.errors import PermanentError
from aigen_bridge.domain.money import PLACES, Money, parse_amount

NAME_MAX, TEXT_MAX, URL_MAX = 200, 2000, 2000
LORAS_MAX, RESOLUTIONS_MAX = 10, 100
SCALE_MAX = 10
PRICE_MAX = 1_000_000
"""A higher price is a mistake, and the price of many megapixels would have too many digits."""
NOT_SENT = frozenset({"active", "description"})
"""Keys of an entry that N8N does not get, and that a request does not keep."""

N = TypeVar("N", int, float)


def _endpoint(url: str) -> str:
    try:
        checked_url(url, allow_http=True, allowed_hosts=())
    except PermanentError as error:
        rule = error.detail.partition(": ")[2].rstrip(".")
        raise PydanticCustomError("endpoint", "is refused: {rule}", {"rule": rule}) from None
    if "?" in url or "#" in url:
        raise PydanticCustomError("endpoint", "must not have a query or a fragment")
    return url


def _price(amount: str) -> str:
    if (parse_amount(amount) or 0) > PRICE_MAX:
        raise PydanticCustomError("amount", "must not be above {most}", {"most": PRICE_MAX})
    return amount


def _distinct(values: list[str]) -> list[str]:
    twice = next((value for number, value in enumerate(values) if value in values[:number]), None)
    if twice is not None:
        raise PydanticCustomError("twice", "contains {value} twice", {"value": twice})
    return values


class Strict(WireModel):
    """A part of an entry. An unknown key is refused, because it would have no effect."""

    model_config = ConfigDict(extra="forbid")


class ModelProvider(Strict):
    """The AI service that generates the images."""

    kind: str = Field(
        pattern=r"^[a-z0-9][a-z0-9._-]{0,49}$",
        description="as N8N's workflow calls it, such as `fal` or `fal-sync`: at most 50 lower-case letters, digits, "
        "'.', '_', '-'",
    )
    endpoint: Annotated[str, AfterValidator(_endpoint)] = Field(
        max_length=URL_MAX, description="an http or https URL without user, query and fragment"
    )


class ModelLora(Strict):
    """A LoRA that is added to the model."""

    path: NotBlank = Field(
        min_length=1, max_length=TEXT_MAX, description=f"its URL or name, a text of 1 to {TEXT_MAX} characters"
    )
    scale: float = Field(
        1.0,
        ge=-SCALE_MAX,
        le=SCALE_MAX,
        allow_inf_nan=False,
        description=f"its weight, a number from -{SCALE_MAX} to {SCALE_MAX}",
    )


class ModelSupports(Strict):
    """The parameters that the model uses."""

    negative_prompt: bool = Field(
        default=False, description="true or false; with false, a request with a negative prompt is refused"
    )
    seed: bool = Field(default=True, description="true or false; with false, the seed of a request is ignored")


class _Range(Strict, Generic[N]):
    @model_validator(mode="after")
    def _in_order(self) -> "_Range[N]":
        least, most, default = self.limits
        if not least <= default <= most:
            raise PydanticCustomError(
                "range_order",
                "must have min ≤ default ≤ max, instead of {least}, {default}, {most}",
                {"least": least, "default": default, "most": most},
            )
        return self

    @property
    def limits(self) -> tuple[N, N, N]:
        """The least, the most, and the default."""
        raise NotImplementedError

    def range(self) -> Range[N]:
        """Returns the range as the rules know it."""
        least, most, default = self.limits
        return Range(least=least, most=most, default=default)


_Steps = Annotated[int, Field(ge=1, le=STEPS_MAX, description=f"a whole number from 1 to {STEPS_MAX}")]
_CfgScale = Annotated[float, Field(ge=0, le=CFG_MAX, allow_inf_nan=False, description=f"a number from 0 to {CFG_MAX}")]


class StepsRange(_Range[int]):
    """The allowed numbers of inference steps, and the one that is used if a request names none."""

    min: _Steps
    max: _Steps
    default: _Steps

    @property
    def limits(self) -> tuple[int, int, int]:
        return self.min, self.max, self.default


class CfgScaleRange(_Range[float]):
    """The allowed guidance scales, and the one that is used if a request names none."""

    min: _CfgScale
    max: _CfgScale
    default: _CfgScale

    @property
    def limits(self) -> tuple[float, float, float]:
        return self.min, self.max, self.default


class ModelPrice(Strict):
    """What an image costs, before it is generated."""

    amount: Annotated[Amount, AfterValidator(_price)] = Field(
        description=f"a decimal in a text, such as `0.035`: from 0 to {PRICE_MAX}, with at most {PLACES} digits after "
        "the point"
    )
    currency: Currency = Field(description=CURRENCY)
    per: PriceUnit = Field(strict=False, description="`image`, or `megapixel` (a million pixels)")

    def price(self) -> Price:
        """Returns the price as the rules know it."""
        amount = parse_amount(self.amount)
        assert amount is not None  # noqa: S101 - checked by the field
        return Price(amount=amount, currency=self.currency, per=self.per)


class ModelEntry(Strict):
    """A model: where it runs, which parameters it takes, and what an image costs."""

    name: NotBlank = Field(
        min_length=1, max_length=NAME_MAX, description=f"a text of 1 to {NAME_MAX} characters, not blank"
    )
    description: StorableText | None = Field(
        None, max_length=TEXT_MAX, description=f"a text of at most {TEXT_MAX} characters"
    )
    provider: ModelProvider = Field(description='an object such as {"kind": "fal", "endpoint": "https://…"}')
    loras: list[ModelLora] | None = Field(
        None, max_length=LORAS_MAX, description=f"at most {LORAS_MAX} objects with path and scale"
    )
    supports: ModelSupports = Field(
        ModelSupports(), description='an object such as {"negativePrompt": false, "seed": true}'
    )
    steps: StepsRange | None = Field(
        None, description="an object with min, max and default; without it, the limits of the event apply"
    )
    cfg_scale: CfgScaleRange | None = Field(
        None, description="an object with min, max and default; without it, the limits of the event apply"
    )
    resolutions: Annotated[list[Resolution], AfterValidator(_distinct)] | None = Field(
        None,
        min_length=1,
        max_length=RESOLUTIONS_MAX,
        description=f"1 to {RESOLUTIONS_MAX} resolutions such as 1024x1024; without it, any that the event allows",
    )
    format: Literal["png", "jpeg", "webp"] | None = Field(
        None, description="the format of the images, `png`, `jpeg` or `webp`; without it, N8N's own setting"
    )
    price: ModelPrice | None = Field(
        None, description="an object with amount, currency and per; without it, budgets do not count the model"
    )
    active: bool = Field(default=True, description="true or false; with false, new requests for the model are refused")

    def stored(self) -> dict[str, Any]:
        """Returns the entry as it is stored, without what is not given and what has a column of its own."""
        columns = {"active", "model_id", "updated_at"}
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude=columns)


class NamedModelEntry(ModelEntry):
    """One model of a file."""

    model_id: Uuid = Field(description="the UUID of the model")
    updated_at: Annotated[Any, ANYTHING] = Field(None, description="ignored, so that a list can be put again")


class ModelResource(ModelEntry):
    """One model of the catalogue."""

    model_id: UUID
    updated_at: datetime = Field(description="when the entry was last changed")


class ModelList(WireModel):
    """The whole catalogue, by name."""

    items: list[ModelResource]


def to_model(model_id: UUID, stored: Mapping[str, Any], *, is_active: bool, updated_at: datetime) -> Model:
    """Returns the model of a stored entry. Raises `ValueError` for an entry that cannot be read.

    Keys that a newer version may have added are ignored, and sent to N8N.
    """
    entry = ModelEntry.model_validate(stored, extra="ignore")
    sent = {key: value for key, value in stored.items() if key not in NOT_SENT}
    return Model(
        model_id=model_id,
        name=entry.name,
        description=entry.description,
        is_active=is_active,
        supports_negative_prompt=entry.supports.negative_prompt,
        supports_seed=entry.supports.seed,
        steps=entry.steps.range() if entry.steps else None,
        cfg_scale=entry.cfg_scale.range() if entry.cfg_scale else None,
        resolutions=tuple(entry.resolutions) if entry.resolutions else None,
        price=entry.price.price() if entry.price else None,
        entry=sent | {"modelId": str(model_id)},
        updated_at=updated_at,
    )


def model_resource(model: Model) -> ModelResource:
    """Returns a model in the form of the API."""
    values = dict(model.entry) | {"description": model.description, "active": model.is_active}
    return ModelResource.model_validate(
        values | {"modelId": model.model_id, "updatedAt": model.updated_at}, extra="ignore"
    )


def model_list(catalogue: Catalogue) -> ModelList:
    """Returns the models that can be read, by name."""
    return ModelList(items=[model_resource(model) for model in catalogue.by_name()])


def estimated_cost(model: Mapping[str, Any] | None, event: Mapping[str, Any]) -> Money | None:
    """Returns what the image of a request costs by the entry with which it was accepted. None without a price."""
    try:
        price = ModelPrice.model_validate((model or {})["price"], extra="ignore").price()
        return estimate(price, event["resolution"])
    except (LookupError, ValueError, TypeError, AttributeError, ValidationError):
        return None


def endpoint_of(model: Mapping[str, Any]) -> str | None:
    """Returns the endpoint of the entry with which a request was accepted. None if it has none that can be read."""
    try:
        return _endpoint(model["provider"]["endpoint"])
    except (LookupError, ValueError, TypeError, AttributeError):
        return None
