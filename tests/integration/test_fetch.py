"""N8N sends a URL: the image is fetched while the URL lives, checked, and delivered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from callbacks import completed, failed, report, with_url
from stage import REQUESTS, Stage, staged, working


async def test_an_image_that_comes_as_a_url_arrives_in_odoo(stage: Stage) -> None:
    asked, event = await with_url(stage)
    answer = await report(stage, event)
    ended = await stage.until_delivered(asked["requestId"])

    steps = [(e["step"], e["outcome"]) for e in await stage.timeline(asked["requestId"]) if e["kind"] == "attempt"]
    assert answer.json()["status"] == "received"
    assert ended["status"] == "completed"
    assert ("fetch", "done") in steps
    assert stage.chain.odoo.records[asked["requestId"]].sha256 == event["hashValue"]


async def test_the_url_is_fetched_again_when_the_first_try_fails(stage: Stage) -> None:
    asked, event = await with_url(stage)
    stage.chain.flux.faults.add(Fault(kind=FaultKind.STATUS, route="image", status=503))
    await report(stage, event)
    ended = await stage.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"


async def test_an_image_that_is_missing_for_a_moment_arrives(stage: Stage) -> None:
    """As when N8N itself serves the image, and is just being restarted."""
    asked, event = await with_url(stage)
    stage.chain.flux.faults.add(Fault(kind=FaultKind.EXPIRED_URL, route="image", times=2))
    await report(stage, event)

    assert (await stage.until_delivered(asked["requestId"]))["status"] == "completed"


async def test_a_url_that_is_gone_fails_the_request_and_a_new_result_wins(stage: Stage, png: bytes) -> None:
    asked, event = await with_url(stage)
    stage.chain.flux.faults.add(Fault(kind=FaultKind.EXPIRED_URL, route="image", times=None))
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    await report(stage, event | {"resultExpiresAt": soon})
    failed_ = await stage.until_delivered(asked["requestId"])
    answer = await report(stage, completed(asked, png))
    ended = await stage.until(asked["requestId"], lambda r: r["status"] == "completed" and r["deliveredAt"])

    assert (failed_["status"], failed_["errorCode"]) == ("failed", "image_fetch_failed")
    assert answer.status_code == 202
    assert ended["version"] > failed_["version"]
    assert stage.chain.odoo.records[asked["requestId"]].status == "completed"


async def test_an_image_that_is_not_what_n8n_said_is_rejected(stage: Stage) -> None:
    asked, event = await with_url(stage)
    await report(stage, event | {"hashValue": "0" * 64})
    ended = await stage.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", "image_rejected")
    assert "hashValue" in ended["errorMessage"]


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: binary/octet-stream\r\nContent-Encoding: aws-chunked\r\n\r\n"
"""As an object store answers. The body ends when the connection is closed."""


async def test_an_image_that_ends_early_is_fetched_again(stage: Stage, png: bytes) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
    asked = await stage.ask()
    async with _serving([HEAD + png[:-20], HEAD + png]) as url:
        await report(stage, completed(asked, png, imageData=None, imageUrl=url))
        ended = await stage.until_delivered(asked["requestId"])

    tries = [e["errorCode"] for e in await stage.timeline(asked["requestId"]) if e.get("step") == "fetch"]
    assert (ended["status"], tries) == ("completed", ["image_cut_off", None])


async def test_a_fetched_image_that_is_refused_is_kept(stage: Stage, database: Database, png: bytes) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
    asked = await stage.ask()
    refused = png + b"PK\3\4"
    async with _serving([HEAD + refused]) as url:
        await report(stage, completed(asked, refused, imageData=None, imageUrl=url))
        ended = await stage.until_delivered(asked["requestId"])
    letters = (await stage.api.get("/api/v1/ops/dead-letters?kind=callback", headers=stage.as_client("ops"))).json()
    [letter] = letters["items"]
    async with database.reading() as connection:
        kept = (await connection.execute(text("SELECT image, payload FROM quarantine"))).one()
    replayed = await stage.api.post(f"/api/v1/ops/dead-letters/{letter['id']}/replay", headers=stage.as_client("ops"))

    assert (ended["status"], ended["errorCode"]) == ("failed", "image_rejected")
    assert "4 bytes behind the end of the image" in ended["errorMessage"]
    assert f"kept as dead letter {letter['id']}" in ended["errorMessage"]
    assert (letter["requestId"], kept.image) == (asked["requestId"], refused)
    assert (replayed.status_code, "4 bytes behind" in replayed.json()["detail"]) == (422, True)


@asynccontextmanager
async def _serving(answers: list[bytes]) -> AsyncIterator[str]:
    """A server that gives one answer to each caller, and its URL."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answers.pop(0))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/image"


