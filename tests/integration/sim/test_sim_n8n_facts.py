"""What the workflow tells about a generation and its cost, as version 1.3 does."""

import pytest
from n8n_stage import COMPLETED, FAILED, FLUX_KEY, checked

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n_settings import Price

LORA = {"path": "https://models.example.com/lighthouses.safetensors"}
PER_MEGAPIXEL = Price(amount="0.035", currency="USD", per="megapixel")


@pytest.fixture
async def told(start, flux, mailbox, make_event):
    """A function that starts N8N, with faults of the AI service and settings, and returns the event of its callback."""

    async def told(*faults, event=None, **changes):
        _, post = await start(**{"flux_url": flux.url, "flux_key": FLUX_KEY} | changes)
        flux.faults.add(*faults)
        await post(make_event(**event or {}))
        [letter] = await mailbox.wait_for(1)
        return letter.event

    return told


async def test_the_facts_are_those_of_the_ai_service(told, flux):
    event = checked(await told(event={"negativePrompt": "fog", "seed": None}, loras={"*": LORA}), COMPLETED)
    [job] = flux.jobs
    output = job.ending.body
    assert event["generation"] == {
        "provider": "fal",
        "jobId": job.id,
        "model": "fal-ai/flux-lora",
        "seed": output["seed"],
        "seconds": output["timings"]["inference"],
        "negativePrompt": "ignored",
        "hasNsfwConcepts": [False],
        "lora": LORA["path"],
    }
    assert (event["workflowVersion"], "cost" in event) == ("1.3.0", False)


async def test_a_synchronous_call_has_the_same_facts_but_no_job(told):
    generation = checked(await told(ai_mode="sync", event={"seed": 2**31 + 5}), COMPLETED)["generation"]
    assert set(generation) == {"provider", "model", "seed", "seconds", "hasNsfwConcepts"}
    assert generation["seed"] == 2**31 + 5


async def test_a_folded_negative_prompt_is_told(told):
    event = await told(negative_prompt="fold", event={"negativePrompt": "fog"})
    assert event["generation"]["negativePrompt"] == "folded"


async def test_an_image_that_the_simulator_draws_itself_has_a_seed_alone(told):
    assert checked(await told(flux_url=None), COMPLETED)["generation"] == {"seed": 7}


@pytest.mark.parametrize(
    ("price", "amount", "units"),
    [
        (Price(amount="0.05", currency="EUR"), "0.05", 1),
        (PER_MEGAPIXEL, "0.00010752", 0.003072),
    ],
)
async def test_a_price_gives_an_estimated_cost(told, price, amount, units):
    cost = checked(await told(price=price), COMPLETED)["cost"]
    about = {"currency": price.currency, "basis": "estimated", "units": units, "unit": price.per}
    assert cost == {"amount": amount} | about


async def test_an_image_that_is_withheld_costs_all_the_same(told, flux):
    event = checked(await told(Fault(kind=FaultKind.NSFW), price=PER_MEGAPIXEL), FAILED)
    [job] = flux.jobs
    generation = event["generation"]
    assert (event["errorCode"], generation["jobId"], generation["seed"]) == ("nsfw_content", job.id, 7)
    assert (generation["hasNsfwConcepts"], event["cost"]["amount"]) == ([True], "0.00010752")


async def test_a_job_without_an_image_is_named_and_costs_nothing(told, flux):
    fault = Fault(kind=FaultKind.FAIL_JOB, route="generate", status=422, name="content_policy_violation")
    event = checked(await told(fault, price=PER_MEGAPIXEL), FAILED)
    [job] = flux.jobs
    assert event["generation"] == {"provider": "fal", "jobId": job.id, "model": "fal-ai/flux-lora"}
    assert "cost" not in event


async def test_a_submission_that_is_refused_has_no_facts(told):
    event = checked(await told(Fault(kind=FaultKind.STATUS, status=422), price=PER_MEGAPIXEL), FAILED)
    assert not {"generation", "cost"} & event.keys()
