"""The facts that N8N may report with a result: `generation` and `cost`. Nothing in them refuses a callback."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any

from pydantic import ConfigDict, Field

from aigen_bridge.contracts.tolerance import whole_number
from aigen_bridge.contracts.wire import WireModel
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.facts import Cost, CostBasis, Facts, GenerationFacts, NegativePromptUse
from aigen_bridge.domain.money import PLACES, WHOLE_DIGITS, amount_text, parse_amount, parse_currency

NAME_MAX, LORA_MAX, UNIT_MAX = 200, 2000, 50
SEED_MAX = 2**63 - 1
FLAGS_MAX = 10
NUMBER_MAX = 1e15
"""A larger number is no number of seconds or units."""

Parse = Callable[[Any], Any]
"""Returns None for a wrong value."""

_NEGATIVE_PROMPT_WORDS: Mapping[str, NegativePromptUse] = {use.value: use for use in NegativePromptUse} | {
    "folded into the prompt": NegativePromptUse.FOLDED,  # as workflow 1.2 sends it
    "not supported by the model": NegativePromptUse.IGNORED,
}


class ReportedGeneration(WireModel):
    """How the image was generated, as far as the provider told. Every field is optional; a wrong value is ignored."""

    model_config = ConfigDict(extra="ignore")

    provider: Any = Field(None, description=f"the AI service, such as `fal`: a text of at most {NAME_MAX} characters")
    job_id: Any = Field(None, description=f"the provider's id of the job, a text of at most {NAME_MAX} characters")
    model: Any = Field(
        None,
        description=f"the provider's name of the model, such as `fal-ai/flux-lora`, of at most {NAME_MAX} characters",
    )
    seed: Any = Field(None, description=f"the seed that was really used, a whole number from 0 to {SEED_MAX}")
    seconds: Any = Field(None, description="how long the inference took, as the provider says: a number from 0")
    negative_prompt: Any = Field(
        None, description="`used`, `folded` (into the prompt) or `ignored` (not supported by the model)"
    )
    has_nsfw_concepts: Any = Field(None, description=f"the provider's flags: a list of at most {FLAGS_MAX} booleans")
    lora: Any = Field(None, description=f"the LoRA that was used, a text of at most {LORA_MAX} characters")


class ReportedCost(WireModel):
    """What the generation cost. Ignored as a whole without a valid `amount` and `currency`."""

    model_config = ConfigDict(extra="ignore")

    amount: Any = Field(
        None,
        description=f"a decimal from 0 in a text, such as `0.035`, with at most {WHOLE_DIGITS} digits before and "
        f"{PLACES} after the point; a number is accepted",
    )
    currency: Any = Field(None, description="three upper-case letters (ISO 4217), such as `USD`")
    basis: Any = Field(
        None, description="`billed` (the provider said it) or `estimated` (from a price); anything else is `estimated`"
    )
    units: Any = Field(None, description="how many units were charged, a number from 0")
    unit: Any = Field(None, description=f"what was charged, such as `megapixel`: at most {UNIT_MAX} characters")


MaybeGeneration = Annotated[ReportedGeneration | Any, Field(union_mode="left_to_right")]
"""Anything is accepted, and what is no object is ignored."""
MaybeCost = Annotated[ReportedCost | Any, Field(union_mode="left_to_right")]


def read_facts(generation: Any, cost: Any) -> tuple[Facts, list[str]]:
    """Returns the facts in the fields `generation` and `cost` of a callback, and the names of the ignored values."""
    values, wrong = _read("generation", generation, ReportedGeneration, _GENERATION)
    known = {name: value for name, value in values.items() if value is not None}
    cost_found, wrong_cost = _cost(cost)
    return Facts(generation=GenerationFacts(**known) if known else None, cost=cost_found), wrong + wrong_cost


def _cost(reported: Any) -> tuple[Cost | None, list[str]]:
    values, wrong = _read("cost", reported, ReportedCost, _COST)
    if not values or values["amount"] is None or values["currency"] is None:
        is_named = wrong or not any(values.values())  # no value was sent, or the wrong ones are named already
        return None, wrong if is_named else ["cost"]
    return Cost(**values | {"basis": values["basis"] or CostBasis.ESTIMATED}), wrong


def _read(
    field: str, reported: Any, kind: type[WireModel], parsers: Mapping[str, Parse]
) -> tuple[dict[str, Any], list[str]]:
    """Returns the values by name, None for a wrong one, and the names of the wrong ones on the wire."""
    if not isinstance(reported, kind):
        return {}, [] if reported is None else [field]
    sent = {name: getattr(reported, name) for name in parsers}
    values = {name: None if value in _NOTHING else parsers[name](value) for name, value in sent.items()}
    wrong = [name for name, value in values.items() if value is None and sent[name] not in _NOTHING]
    return values, [f"{field}.{kind.model_fields[name].alias}" for name in wrong]


_NOTHING = (None, "")
"""Values that count as absent."""


def _text(most: int) -> Parse:
    def parse(value: Any) -> str | None:
        is_valid = isinstance(value, str) and len(value) <= most
        return storable(value.strip()) or None if is_valid else None

    return parse


def _seed(value: Any) -> int | None:
    number = whole_number(value)
    is_whole = isinstance(number, int) and not isinstance(number, bool)
    return number if is_whole and 0 <= number <= SEED_MAX else None


def _number(value: Any) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number and 0 <= value <= NUMBER_MAX else None


def _negative_prompt(value: Any) -> NegativePromptUse | None:
    return _NEGATIVE_PROMPT_WORDS.get(value.strip().lower()) if isinstance(value, str) else None


def _flags(value: Any) -> tuple[bool, ...] | None:
    is_valid = isinstance(value, list) and len(value) <= FLAGS_MAX and all(isinstance(flag, bool) for flag in value)
    return tuple(value) if is_valid else None


def _amount(value: Any) -> str | None:
    amount = parse_amount(value)
    return None if amount is None else amount_text(amount)


def _basis(value: Any) -> CostBasis | None:
    return CostBasis(value) if value in tuple(CostBasis) else None


_GENERATION: Mapping[str, Parse] = {
    "provider": _text(NAME_MAX),
    "job_id": _text(NAME_MAX),
    "model": _text(NAME_MAX),
    "seed": _seed,
    "seconds": _number,
    "negative_prompt": _negative_prompt,
    "has_nsfw_concepts": _flags,
    "lora": _text(LORA_MAX),
}
_COST: Mapping[str, Parse] = {
    "amount": _amount,
    "currency": parse_currency,
    "basis": _basis,
    "units": _number,
    "unit": _text(UNIT_MAX),
}
