"""What the workflow tells about a generation and its cost, as version 1.4 does."""

import pytest
from n8n_stage import COMPLETED, FAILED, FLUX_KEY, checked

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n_settings import Price

LORA = {"path": "https://models.example.com/lighthouses.safetensors"}
NOTHING = {"amount": "0.00", "currency": "USD", "basis": "billed"}
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
    assert (event["workflowVersion"], "cost" in event) == ("1.4.0", False)


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


async def test_a_submission_that_is_refused_has_no_facts_and_costs_nothing(told):
    event = checked(await told(Fault(kind=FaultKind.STATUS, status=422), price=PER_MEGAPIXEL), FAILED)
    assert ("generation" in event, event["cost"]) == (False, NOTHING)


@pytest.mark.parametrize("ai_mode", ["queue", "sync"])
@pytest.mark.parametrize(
    ("fault", "is_free"),
    [
        (Fault(kind=FaultKind.FAIL_JOB, route="generate", status=503, times=3), True),
        (Fault(kind=FaultKind.FAIL_JOB, route="generate", status=422, name="content_policy_violation"), False),
        (Fault(kind=FaultKind.NO_IMAGE, route="generate"), False),
        (Fault(kind=FaultKind.STATUS, route="generate", status=503, times=3), True),
    ],
    ids=["infrastructure", "verdict", "no image", "refused"],
)
async def test_a_failure_costs_nothing_only_if_the_ai_service_surely_billed_nothing(
    told, flux, fault, is_free, ai_mode
):
    event = checked(await told(fault, price=PER_MEGAPIXEL, ai_mode=ai_mode), FAILED)
    assert event.get("cost") == (NOTHING if is_free else None)
    assert any(job.billed for job in flux.jobs) is not is_free


async def test_a_job_with_a_wrong_input_costs_nothing(told, flux):
    event = checked(await told(event={"inferenceSteps": 999}, price=PER_MEGAPIXEL), FAILED)
    [job] = flux.jobs
    assert (event["errorCode"], event["cost"], job.billed) == ("less_than_equal", NOTHING, False)


async def test_the_entry_of_the_catalogue_says_how_the_model_is_called(told, flux):
    price = {"amount": "2.50", "currency": "EUR", "per": "image"}
    entry = model(flux, loras=[LORA, {"path": "b", "scale": 0.5}], format="jpeg", price=price)
    entry |= {"supports": {"seed": False}, "steps": {"min": 1, "max": 50, "default": 9}}
    event = checked(await told(event={"model": entry, "inferenceSteps": None}, price=PER_MEGAPIXEL), COMPLETED)
    [call] = flux.calls.to("generate")
    assert (call.path, call.fields["output_format"]) == ("/queue/fal-ai/krea", "jpeg")
    assert (call.fields["num_inference_steps"], "seed" in call.fields) == (9, False)
    assert call.fields["loras"] == [LORA | {"scale": 1}, {"path": "b", "scale": 0.5}]
    generation = event["generation"]
    assert (generation["model"], generation["lora"]) == ("fal-ai/krea", f"{LORA['path']}, b")
    assert (event["imageMetadata"]["format"], event["cost"]["amount"]) == ("jpeg", "2.50")


async def test_a_model_is_called_synchronously_if_its_kind_says_so(told, flux):
    entry = model(flux, provider={"kind": "fal-sync", "endpoint": f"{flux.url}/fal-ai/krea"})
    checked(await told(event={"model": entry}), COMPLETED)
    assert [job.queued for job in flux.jobs] == [False]


async def test_a_stand_in_for_every_ai_service_makes_the_images_of_models_elsewhere(told, flux):
    entry = model(flux, provider={"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux-pro"})
    checked(await told(event={"model": entry}, stands_in=True), COMPLETED)
    assert [job.queued for job in flux.jobs] == [False], "the URLs of a job would have another origin than the endpoint"


@pytest.mark.parametrize(
    ("provider", "code"),
    [
        ({"kind": "fal", "endpoint": "https://evil.example.com/queue/fal-ai/flux-lora"}, "endpoint_not_allowed"),
        ({"kind": "other", "endpoint": "http://127.0.0.1/"}, "unknown_provider"),
        ({"kind": "fal"}, "invalid_event"),
    ],
)
async def test_a_model_that_the_settings_do_not_allow_fails_before_anything_is_paid(told, flux, provider, code):
    price = {"amount": "2.50", "currency": "EUR", "per": "image"}
    event = checked(await told(event={"model": model(flux, provider=provider, price=price)}), FAILED)
    assert (event["errorCode"], len(flux.jobs)) == (code, 0)
    assert event["cost"] == NOTHING | {"currency": "EUR"}


async def test_further_origins_of_the_settings_are_allowed(told, flux):
    elsewhere = {"flux_url": "http://127.0.0.1:9", "ai_origins": (flux.url,)}
    checked(await told(event={"model": model(flux)}, **elsewhere), COMPLETED)


async def test_without_an_ai_service_the_model_is_drawn(told, flux):
    entry = model(flux, provider={"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux-lora"}, format="webp")
    event = checked(await told(event={"model": entry}, flux_url=None), COMPLETED)
    assert event["imageMetadata"]["format"] == "webp"


def model(flux, **changes):
    provider = {"kind": "fal", "endpoint": f"{flux.url}/queue/fal-ai/krea"}
    return {"modelId": "c2b7f0d4-11e5-4c7a-9d38-7a5e2f9b1c60", "name": "Krea", "provider": provider} | changes
