"""An operator sends a failed request again, with or without a dead letter. What was not the bridge's failure is not."""

import asyncio
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import httpx

from aigen_bridge.domain.request import FailedBy, FailureCode, Status, Transition
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed, report
from outages import rows, write
from stage import REQUESTS, Stage, working

DEADLINES = Deadlines(timedelta(minutes=10), timedelta(minutes=5))


async def replay(stage: Stage, request_id: str, client: str = "ops") -> httpx.Response:
    return await stage.api.post(f"/api/v1/ops/requests/{request_id}/replay", headers=stage.as_client(client))


async def move(database: Database, *transitions: Transition) -> None:
    requests = Requests(database, DEADLINES, PostgresImages(database))
    for transition in transitions:
        assert await requests.apply(transition)


def dispatched(asked: dict[str, Any]) -> Transition:
    before = frozenset({Status.QUEUED})
    return Transition(request_id=UUID(asked["requestId"]), before=before, after=Status.DISPATCHED)


def failure(asked: dict[str, Any], code: FailureCode) -> Transition:
    before = frozenset({Status.QUEUED, Status.DISPATCHED})
    request_id = UUID(asked["requestId"])
    by = FailedBy.BRIDGE
    return Transition(request_id=request_id, before=before, after=Status.FAILED, failed_by=by, error_code=code)


async def ask_and_expire(stage: Stage, database: Database) -> dict[str, Any]:
    """Returns a request that has timed out: it has no dead letter."""
    asked = await stage.ask()
    await move(database, dispatched(asked), timed_out(UUID(asked["requestId"]), DEADLINES.callback))
    return asked


async def pending(database: Database, asked: dict[str, Any]) -> list[str]:
    query = "SELECT step FROM outbox WHERE request_id = CAST(:id AS uuid) AND state = 'pending'"
    return [step for (step,) in await rows(database, query, id=asked["requestId"])]


async def test_a_request_that_timed_out_is_sent_again_and_its_picture_arrives_once(
    idle_stage: Stage, database: Database
) -> None:
    asked = await ask_and_expire(idle_stage, database)
    shown = await idle_stage.read(asked["requestId"])
    answer = await replay(idle_stage, asked["requestId"])
    async with working(idle_stage.settings):
        ended = await idle_stage.until_delivered(asked["requestId"])

    assert (shown["errorCode"], shown["replayable"]) == ("timed_out", True)
    assert (answer.status_code, answer.json()["status"], answer.json()["replayable"]) == (200, "queued", False)
    assert (answer.json()["completedAt"], answer.json()["errorCode"]) == (None, None)
    assert ended["status"] == "completed"
    assert len(idle_stage.chain.n8n.calls.to("webhook")) == 1
    assert idle_stage.chain.odoo.records[asked["requestId"]].applied == 1
    notes = [entry.get("note") for entry in await idle_stage.timeline(asked["requestId"])]
    assert "replayed by ops" in notes
    actions = await rows(database, "SELECT client, action, target, request_id::text FROM operations")
    assert actions == [("ops", "replay", "request", asked["requestId"])]


async def test_of_many_replays_at_once_one_sends_the_request(idle_stage: Stage, database: Database) -> None:
    asked = await ask_and_expire(idle_stage, database)
    answers = await asyncio.gather(*(replay(idle_stage, asked["requestId"]) for _ in range(6)))

    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    refused = next(answer.json() for answer in answers if answer.status_code == 409)
    assert (refused["code"], refused["requestId"]) == ("request_open", asked["requestId"])
    assert await pending(database, asked) == ["dispatch"]
    assert len(await rows(database, "SELECT FROM operations")) == 1


