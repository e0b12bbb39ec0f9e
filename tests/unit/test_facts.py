"""The facts that N8N reports with a result: each wrong value is ignored on its own, and none refuses a callback."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.contracts.envelope import Envelope
from aigen_bridge.contracts.messages import Callback, parse_callback
from aigen_bridge.domain.facts import Cost, CostBasis, Facts, GenerationFacts, NegativePromptUse
from callbacks import completed, failed

IDS = {"requestId": "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11", "correlationId": "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55"}
GENERATION: dict[str, Any] = {
    "provider": "fal",
    "jobId": "764cabcf",
    "model": "fal-ai/flux-lora",
    "seed": 2**63 - 1,
    "seconds": 3.14,
    "negativePrompt": "folded",
    "hasNsfwConcepts": [False],
    "lora": "https://example.com/lora.safetensors",
}
COST: dict[str, Any] = {"amount": "0.0350", "currency": "USD", "basis": "billed", "units": 1.05, "unit": "megapixel"}


def parse(**fields: Any) -> Callback:
    return parse_callback(Envelope(json.dumps(completed(IDS, b"image") | fields).encode()))


@pytest.mark.parametrize("event", [completed(IDS, b"image"), failed(IDS)])
def test_the_facts_of_a_result_and_of_a_failure_are_read(event: dict[str, Any]) -> None:
    told = parse_callback(Envelope(json.dumps(event | {"generation": GENERATION, "cost": COST}).encode()))
    assert told.ignored == ()
    assert told.facts == Facts(
        generation=GenerationFacts(
            provider="fal",
            job_id="764cabcf",
            model="fal-ai/flux-lora",
            seed=2**63 - 1,
            seconds=3.14,
            negative_prompt=NegativePromptUse.FOLDED,
            has_nsfw_concepts=(False,),
            lora="https://example.com/lora.safetensors",
        ),
        cost=Cost(amount="0.035", currency="USD", basis=CostBasis.BILLED, units=1.05, unit="megapixel"),
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("provider", 7),
        ("jobId", "j" * 201),
        ("model", ["fal"]),
        ("seed", -1),
        ("seed", 2**63),
        ("seed", True),
        ("seed", 7.5),
        ("seed", "1" * 5000),
        ("seconds", -0.1),
        ("seconds", "soon"),
        ("seconds", 10**400),
        ("negativePrompt", "perhaps"),
        ("negativePrompt", ["used"]),
        ("hasNsfwConcepts", [0]),
        ("hasNsfwConcepts", [True] * 11),
        ("hasNsfwConcepts", True),
        ("lora", "l" * 2001),
    ],
)
def test_a_wrong_value_in_generation_is_named_and_the_others_count(name: str, value: Any) -> None:
    told = parse(generation={**GENERATION, name: value})
    assert told.ignored == (f"generation.{name}",)
    rest = parse(generation={known: each for known, each in GENERATION.items() if known != name})
    assert told.facts == rest.facts


@pytest.mark.parametrize("seed", [7, 7.0, "7", "7.0", " 7 "])
def test_a_seed_may_be_any_form_of_a_whole_number(seed: Any) -> None:
    assert parse(generation={"seed": seed}).facts.generation == GenerationFacts(seed=7)


@pytest.mark.parametrize(
    ("word", "use"),
    [
        ("used", NegativePromptUse.USED),
        ("ignored", NegativePromptUse.IGNORED),
        ("folded into the prompt", NegativePromptUse.FOLDED),
        ("not supported by the model", NegativePromptUse.IGNORED),
    ],
)
def test_the_words_of_earlier_workflows_for_the_negative_prompt_are_understood(
    word: str, use: NegativePromptUse
) -> None:
    assert parse(generation={"negativePrompt": word}).facts.generation == GenerationFacts(negative_prompt=use)


@pytest.mark.parametrize("wrong", [[], "x", 7, True, [{"seed": 7}]])
def test_a_wrong_object_is_ignored_as_a_whole(wrong: Any) -> None:
    told = parse(generation=wrong, cost=wrong)
    assert (told.ignored, told.facts) == (("generation", "cost"), Facts())


@pytest.mark.parametrize("nothing", [None, {}, {"provider": None, "amount": ""}, {"unknown": 1}])
def test_absent_and_empty_values_are_not_named_as_wrong(nothing: Any) -> None:
    told = parse(generation=nothing, cost=nothing)
    assert (told.ignored, told.facts) == ((), Facts())


@pytest.mark.parametrize(
    ("change", "ignored"),
    [
        ({"amount": "-1"}, ("cost.amount",)),
        ({"currency": "usd"}, ("cost.currency",)),
        ({"amount": None}, ("cost",)),
        ({"currency": None}, ("cost",)),
    ],
)
def test_a_cost_without_a_valid_amount_and_currency_is_ignored(change: Any, ignored: tuple[str, ...]) -> None:
    told = parse(cost=COST | change)
    assert (told.facts.cost, told.ignored) == (None, ignored)


@pytest.mark.parametrize(
    ("change", "ignored"),
    [({"basis": "guessed"}, ("cost.basis",)), ({"basis": None}, ()), ({"basis": ["billed"]}, ("cost.basis",))],
)
def test_a_cost_of_unknown_basis_is_an_estimate(change: Any, ignored: tuple[str, ...]) -> None:
    told = parse(cost=COST | change)
    assert told.facts.cost is not None
    assert (told.facts.cost.basis, told.ignored) == (CostBasis.ESTIMATED, ignored)


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    anything | st.dictionaries(st.sampled_from([*GENERATION]), anything),
    anything | st.dictionaries(st.sampled_from([*COST]), anything),
)
def test_nothing_inside_them_refuses_a_callback_or_breaks_how_they_are_shown(generation: Any, cost: Any) -> None:
    told = parse(generation=generation, cost=cost)
    assert told.event.request_id
    note = told.facts.note()
    assert note is None or "\0" not in note


def test_the_note_says_the_facts_for_people() -> None:
    facts = parse(generation=GENERATION | {"seed": 42, "seconds": 3.1}, cost=COST).facts
    assert facts.note() == "made by fal fal-ai/flux-lora (job 764cabcf), seed 42, 3.1 s; cost 0.035 USD (billed)"
    assert facts.note("failed at") == facts.note().replace("made by", "failed at")  # type: ignore[union-attr]
    assert parse(generation={"seed": 0}).facts.note() == "seed 0"
    assert parse(cost=COST).facts.note() == "cost 0.035 USD (billed)"
    assert parse(generation={"negativePrompt": "used"}).facts.note() is None
