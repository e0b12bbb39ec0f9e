"""Nothing authenticated is ever dropped: what cannot be used is kept, listed, replayed or discarded."""

import asyncio
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from callbacks import completed, failed, report, report_v2
from stage import CALLBACK, REQUESTS, Stage, make_event, working

DEAD_LETTERS = "/api/v1/ops/dead-letters"


async def listed(stage: Stage, **query: Any) -> list[dict[str, Any]]:
    answer = await stage.api.get(DEAD_LETTERS, params=query, headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def act(stage: Stage, name: str, action: str, **body: Any) -> httpx.Response:
    path = f"{DEAD_LETTERS}/{name}/{action}"
    return await stage.api.post(path, json=body or None, headers=stage.as_client("ops"))


@pytest.fixture
def unknown() -> dict[str, Any]:
    return {"requestId": str(uuid4()), "correlationId": str(uuid4())}


async def test_a_callback_for_an_unknown_request_is_kept_whole(
    idle_stage: Stage, database: Database, png: bytes, unknown: dict[str, Any]
) -> None:
    event = completed(unknown, png)
    answer = await report(idle_stage, event, **{"X-Note": "from the workflow"})

    [letter] = await listed(idle_stage)
    async with database.reading() as connection:
        row = (await connection.execute(text("SELECT * FROM quarantine"))).one()
    assert answer.status_code == 404
    assert (letter["kind"], letter["requestId"], letter["errorCode"]) == (
        "callback",
        unknown["requestId"],
        "request_unknown",
    )
    assert json.loads(row.payload) == event
    assert row.headers["x-note"] == "from the workflow"
    assert "x-api-key" not in row.headers


async def test_every_kind_of_unusable_callback_is_kept(idle_stage: Stage, png: bytes, unknown: dict[str, Any]) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, failed(asked))
    headers = idle_stage.as_client("n8n") | {"Content-Type": "application/json"}
    await idle_stage.api.post(CALLBACK, content=b"not json", headers=headers)
    await report(idle_stage, {"status": "completed"})
    await report(idle_stage, completed(asked, png, hashValue="0" * 64))
    await report(idle_stage, completed(asked, png))
    await report(idle_stage, failed(unknown))

    codes = {letter["errorCode"] for letter in await listed(idle_stage)}
    assert codes == {"not_json", "invalid_message", "image_rejected", "callback_contradicts", "request_unknown"}


async def test_an_unexpected_error_of_ours_keeps_the_callback(
    idle_stage: Stage, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    asked = await idle_stage.ask()
    with monkeypatch.context() as patched:
        patched.setattr("aigen_bridge.store.requests.Requests.apply_versioned", broken)
        answer = await report(idle_stage, completed(asked, png))
    [letter] = await listed(idle_stage)
    replayed = await act(idle_stage, letter["id"], "replay")

    assert (answer.status_code, letter["errorCode"]) == (500, "internal")
    assert (replayed.status_code, replayed.json()["status"]) == (200, "completed")


async def test_what_is_not_authenticated_is_not_kept(idle_stage: Stage, unknown: dict[str, Any]) -> None:
    await idle_stage.api.post(CALLBACK, json=failed(unknown), headers={"X-API-Key": "wrong"})

    assert await listed(idle_stage) == []


async def test_the_same_callback_25_times_at_once_is_kept_once_and_counted(
    idle_stage: Stage, unknown: dict[str, Any]
) -> None:
    await asyncio.gather(*(report(idle_stage, failed(unknown)) for _ in range(25)))

    [letter] = await listed(idle_stage)
    assert letter["times"] == 25


@pytest.mark.parametrize("version", ["v1", "v2"])
async def test_an_operator_replays_a_callback_once_its_cause_is_mended(
    idle_stage: Stage, png: bytes, version: str
) -> None:
    """The callback came for a request that Odoo had not sent yet."""
    event = make_event()
    if version == "v1":
        await report(idle_stage, completed(event, png))
    else:
        await report_v2(idle_stage, completed(event, png, imageData=None), png)
    [letter] = await listed(idle_stage)
    too_early = await act(idle_stage, letter["id"], "replay")
    await idle_stage.api.post(REQUESTS, json=event, headers=idle_stage.as_client("odoo"))
    replayed = await act(idle_stage, letter["id"], "replay")

    assert too_early.status_code == 404
    assert replayed.json() == {
        "id": letter["id"],
        "action": "replayed",
        "requestId": event["requestId"],
        "status": "completed",
    }
    assert await listed(idle_stage) == []
    assert (await act(idle_stage, letter["id"], "replay")).status_code == 404


async def test_discarding_needs_a_reason_and_takes_it_off_the_list(
    idle_stage: Stage, database: Database, unknown: dict[str, Any]
) -> None:
    await report(idle_stage, failed(unknown))
    [letter] = await listed(idle_stage)
    without = await act(idle_stage, letter["id"], "discard", reason="")
    done = await act(idle_stage, letter["id"], "discard", reason="from the test system")

    async with database.reading() as connection:
        row = (
            await connection.execute(
                text(
                    """SELECT q.state, o.client, o.note
                   FROM quarantine AS q JOIN operations AS o ON o.target = 'callback-' || q.id"""
                )
            )
        ).one()
    assert (without.status_code, done.status_code) == (422, 200)
    assert tuple(row) == ("discarded", "ops", "from the test system")
    assert await listed(idle_stage) == []


@pytest.mark.parametrize("name", ["callback-999", "callback-x", "nonsense", "callback-99999999999999999999"])
async def test_an_unknown_dead_letter_is_refused(idle_stage: Stage, name: str) -> None:
    assert (await act(idle_stage, name, "replay")).status_code in {404, 422}


async def test_entries_that_were_given_up_are_in_the_same_list(idle_stage: Stage, unknown: dict[str, Any]) -> None:
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
    async with working(idle_stage.settings):
        asked = await idle_stage.ask()
        await idle_stage.until_delivered(asked["requestId"])
    await report(idle_stage, failed(unknown))

    letters = await listed(idle_stage)
    assert [letter["kind"] for letter in letters] == ["callback", "dispatch"]
    assert letters[1]["requestId"] == asked["requestId"]
    assert [letter["kind"] for letter in await listed(idle_stage, kind="dispatch")] == ["dispatch"]
    assert [letter["kind"] for letter in await listed(idle_stage, errorCode="request_unknown")] == ["callback"]
    assert await listed(idle_stage, until="2020-01-01T00:00:00Z") == []


async def test_the_list_goes_by_pages(idle_stage: Stage) -> None:
    for _ in range(5):
        await report(idle_stage, failed({"requestId": str(uuid4()), "correlationId": str(uuid4())}))
    seen: list[str] = []
    cursor: dict[str, str] = {}
    for _ in range(3):
        answer = await idle_stage.api.get(
            DEAD_LETTERS, params={"limit": 2, **cursor}, headers=idle_stage.as_client("ops")
        )
        seen += [item["id"] for item in answer.json()["items"]]
        cursor = {"cursor": answer.json()["nextCursor"]}

    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize("client", ["odoo", "n8n"])
async def test_only_operations_see_dead_letters(idle_stage: Stage, client: str) -> None:
    assert (await idle_stage.api.get(DEAD_LETTERS, headers=idle_stage.as_client(client))).status_code == 403
