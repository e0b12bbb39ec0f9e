"""Models of the bridge's catalogue: put at run time, they give pictures without an import of the workflows."""

from typing import Any

import pytest
from theatre import FLUX_KEY, Opened, Theatre

from aigen_bridge.contracts import examples
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux import MODEL, QUEUE, FluxSettings, FluxSimulator
from aigen_bridge.sim.serving import serving
from real_n8n import free_port

FIRST, SECOND = str(examples.REQUESTED["modelId"]), "3f1a9d52-8c64-4e0b-b7a3-5d2c6e8f9a10"
PRICE = {"amount": "0.035", "currency": "USD", "per": "megapixel"}
NOTHING = {"amount": "0.00", "currency": "USD", "basis": "billed"}
REAL = pytest.mark.parametrize("player", [pytest.param("real", marks=pytest.mark.n8n)], indirect=True)
"""Only on a real N8N. The tests of the simulated one have the same cases."""
PLAIN: dict[str, Any] = {"negativePrompt": None, "seed": None, "inferenceSteps": None, "cfgScale": None}


async def put(theatre: Theatre, endpoint: str, model_id: str = FIRST, *, kind: str = "fal", **more: Any) -> None:
    """Puts a model into the catalogue, as operations do."""
    entry = {"name": "Flux", "provider": {"kind": kind, "endpoint": endpoint}, "price": PRICE} | more
    answer = await theatre.call("PUT", f"/api/v1/ops/models/{model_id}", json=entry)
    assert answer.is_success, answer.text


async def ended(theatre: Theatre, **fields: Any) -> dict[str, Any]:
    """Asks for an image, waits for the result in Odoo, and returns the resource."""
    asked = await theatre.ask(**PLAIN | fields)
    return await theatre.until_delivered(asked["requestId"])


async def test_a_second_model_that_was_put_at_run_time_gives_pictures(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    await put(theatre, f"{theatre.flux_url}{QUEUE}")
    first = await ended(theatre, seed=7)
    loras = [{"path": "https://models.example.com/ink", "scale": 0.5}, {"path": "https://models.example.com/wash"}]
    scales = {"steps": {"min": 1, "max": 50, "default": 12}, "cfgScale": {"min": 0, "max": 9, "default": 2.5}}
    supports = {"negativePrompt": True, "seed": False}
    krea = f"{theatre.flux_url}/queue/fal-ai/krea"
    await put(theatre, krea, SECOND, loras=loras, format="jpeg", supports=supports, **scales)
    second = await ended(theatre, modelId=SECOND, seed=7, negativePrompt="fog", resolution="100x80", aspectRatio="5:4")

    [one], [other] = theatre.calls("generate", first), theatre.calls("generate", second)
    assert (one.path, other.path) == (QUEUE, "/queue/fal-ai/krea")
    assert (one.fields["seed"], one.fields["output_format"], "loras" in one.fields) == (7, "png", False)
    assert other.fields == {
        "prompt": examples.REQUESTED["prompt"],
        "negative_prompt": "fog",
        "image_size": {"width": 100, "height": 80},
        "num_images": 1,
        "output_format": "jpeg",
        "num_inference_steps": 12,
        "guidance_scale": 2.5,
        "loras": [loras[0], loras[1] | {"scale": 1}],
    }
    assert [theatre.odoo.records[each["requestId"]].applied for each in (first, second)] == [1, 1]
    assert second["image"]["format"] == "jpeg"
    made = second["generation"]
    assert (made["model"], made["negativePrompt"]) == ("fal-ai/krea", "used")
    assert {name: second["cost"][name] for name in ("amount", "currency", "basis")} == {
        "amount": "0.00028",
        "currency": "USD",
        "basis": "estimated",
    }
    assert second["estimatedCost"] == {"amount": "0.00028", "currency": "USD"}


@REAL
async def test_a_model_without_a_queue_is_called_synchronously(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    await put(theatre, f"{theatre.flux_url}{MODEL}", kind="fal-sync")
    found = await ended(theatre)

    [job] = theatre.flux.jobs.of(found["correlationId"])
    assert (found["status"], job.queued) == ("completed", False)


@REAL
async def test_a_model_at_another_origin_works_once_the_settings_have_it(open_theatre: Opened, addresses: Any) -> None:
    theatre = await open_theatre()
    other = FluxSimulator(FluxSettings(key=FLUX_KEY, seconds=0))
    async with serving(other.app, port=addresses.rest) as url:
        await put(theatre, f"{url}{QUEUE}")
        found = await ended(theatre)

    [job] = other.jobs
    assert (found["status"], found["generation"]["jobId"]) == ("completed", job.id)
    assert len(theatre.flux.jobs) == 0


@pytest.mark.parametrize(("kind", "code"), [("fal", "endpoint_not_allowed"), ("other", "unknown_provider")])
async def test_who_can_write_the_catalogue_does_not_receive_the_key(open_theatre: Opened, kind: str, code: str) -> None:
    theatre = await open_theatre()
    thief = FluxSimulator(FluxSettings(key=FLUX_KEY, seconds=0))
    async with serving(thief.app, port=free_port()) as url:
        await put(theatre, f"{url}{QUEUE}", kind=kind)
        found = await ended(theatre)

    assert (found["status"], found["errorCode"]) == ("failed", code)
    assert (len(thief.calls), theatre.calls("ask", found), theatre.calls("generate", found)) == (0, [], [])
    assert found["cost"].items() >= NOTHING.items()
    assert kind != "fal" or (url in found["errorMessage"])


@REAL
@pytest.mark.parametrize(
    ("fault", "is_free"),
    [
        (Fault(kind=FaultKind.STATUS, route="generate", status=503, times=3), True),
        (Fault(kind=FaultKind.STATUS, route="generate", status=401, times=1), True),
        (Fault(kind=FaultKind.FAIL_JOB, route="generate", status=500, times=1), True),
        (Fault(kind=FaultKind.FAIL_JOB, route="generate", status=422, name="content_policy_violation"), False),
        (Fault(kind=FaultKind.NO_IMAGE, route="generate"), False),
    ],
    ids=["busy", "wrong key", "infrastructure", "verdict", "no image"],
)
async def test_a_failure_costs_nothing_only_if_the_ai_service_surely_billed_nothing(
    open_theatre: Opened, fault: Fault, *, is_free: bool
) -> None:
    theatre = await open_theatre()
    await put(theatre, f"{theatre.flux_url}{QUEUE}")
    theatre.flux.faults.add(fault)
    found = await ended(theatre)

    assert found["status"] == "failed"
    assert any(job.billed for job in theatre.flux.jobs) is not is_free
    if is_free:
        assert found["cost"].items() >= NOTHING.items()
    else:
        assert found["cost"] is None
