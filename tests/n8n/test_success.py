"""An image is delivered, in each of the three callback styles."""

import pytest
from theatre import Opened, eventually
from variants import LORA_MODEL

from aigen_bridge.contracts import examples

PATHS = {"v2": "/api/v2/", "v1": "/api/v1/", "v1-url": "/api/v1/"}


@pytest.mark.parametrize("style", PATHS)
async def test_an_image_arrives_in_odoo_whatever_the_style(open_theatre: Opened, style: str) -> None:
    theatre = await open_theatre(style)
    asked = await theatre.ask(resolution="1024x768", aspectRatio="4:3", seed=7)
    ended = await theatre.until_delivered(asked["requestId"])

    await theatre.settle()
    [callback] = theatre.callbacks(asked)
    record = theatre.odoo.records[asked["requestId"]]
    assert (ended["status"], ended["image"]["width"], ended["image"]["height"]) == ("completed", 1024, 768)
    assert (record.sha256, record.applied) == (ended["image"]["sha256"], 1)
    assert (callback.path[:8], callback.status) == (PATHS[style], 202)
    assert callback.headers["webhook-signature"].startswith("v1,")  # and the bridge takes nothing unsigned here
    assert await theatre.dead_letters_of(asked) == []


async def test_the_correlation_id_is_found_in_every_hop(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    asked = await theatre.ask()
    await theatre.until_delivered(asked["requestId"])

    for place in ("ask", "generate", "job", "callback"):
        assert len(theatre.calls(place, asked)) == 1, place
    assert theatre.odoo.records[asked["requestId"]].applied == 1


async def test_the_trace_of_the_caller_reaches_the_ai_service_and_the_callback(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    asked = await theatre.ask()
    await theatre.until_delivered(asked["requestId"])
    event = _event(theatre.gate.url, asked)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    await theatre.post_to_n8n(event | {"requestId": asked["requestId"]}, traceparent=trace)

    async def asked_again() -> bool | None:
        traces = [call.headers.get("traceparent") for call in theatre.calls("ask", asked)]
        return True if trace in traces else None

    assert await eventually(asked_again)


async def test_the_ai_service_is_asked_for_what_the_person_asked_for(open_theatre: Opened) -> None:
    theatre = await open_theatre("table")
    asked = await theatre.ask(modelId=LORA_MODEL, negativePrompt="fog", inferenceSteps=20, cfgScale=7.5, seed=9)
    ended = await theatre.until_delivered(asked["requestId"])

    [question] = theatre.calls("generate", asked)
    assert ended["status"] == "completed"
    assert question.fields == {
        "prompt": f"{examples.REQUESTED['prompt']}\n\nWithout: fog",
        "image_size": {"width": 64, "height": 64},
        "num_images": 1,
        "output_format": "png",
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "seed": 9,
        "loras": [{"path": "https://models.example.com/lighthouses.safetensors", "scale": 0.8}],
    }


async def test_a_model_that_is_not_in_the_table_is_refused_before_anything_is_paid_for(open_theatre: Opened) -> None:
    theatre = await open_theatre("table")
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", "unknown_model")
    assert asked["modelId"] in ended["errorMessage"]
    assert theatre.calls("generate", asked) == []


def _event(gate_url: str, asked: dict[str, object]) -> dict[str, object]:
    names = ("requestId", "correlationId", "userId", "modelId", "prompt", "resolution", "aspectRatio")
    callback = f"{gate_url}/api/v1/influencegen/ai-image-callback"
    return {name: asked[name] for name in names} | {"callbackUrl": callback}
