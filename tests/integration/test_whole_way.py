"""One image, all the way: Odoo asks, N8N makes it, Odoo has it."""

import asyncio
import hashlib

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from stage import REQUESTS, Stage, staged, working


async def test_a_request_comes_back_to_odoo_as_the_image_that_was_made(stage: Stage) -> None:
    asked = await stage.ask(prompt="A lighthouse")
    ended = await stage.until_delivered(asked["requestId"])

    image = stage.chain.odoo.records.image(asked["requestId"])
    assert ended["status"] == "completed"
    assert image is not None
    assert hashlib.sha256(image).hexdigest() == ended["image"]["sha256"]
    assert (ended["image"]["width"], ended["image"]["height"], ended["image"]["format"]) == (64, 64, "png")
    answer = await stage.api.get(ended["image"]["href"], headers=stage.as_client("odoo"))
    assert (answer.content, answer.headers["content-type"]) == (image, "image/png")


async def test_every_optional_field_reaches_n8n_with_our_callback_url(stage: Stage) -> None:
    asked = await stage.ask(seed=42, campaignId="7e4d2c1b-5a69-4f38-b7c6-1d0e9f8a2b34", cfgScale=7.5)
    await stage.until_delivered(asked["requestId"])

    [call] = stage.chain.n8n.calls.to("webhook")
    assert call.fields["callbackUrl"] == stage.settings.callback_url
    assert (call.fields["seed"], call.fields["cfgScale"]) == (42, 7.5)
    assert call.fields["campaignId"] == "7e4d2c1b-5a69-4f38-b7c6-1d0e9f8a2b34"
    assert call.fields["negativePrompt"] == "text, watermark"
    assert call.headers["x-correlation-id"] == asked["correlationId"]


async def test_absent_optional_fields_are_not_sent_to_n8n(stage: Stage) -> None:
    asked = await stage.ask(seed=None, campaignId=None, negativePrompt=None, cfgScale=None, inferenceSteps=None)
    await stage.until_delivered(asked["requestId"])

    [call] = stage.chain.n8n.calls.to("webhook")
    assert not {"seed", "campaignId", "negativePrompt", "cfgScale", "inferenceSteps"} & call.fields.keys()


async def test_the_person_learns_why_the_ai_service_refused(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.AI_ERROR, name="content_policy", detail="The prompt was flagged."))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    record = stage.chain.odoo.records[asked["requestId"]]
    assert (ended["status"], ended["errorCode"]) == ("failed", "content_policy")
    assert (record.status, record.error_code) == ("failed", "content_policy")
    assert "flagged" in (record.error_message or "")


@pytest.mark.parametrize("speaks", [False, True], ids=["older workflow", "workflow that asks first"])
async def test_a_callback_that_overtakes_the_webhooks_answer_wins(database_url: str, *, speaks: bool) -> None:
    async with staged(database_url, n8n={"speaks": speaks}) as stage, working(stage.settings):
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.CALLBACK_FIRST))
        asked = await stage.ask()
        ended = await stage.until_delivered(asked["requestId"])
        states = [e["status"] for e in await stage.timeline(asked["requestId"]) if e["kind"] == "state"]

    assert ended["status"] == "completed"
    assert states == ["queued", *(["dispatched"] if speaks else []), "completed"]
    assert stage.chain.odoo.records[asked["requestId"]].applied == 1


async def test_the_timeline_tells_every_move_and_every_try_in_order(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=503))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])

    told = [
        (e["status"],) if e["kind"] == "state" else (e["step"], e["number"], e["outcome"])
        for e in await stage.timeline(asked["requestId"])
    ]
    assert told == [
        ("queued",),
        ("dispatch", 1, "retry"),
        ("dispatch", 2, "done"),
        ("dispatched",),
        ("completed",),
        ("deliver", 1, "done"),
    ]


async def test_twenty_requests_at_once_all_arrive_once(stage: Stage) -> None:
    asked = await asyncio.gather(*(stage.ask(seed=n) for n in range(20)))
    ended = await asyncio.gather(*(stage.until_delivered(a["requestId"], seconds=60) for a in asked))

    assert {e["status"] for e in ended} == {"completed"}
    assert [stage.chain.odoo.records[a["requestId"]].applied for a in asked] == [1] * 20
    assert len(stage.chain.n8n.calls.to("webhook")) == 20


@pytest.mark.parametrize("kind", [FaultKind.WRONG_HASH, FaultKind.WRONG_SIZE, FaultKind.WRONG_DIMENSIONS])
async def test_an_image_that_is_not_what_n8n_says_changes_nothing(stage: Stage, kind: FaultKind) -> None:
    stage.chain.n8n.faults.add(Fault(kind=kind, route="callback"))
    asked = await stage.ask()
    await stage.chain.n8n.calls.seen(1, "webhook")
    await stage.chain.n8n.idle()

    [attempt] = stage.chain.n8n.attempts
    assert attempt.status == 422
    assert (await stage.read(asked["requestId"]))["status"] == "dispatched"
    assert asked["requestId"] not in stage.chain.odoo.records


async def test_listing_goes_through_every_request_once_newest_first(idle_stage: Stage) -> None:
    asked = [(await idle_stage.ask())["requestId"] for _ in range(5)]
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = await idle_stage.api.get(REQUESTS, params={"limit": 2, **cursor}, headers=idle_stage.as_client("ops"))
        page = answer.json()
        seen += [item["requestId"] for item in page["items"]]
        cursor = {"cursor": page["nextCursor"]}
    assert seen == asked[::-1]
    assert page["nextCursor"] is None
