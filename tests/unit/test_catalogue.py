"""What the catalogue says of a request: its price, and what of it is refused."""

from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID, uuid4

from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.contracts import examples
from aigen_bridge.contracts.models import ModelEntry, ModelPrice, estimated_cost, to_model
from aigen_bridge.domain.catalogue import NAMED_MAX, Catalogue, Model, Price, PriceUnit, estimate
from aigen_bridge.domain.money import PLACES, amount_text

EVENT = examples.REQUESTED
sides = st.integers(64, 4096)
amounts = st.decimals(0, 1_000_000, places=9, allow_nan=False)


def model(name: str = "Ink", model_id: UUID | None = None, *, is_active: bool = True, **keys: object) -> Model:
    """A model with these keys of an entry."""
    provider = {"kind": "fal", "endpoint": "https://fal.run/x"}
    entry = ModelEntry.model_validate({"name": name, "provider": provider} | keys).stored()
    return to_model(model_id or uuid4(), entry, is_active=is_active, updated_at=datetime.now(UTC))


@given(amounts, sides, sides)
def test_the_price_by_megapixel_is_exact_up_to_the_last_place_of_an_amount(
    amount: Decimal, width: int, height: int
) -> None:
    found = estimate(Price(amount=amount, currency="USD", per=PriceUnit.MEGAPIXEL), f"{width}x{height}")
    assert found
    assert abs(found.amount * 1_000_000 - amount * width * height) <= Decimal(500_000).scaleb(-PLACES)


@given(amounts, sides, sides)
def test_the_price_by_image_does_not_depend_on_the_size(amount: Decimal, width: int, height: int) -> None:
    price = {"amount": amount_text(amount), "currency": "USD", "per": "image"}
    found = estimated_cost(
        {"price": ModelPrice.model_validate(price).model_dump()}, {"resolution": f"{width}x{height}"}
    )
    assert found
    assert found.amount == amount


def test_a_request_without_a_readable_price_has_no_estimate() -> None:
    for entry in (
        None,
        {},
        {"price": None},
        {"price": 1},
        {"price": {"amount": "x", "currency": "USD", "per": "image"}},
    ):
        assert estimated_cost(entry, EVENT) is None


def test_without_ranges_and_resolutions_every_value_of_the_event_is_taken() -> None:
    event = EVENT | {"negativePrompt": None, "inferenceSteps": 100, "cfgScale": 35, "resolution": "4096x64"}
    known = model(model_id=UUID(EVENT["modelId"]))
    assert Catalogue(models={known.model_id: known}).refusals(event) == []


def test_a_refusal_names_some_of_many_models_and_says_how_many_more_there_are() -> None:
    many = {each.model_id: each for each in (model(f"Ink {number:02}") for number in range(NAMED_MAX + 2))}
    retired = model("Chalk", is_active=False)

    [refused] = Catalogue(models=many | {retired.model_id: retired}).refusals(EVENT)

    assert refused.allowed
    assert refused.allowed.endswith("(Ink 09), 2 more")
    assert "Chalk" not in refused.allowed
