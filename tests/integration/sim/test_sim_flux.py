"""The AI service: fal.ai's contract, pictures that are real, URLs that expire."""

import io
import time

import httpx
import pybase64
import pytest
from PIL import Image

from aigen_bridge.sim.drawing import draw
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.serving import serving

KEY = "key-of-the-ai-service"
GENERATE = "/fal-ai/flux-lora"
SMALL = {"width": 48, "height": 32}


@pytest.fixture
def flux(clock):
    return FluxSimulator(FluxSettings(key=KEY, seconds=0), clock=clock)


@pytest.fixture
async def client(flux):
    headers = {"Authorization": f"Key {KEY}"}
    async with (
        serving(flux.app) as url,
        httpx.AsyncClient(base_url=url, headers=headers, verify=False, trust_env=False) as client,
    ):
        yield client


async def generate(client, **more):
    answer = await client.post(GENERATE, json={"prompt": "A lighthouse", "image_size": SMALL} | more)
    assert answer.status_code == 200, answer.text
    return answer.json()


def opened(content):
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


async def test_the_answer_has_fals_shape_and_the_url_leads_to_that_image(client):
    answer = await generate(client, seed=42, output_format="png")
    assert set(answer) == {"images", "timings", "seed", "has_nsfw_concepts", "prompt"}
    assert (answer["seed"], answer["has_nsfw_concepts"], answer["prompt"]) == (42, [False], "A lighthouse")
    [image] = answer["images"]
    file = await client.get(image["url"])
    assert file.headers["content-type"] == image["content_type"] == "image/png"
    assert len(file.content) == image["file_size"]
    assert opened(file.content).size == (image["width"], image["height"]) == (48, 32)


@pytest.mark.parametrize(("wanted", "found"), [("png", "PNG"), ("jpeg", "JPEG"), ("webp", "WEBP")])
async def test_the_output_format_is_honoured(client, wanted, found):
    [image] = (await generate(client, output_format=wanted))["images"]
    assert opened((await client.get(image["url"])).content).format == found


@pytest.mark.parametrize(
    ("preset", "size"), [("square", (512, 512)), ("portrait_16_9", (576, 1024)), (None, (1024, 768))]
)
async def test_presets_have_fals_sizes(client, preset, size):
    body = {"prompt": "x"} | ({"image_size": preset} if preset else {})
    [image] = (await client.post(GENERATE, json=body)).json()["images"]
    assert (image["width"], image["height"]) == size


def test_the_same_order_gives_the_same_picture_and_another_seed_another():
    def picture(prompt="A lighthouse", seed=1):
        return draw(prompt, seed=seed, width=64, height=64)

    assert picture() == picture()
    assert len({picture(), picture(seed=2), picture(prompt="A beach")}) == 3


def test_a_large_picture_is_drawn_quickly():
    draw("warm up", seed=1, width=1024, height=1024)
    started = time.process_time()
    draw("A lighthouse " * 30, seed=1, width=1024, height=1024)
    assert time.process_time() - started < 0.5  # measured 0.03; the margin is for busy machines


async def test_several_images_come_from_neighbouring_seeds(client):
    images = (await generate(client, num_images=2, seed=1))["images"]
    contents = {(await client.get(image["url"])).content for image in images}
    assert len(contents) == 2


async def test_a_seed_is_chosen_when_none_is_given_and_it_is_the_one_that_was_used(client):
    answers = [await generate(client, output_format="png") for _ in range(8)]
    assert len({answer["seed"] for answer in answers}) == 8
    assert max(answer["seed"] for answer in answers) > 2**31
    again = await generate(client, output_format="png", seed=answers[0]["seed"])
    first, second = [(await client.get(answer["images"][0]["url"])).content for answer in (answers[0], again)]
    assert first == second


async def test_the_timing_is_that_of_the_whole_inference(flux, client):
    flux.faults.add(Fault(kind=FaultKind.SLOW_JOB, delay=0.2))
    slow, quick = [(await generate(client))["timings"] for _ in range(2)]
    assert set(slow) == {"inference"}
    assert slow["inference"] >= 0.2
    assert quick["inference"] > 0


async def test_an_image_can_be_found_unsafe(flux, client):
    flux.faults.add(Fault(kind=FaultKind.NSFW))
    unsafe, safe = [(await generate(client, num_images=2))["has_nsfw_concepts"] for _ in range(2)]
    assert (unsafe, safe) == ([True, True], [False, False])


async def test_sync_mode_gives_a_data_uri(client):
    [image] = (await generate(client, sync_mode=True))["images"]
    head, _, content = image["url"].partition(",")
    assert head == "data:image/jpeg;base64"
    assert opened(pybase64.b64decode(content)).size == (48, 32)


async def test_an_image_url_expires(client, clock):
    [image] = (await generate(client))["images"]
    clock.now += 359
    assert (await client.get(image["url"])).status_code == 200
    clock.now += 2
    assert (await client.get(image["url"])).status_code == 404


async def test_a_wrong_key_is_refused(client):
    answer = await client.post(GENERATE, json={"prompt": "x"}, headers={"Authorization": "Key wrong"})
    assert answer.status_code == 401
    assert isinstance(answer.json()["detail"], str)


@pytest.mark.parametrize(
    ("body", "loc", "kind"),
    [
        ({}, ["body", "prompt"], "missing"),
        ({"prompt": "x", "num_images": 9}, ["body", "num_images"], "less_than_equal"),
        ({"prompt": "x", "output_format": "gif"}, ["body", "output_format"], "literal_error"),
        ({"prompt": "x", "loras": [{"scale": 1}]}, ["body", "loras", 0, "path"], "missing"),
    ],
)
async def test_bad_input_is_a_model_error(client, body, loc, kind):
    answer = await client.post(GENERATE, json=body)
    assert answer.status_code == 422
    [error] = answer.json()["detail"]
    assert (error["loc"], error["type"]) == (loc, kind)
    assert {"msg", "input"} <= set(error)


async def test_faults_have_fals_two_shapes(flux, client):
    flux.faults.add(
        Fault(kind=FaultKind.STATUS, status=504, name="request_timeout", detail="Too slow"),
        Fault(kind=FaultKind.STATUS, status=422, name="content_policy_violation", detail="No"),
    )
    slow, rude = [await client.post(GENERATE, json={"prompt": "x"}) for _ in range(2)]
    assert (slow.status_code, slow.json()) == (504, {"detail": "Too slow", "error_type": "request_timeout"})
    assert rude.status_code == 422
    assert rude.json()["detail"][0]["type"] == "content_policy_violation"


async def test_the_image_can_be_missing_misdescribed_truncated_or_gone(flux, client):
    kinds = ("no_image", "wrong_size", "wrong_dimensions", "truncated_image", "expired_url")
    flux.faults.add(*(Fault(kind=FaultKind(kind)) for kind in kinds))
    assert (await generate(client))["images"] == []
    [larger] = (await generate(client))["images"]
    [wider] = (await generate(client))["images"]
    half = await client.get(larger["url"])
    assert len(half.content) == (larger["file_size"] - 1) // 2
    assert wider["width"] == 49
    assert (await client.get(wider["url"])).status_code == 404
    assert (await client.get(wider["url"])).status_code == 200
