"""N8N's last resort: what it could not deliver, and what failed there, becomes a dead letter."""

import hashlib
import json
from typing import Any
from uuid import uuid4

import httpx
import pytest
from sqlalchemy import text

from aigen_bridge.domain.signature import new_secret
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from callbacks import completed, failed, signed
from stage import KEYS, Stage, staged

FAILURES = "/api/v1/ops/n8n-failures"
DEAD_LETTERS = "/api/v1/ops/dead-letters"
LINK = "https://n8n.example.com/workflow/aigen-main/executions/231"


def report(**fields: Any) -> dict[str, Any]:
    told = {"workflow": "aigen-main", "executionId": "231", "executionUrl": LINK, "errorMessage": "Nobody took it."}
    return told | fields


def undelivered(asked: dict[str, Any], image: bytes) -> dict[str, Any]:
    """The report on a completed result, whose image travels beside it."""
    ids = {name: asked[name] for name in ("requestId", "correlationId")}
    return report(**ids, result=completed(asked, image, imageData=None))


async def tell(stage: Stage, event: dict[str, Any], image: bytes | None = None, **headers: str) -> httpx.Response:
    headers = stage.as_client("n8n") | headers
    if image is None:
        content = {"Content-Type": "application/json"}
        return await stage.api.post(FAILURES, content=json.dumps(event).encode(), headers=headers | content)
    parts = {"event": (None, json.dumps(event).encode()), "image": ("image.png", image, "image/png")}
    return await stage.api.post(FAILURES, files=parts, headers=headers)


async def letters(stage: Stage, **query: str) -> list[dict[str, Any]]:
    return list((await stage.api.get(DEAD_LETTERS, params=query, headers=stage.as_client("ops"))).json()["items"])


async def replay(stage: Stage, name: str) -> httpx.Response:
    return await stage.api.post(f"{DEAD_LETTERS}/{name}/replay", headers=stage.as_client("ops"))


async def test_an_undelivered_result_is_kept_with_its_image_and_can_be_replayed(stage: Stage, png: bytes) -> None:
    lost = await _lost(stage)
    told = await tell(stage, undelivered(lost, png), png)

    [letter] = await letters(stage, kind="n8n")
    assert (told.status_code, told.json()) == (202, {"id": letter["id"], "requestId": lost["requestId"]})
    assert (letter["errorCode"], letter["detail"]) == (
        "n8n_undelivered",
        f"aigen-main failed: Nobody took it. Execution: {LINK}",
    )
    assert (await replay(stage, letter["id"])).status_code == 200
    ended = await stage.until_delivered(lost["requestId"])
    assert ended["image"]["sha256"] == hashlib.sha256(png).hexdigest()
    assert await letters(stage) == []


async def _lost(stage: Stage) -> dict[str, Any]:
    """A request whose result never comes by itself."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK))
    asked = await stage.ask()
    return await stage.until(asked["requestId"], lambda found: found["status"] == "dispatched")


async def test_an_undelivered_failure_needs_no_image(stage: Stage) -> None:
    lost = await _lost(stage)
    await tell(stage, report(requestId=lost["requestId"], result=failed(lost)))
    [letter] = await letters(stage, kind="n8n")
    assert (await replay(stage, letter["id"])).json()["status"] == "failed"


async def test_the_same_report_again_is_counted_and_not_kept_twice(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    first, second = [await tell(idle_stage, undelivered(asked, png), png) for _ in range(2)]
    [letter] = await letters(idle_stage)
    assert (first.json(), letter["times"]) == (second.json(), 2)


async def test_people_are_alerted(idle_stage: Stage, database: Database) -> None:
    await tell(idle_stage, report(errorMessage="x is not a function"))
    async with database.reading() as connection:
        told = (await connection.execute(text("SELECT cause, detail FROM incidents JOIN occurrences o ON true"))).one()
        alerts = (await connection.execute(text("SELECT count(*) FROM outbox WHERE step = 'alert'"))).scalar_one()
    assert (told.cause, alerts) == ("workflow_failed", 1)
    assert LINK in told.detail


async def test_a_crash_has_nothing_to_replay_and_says_what_to_do(idle_stage: Stage) -> None:
    await tell(idle_stage, report(node="Sign", errorMessage="x is not a function"))
    [letter] = await letters(idle_stage)
    refused = await replay(idle_stage, letter["id"])
    assert letter["detail"] == f"aigen-main failed at 'Sign': x is not a function Execution: {LINK}"
    assert (refused.status_code, refused.json()["code"]) == (409, "nothing_to_replay")
    discarded = await idle_stage.api.post(
        f"{DEAD_LETTERS}/{letter['id']}/discard", json={"reason": "mended"}, headers=idle_stage.as_client("ops")
    )
    assert discarded.status_code == 200


@pytest.mark.parametrize(
    "odd",
    [
        {"requestId": "no-uuid", "correlationId": 7},
        {"executionUrl": "javascript:alert(1)"},
        {"executionId": 231, "workflow": None, "more": {"of": "this"}},
        {"errorMessage": "nul \0 and " + "x" * 10_000},
    ],
    ids=["ids", "link", "types", "text"],
)
async def test_a_report_is_not_refused_over_a_detail(idle_stage: Stage, odd: dict[str, Any]) -> None:
    answer = await tell(idle_stage, report(**odd))
    [letter] = await letters(idle_stage)
    assert answer.status_code == 202
    assert "javascript" not in letter["detail"]
    assert len(letter["detail"]) <= 2000


async def test_a_report_without_any_word_is_refused_and_kept(idle_stage: Stage) -> None:
    answer = await tell(idle_stage, {"executionId": "231"})
    [letter] = await letters(idle_stage, kind="n8n")
    assert (answer.status_code, letter["errorCode"]) == (422, "invalid_message")
    assert (await replay(idle_stage, letter["id"])).status_code == 422


async def test_only_n8n_may_report(idle_stage: Stage) -> None:
    codes = [
        (await idle_stage.api.post(FAILURES, json=report(), headers=headers)).status_code
        for headers in ({}, idle_stage.as_client("odoo"), idle_stage.as_client("ops"))
    ]
    assert codes == [401, 403, 403]


async def test_where_signatures_are_required_a_report_is_signed_too(database_url: str) -> None:
    secret = new_secret()
    n8n = {"keys": [KEYS["n8n"]], "scopes": ["callbacks"], "signing_secrets": [secret], "signature_required": True}
    async with staged(database_url, clients={"n8n": n8n}) as stage:
        body = json.dumps(report(requestId=str(uuid4()))).encode()
        content = stage.as_client("n8n") | {"Content-Type": "application/json"}
        unsigned = await stage.api.post(FAILURES, content=body, headers=content)
        good = await stage.api.post(FAILURES, content=body, headers=content | signed(body, secret))
    assert (unsigned.status_code, good.status_code) == (401, 202)
