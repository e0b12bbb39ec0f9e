"""Dead letters: replayed one by one or in bulk, discarded, completed by hand; each action names its operator."""

import asyncio
from datetime import timedelta
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from aigen_bridge.sim.drawing import draw
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from callbacks import completed, failed, report
from stage import REQUESTS, Stage, working

DEAD_LETTERS = "/api/v1/ops/dead-letters"


async def listed(stage: Stage, **query: Any) -> list[dict[str, Any]]:
    answer = await stage.api.get(DEAD_LETTERS, params=query, headers=stage.as_client("ops"))
    return list(answer.json()["items"])


async def act(stage: Stage, path: str, **body: Any) -> httpx.Response:
    return await stage.api.post(f"{DEAD_LETTERS}/{path}", json=body or None, headers=stage.as_client("ops"))


async def complete(
    stage: Stage, request_id: str, content: bytes, media: str = "image/png", encoding: str = ""
) -> httpx.Response:
    headers = stage.as_client("ops") | {"Content-Type": media, "Content-Encoding": encoding}
    return await stage.api.post(f"/api/v1/ops/requests/{request_id}/complete", content=content, headers=headers)


async def dispatch_dead(stage: Stage) -> dict[str, Any]:
    """A request that N8N refused for good."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])
    return asked


async def deliver_dead(stage: Stage) -> dict[str, Any]:
    """A result that Odoo refused for good."""
    fault = Fault(kind=FaultKind.ODOO_ERROR, name="odoo.exceptions.ValidationError", detail="no", times=None)
    stage.chain.odoo.faults.add(fault)
    asked = await stage.ask()
    async with asyncio.timeout(20):
        while not await listed(stage, kind="deliver"):
            await asyncio.sleep(0.02)
    stage.chain.odoo.faults.clear()
    return asked


async def test_a_replayed_dispatch_goes_the_whole_way(stage: Stage, database: Database) -> None:
    asked = await dispatch_dead(stage)
    [letter] = await listed(stage)
    answer = await act(stage, f"{letter['id']}/replay")
    ended = await stage.until(asked["requestId"], lambda r: r["status"] == "completed" and r["deliveredAt"])

    async with database.reading() as connection:
        action = (
            await connection.execute(text("SELECT client, action, target, request_id::text FROM operations"))
        ).one()
    notes = [e["note"] for e in await stage.timeline(asked["requestId"]) if e.get("status") == "queued"]
    assert (answer.status_code, answer.json()["status"]) == (200, "queued")
    assert tuple(action) == ("ops", "replay", letter["id"], asked["requestId"])
    assert notes == ["accepted", "replayed by ops"]
    assert await listed(stage) == []
    assert stage.chain.odoo.records[asked["requestId"]].versions[-1] == ended["version"]


async def test_a_replay_is_a_new_message_to_n8n_with_all_its_tries(stage: Stage) -> None:
    asked = await dispatch_dead(stage)
    [letter] = await listed(stage)
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=503))
    await act(stage, f"{letter['id']}/replay")
    await stage.until(asked["requestId"], lambda r: r["status"] == "completed")

    assert len(stage.chain.n8n.calls.to("webhook")) == 3


async def test_a_replayed_delivery_reaches_odoo_once(stage: Stage) -> None:
    asked = await deliver_dead(stage)
    [letter] = await listed(stage)
    await act(stage, f"{letter['id']}/replay")
    await stage.until_delivered(asked["requestId"])

    assert stage.chain.odoo.records[asked["requestId"]].applied == 1
    assert (await act(stage, f"{letter['id']}/replay")).status_code == 404


async def test_a_late_result_makes_the_dead_dispatch_moot(stage: Stage, png: bytes) -> None:
    asked = await dispatch_dead(stage)
    await report(stage, completed(asked, png))

    assert await listed(stage) == []


async def test_a_discarded_entry_leaves_the_list_for_good(stage: Stage, database: Database) -> None:
    asked = await deliver_dead(stage)
    [letter] = await listed(stage)
    answer = await act(stage, f"{letter['id']}/discard", reason="a test in production")

    async with database.reading() as connection:
        action = (await connection.execute(text("SELECT client, action, note FROM operations"))).one()
    assert answer.json() == {"id": letter["id"], "action": "discarded", "requestId": asked["requestId"], "status": None}
    assert tuple(action) == ("ops", "discard", "a test in production")
    assert await listed(stage) == []


async def test_a_bulk_replay_tells_first_and_then_spreads_what_it_does(idle_stage: Stage, database: Database) -> None:
    stage = idle_stage
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403, times=6))
    async with working(stage.settings):
        asked = [await stage.ask() for _ in range(6)]
        for one in asked:
            await stage.until_delivered(one["requestId"])
    told = await act(stage, "replay", kind="dispatch", dryRun=True, maxPerSecond=2)
    before = await listed(stage)
    done = await act(stage, "replay", kind="dispatch", errorCode="http_403", maxPerSecond=2)

    async with database.reading() as connection:
        rows = await connection.execute(
            text("""
                SELECT o.due_at - r.updated_at FROM outbox AS o JOIN requests AS r USING (request_id)
                WHERE o.step = 'dispatch' AND o.state = 'pending' ORDER BY o.due_at
            """)
        )
        delays: list[timedelta] = list(rows.scalars())
    assert told.json() | {"replayed": []} == {
        "dryRun": True,
        "matched": 6,
        "more": False,
        "replayed": [],
        "failed": {},
    }
    assert len(before) == 6
    assert told.json()["replayed"] == done.json()["replayed"] == [letter["id"] for letter in before[::-1]]
    assert await listed(stage) == []
    assert delays == [timedelta(seconds=0.5 * number) for number in range(6)]


async def test_a_bulk_replay_says_what_it_could_not_put_back(idle_stage: Stage) -> None:
    await report(
        idle_stage,
        failed(
            {
                "requestId": "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11",
                "correlationId": "9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55",
            }
        ),
    )
    [letter] = await listed(idle_stage)
    done = await act(idle_stage, "replay", kind="callback")

    assert done.json()["replayed"] == []
    assert "No request has the id" in done.json()["failed"][letter["id"]]
    assert len(await listed(idle_stage)) == 1


BACKWARDS = {"since": "2026-01-31T18:00:00Z", "until": "2026-01-31T18:00:00Z"}


@pytest.mark.parametrize(
    "body", [{"kind": "everything"}, {"maxPerSecond": 0}, {"unknown": 1}, {"since": "yesterday"}, BACKWARDS]
)
async def test_a_wrong_bulk_filter_is_a_422_and_does_nothing(stage: Stage, body: dict[str, Any]) -> None:
    await dispatch_dead(stage)

    assert (await act(stage, "replay", **body)).status_code == 422
    assert len(await listed(stage)) == 1


async def test_a_request_is_completed_by_hand_with_an_image_file(stage: Stage, database: Database, png: bytes) -> None:
    asked = await dispatch_dead(stage)
    answer = await complete(stage, asked["requestId"], png)
    ended = await stage.until(asked["requestId"], lambda r: r["status"] == "completed" and r["deliveredAt"])

    async with database.reading() as connection:
        action = (await connection.execute(text("SELECT client, action FROM operations"))).one()
    assert (answer.status_code, answer.json()["status"]) == (200, "completed")
    assert (ended["image"]["width"], ended["image"]["format"]) == (64, "png")
    assert stage.chain.odoo.records.image(asked["requestId"]) == png
    assert tuple(action) == ("ops", "complete")
    assert await listed(stage) == []


async def test_completing_by_hand_takes_every_format_and_refuses_what_is_no_image(idle_stage: Stage) -> None:
    for image_format in ("jpeg", "webp"):
        asked = await idle_stage.ask()
        content = draw("a", seed=1, width=80, height=64, image_format=image_format)
        answer = await complete(idle_stage, asked["requestId"], content, f"image/{image_format}")
        assert (answer.status_code, answer.json()["image"]["format"]) == (200, image_format)
    asked = await idle_stage.ask()
    refused = {
        (b"GIF89a", "image/gif"): (422, "a GIF image"),
        (b"", "image/png"): (422, "empty"),
        (b"--x\r\nContent-Disposition: form-data", "multipart/form-data; boundary=x"): (422, "a multipart body"),
        (b"<html>Sign in</html>", "application/octet-stream"): (422, "an HTML page"),
        (b"{}", "application/json"): (415, "JSON"),
        (b"iVBORw0KGgo", "text/plain"): (415, "the base64 text of an image"),
    }

    for (content, media), (status, what) in refused.items():
        answer = await complete(idle_stage, asked["requestId"], content, media)
        assert (answer.status_code, f"is {what}, not an image" in answer.json()["detail"]) == (status, True), (
            answer.text
        )
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


async def test_completing_by_hand_looks_at_the_bytes_alone(idle_stage: Stage, png: bytes) -> None:
    """As when curl sends a file as a form, which it does unless told otherwise."""
    for media in ("binary/octet-stream", "image/jpg", "application/x-www-form-urlencoded", "text/plain", ""):
        asked = await idle_stage.ask()
        assert (await complete(idle_stage, asked["requestId"], png, media)).status_code == 200, media
    asked = await idle_stage.ask()
    assert (await complete(idle_stage, asked["requestId"], png, encoding="gzip")).status_code == 200


async def test_what_has_ended_for_good_is_not_completed_by_hand(idle_stage: Stage, png: bytes) -> None:
    cancelled, refused = await idle_stage.ask(), await idle_stage.ask()
    await idle_stage.api.post(f"{REQUESTS}/{cancelled['requestId']}/cancel", headers=idle_stage.as_client("odoo"))
    await report(idle_stage, failed(refused))
    unknown = "5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11"

    assert (await complete(idle_stage, cancelled["requestId"], png)).status_code == 409
    assert (await complete(idle_stage, refused["requestId"], png)).status_code == 409
    assert (await complete(idle_stage, unknown, png)).status_code == 404


@pytest.mark.parametrize("name", ["entry-999", "entry-0"])
async def test_an_unknown_entry_is_a_404(idle_stage: Stage, name: str) -> None:
    assert (await act(idle_stage, f"{name}/replay")).status_code == 404
    assert (await act(idle_stage, f"{name}/discard", reason="none")).status_code == 404