async def test_trying_ends_when_the_url_ends(stage: Stage) -> None:
    asked, event = await with_url(stage)
    stage.chain.flux.faults.add(Fault(kind=FaultKind.STATUS, route="image", status=503, times=None))
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    await report(stage, event | {"resultExpiresAt": soon})
    ended = await stage.until_delivered(asked["requestId"])

    tries = [e for e in await stage.timeline(asked["requestId"]) if e.get("step") == "fetch"]
    assert ended["errorCode"] == "image_fetch_failed"
    assert 1 <= len(tries) <= 3


async def test_the_same_url_again_is_a_repeat_and_another_image_contradicts(idle_stage: Stage, png: bytes) -> None:
    asked, event = await with_url(idle_stage)
    first, again = await report(idle_stage, event), await report(idle_stage, event)
    other = await report(idle_stage, event | {"hashValue": "0" * 64})
    failure = await report(idle_stage, failed(asked))
    bytes_of_another = await report(idle_stage, completed(asked, png))

    assert [first.json()["duplicate"], again.json()["duplicate"]] == [False, True]
    assert [other.status_code, failure.status_code, bytes_of_another.status_code] == [409] * 3


async def test_the_bytes_may_overtake_the_fetch(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, completed(asked, png, imageData=None, imageUrl="https://example.com/i.png"))
    answer = await report(idle_stage, completed(asked, png))

    assert answer.json() == {"requestId": asked["requestId"], "status": "completed", "duplicate": False}


async def test_a_url_after_cancelling_changes_nothing(idle_stage: Stage) -> None:
    asked, event = await with_url(idle_stage)
    await idle_stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=idle_stage.as_client("odoo"))
    first, again = await report(idle_stage, event), await report(idle_stage, event)

    assert (first.json()["status"], first.json()["duplicate"]) == ("cancelled", False)
    assert again.json()["duplicate"] is True


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "https://user:pw@example.com/", "https://2130706433/", "ftp://example.com/", "x"]
)
async def test_a_url_that_we_would_never_fetch_is_a_422_at_once(idle_stage: Stage, url: str) -> None:
    asked, event = await with_url(idle_stage)
    answer = await report(idle_stage, event | {"imageUrl": url})

    assert answer.status_code == 422
    assert "imageUrl" in answer.json()["detail"]
    assert "pw" not in answer.text
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


async def test_an_address_that_is_not_public_is_refused_by_the_fetch(database_url: str, png: bytes) -> None:
    closed = {"image_urls": {"allow_http": True}}
    async with staged(database_url, **closed) as stage, working(stage.settings):
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK))
        asked = await stage.ask()
        flux_calls = len(stage.chain.flux.calls)
        url = f"{stage.chain.flux_url}/files/x.png"
        await report(stage, completed(asked, png, imageData=None, imageUrl=url))
        ended = await stage.until_delivered(asked["requestId"])
        fetched = [call for call in list(stage.chain.flux.calls)[flux_calls:] if call.route == "image"]

    assert ended["errorCode"] == "image_fetch_failed"
    assert fetched == []


@pytest.mark.parametrize(("style", "moves"), [("v1-url", ["received", "completed"]), ("v2", ["completed"])])
async def test_the_whole_chain_works_in_every_style(database_url: str, style: str, moves: list[str]) -> None:
    async with staged(database_url, n8n={"callback_style": style}) as stage, working(stage.settings):
        asked = await stage.ask()
        ended = await stage.until_delivered(asked["requestId"])
        states = [e["status"] for e in await stage.timeline(asked["requestId"]) if e["kind"] == "state"]

    assert ended["status"] == "completed"
    assert [state for state in states if state not in {"queued", "dispatched"}] == moves