async def test_its_deadline_starts_anew_and_a_late_picture_wins_once(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    late, again = await ask_and_expire(idle_stage, database), await ask_and_expire(idle_stage, database)
    for asked in (late, again):
        await write(database, "UPDATE requests SET dispatched_at = now() - interval '1 hour'")
        assert (await replay(idle_stage, asked["requestId"])).status_code == 200
    await move(database, dispatched(again))
    [(remaining,)] = await rows(
        database,
        "SELECT callback_deadline_at - now() FROM requests WHERE request_id = CAST(:id AS uuid)",
        id=again["requestId"],
    )
    first, repeated = await report(idle_stage, completed(late, png)), await report(idle_stage, completed(late, png))

    assert timedelta(minutes=9) < remaining <= DEADLINES.callback
    assert (first.json()["duplicate"], repeated.json()["duplicate"]) == (False, True)
    assert await pending(database, late) == ["deliver"]
    assert (await replay(idle_stage, late["requestId"])).json()["code"] == "request_ended"


async def test_every_failure_of_the_bridge_can_be_replayed_without_a_dead_letter(
    idle_stage: Stage, database: Database
) -> None:
    for code in FailureCode:
        asked = await idle_stage.ask()
        await move(database, failure(asked, code))

        assert (await replay(idle_stage, asked["requestId"])).json()["status"] == "queued", code
        assert await pending(database, asked) == ["dispatch"], code


async def test_a_dead_letter_of_the_request_is_closed_by_its_replay(stage: Stage, database: Database) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])
    dead = await rows(database, "SELECT id FROM outbox WHERE state = 'dead'")
    answer = await replay(stage, asked["requestId"])
    ended = await stage.until(asked["requestId"], lambda found: found["status"] == "completed")

    assert (len(dead), answer.status_code) == (1, 200)
    assert await rows(database, "SELECT id FROM outbox WHERE state = 'dead'") == []
    assert ended["completedAt"]


async def test_a_result_that_odoo_refused_is_delivered_again(stage: Stage, database: Database) -> None:
    fault = Fault(kind=FaultKind.ODOO_ERROR, name="odoo.exceptions.ValidationError", detail="no", times=1)
    stage.chain.odoo.faults.add(fault)
    asked = await stage.ask()
    async with asyncio.timeout(20):
        while not await rows(database, "SELECT FROM outbox WHERE state = 'dead' AND step = 'deliver'"):
            await asyncio.sleep(0.02)
    answers = [await replay(stage, asked["requestId"])]
    await stage.until_delivered(asked["requestId"])
    answers.append(await replay(stage, asked["requestId"]))

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [(200, "completed"), (409, 409)]
    assert stage.chain.odoo.records[asked["requestId"]].applied == 1
    assert len(stage.chain.n8n.calls.to("webhook")) == 1


async def test_what_the_bridge_did_not_fail_is_refused_with_the_reason_and_advice(
    idle_stage: Stage, png: bytes
) -> None:
    refused, cancelled, ready, waiting = [await idle_stage.ask() for _ in range(4)]
    await report(idle_stage, failed(refused))
    await idle_stage.api.post(f"{REQUESTS}/{cancelled['requestId']}/cancel", headers=idle_stage.as_client("odoo"))
    await report(idle_stage, completed(ready, png))
    answers = [(await replay(idle_stage, asked["requestId"])) for asked in (refused, cancelled, ready, waiting)]
    problems = [answer.json() for answer in answers]
    shown = await idle_stage.read(refused["requestId"])

    assert [answer.status_code for answer in answers] == [409] * 4
    assert [problem["code"] for problem in problems] == [*["request_ended"] * 3, "request_open"]
    assert shown["errorCode"] in problems[0]["detail"]
    assert "Ask for a new one." in problems[0]["detail"]
    assert shown["replayable"] is False
    assert (await replay(idle_stage, str(uuid4()))).status_code == 404
    assert (await replay(idle_stage, refused["requestId"], client="odoo")).status_code == 403


async def test_the_open_report_of_a_failed_execution_is_closed_with_its_request(
    idle_stage: Stage, database: Database
) -> None:
    asked = await idle_stage.ask()
    await move(database, dispatched(asked))
    told = {"requestId": asked["requestId"], "executionId": "1", "errorMessage": "x is not a function"}
    url, headers = "/api/v1/ops/n8n-failures", idle_stage.as_client("n8n")
    reported = await idle_stage.api.post(url, json=told, headers=headers)
    answer = await replay(idle_stage, asked["requestId"])

    assert (reported.status_code, answer.json()["status"]) == (202, "queued")
    assert await rows(database, "SELECT state FROM quarantine") == [("replayed",)]
