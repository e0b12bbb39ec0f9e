"""N8N asks before it pays for an image."""

from typing import Any
from uuid import uuid4

from aigen_bridge.sim.faults import Fault, FaultKind
from callbacks import completed, failed, report
from stage import REQUESTS, Stage


async def wanted(stage: Stage, request_id: str, client: str = "n8n") -> Any:
    answer = await stage.api.get(f"{REQUESTS}/{request_id}/wanted", headers=stage.as_client(client))
    return answer.json()


async def test_an_image_is_wanted_until_there_is_one(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    before = await wanted(idle_stage, asked["requestId"])
    await report(idle_stage, completed(asked, png))
    after = await wanted(idle_stage, asked["requestId"])
    assert before == {"requestId": asked["requestId"], "status": "queued", "wanted": True}
    assert (after["status"], after["wanted"]) == ("completed", False)


async def test_it_is_not_wanted_once_n8n_has_said_that_there_is_none(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, failed(asked))
    assert (await wanted(idle_stage, asked["requestId"]))["wanted"] is False


async def test_it_is_not_wanted_once_it_was_cancelled(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await idle_stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=idle_stage.as_client("odoo"))
    assert (await wanted(idle_stage, asked["requestId"]))["wanted"] is False


async def test_after_a_failure_of_ours_a_late_image_is_still_wanted(stage: Stage) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, status=400, route="webhook"))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])
    told = await wanted(stage, asked["requestId"])
    assert (ended["status"], told["status"], told["wanted"]) == ("failed", "failed", True)


async def test_it_tells_n8n_nothing_else_and_others_nothing_at_all(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    assert set(await wanted(idle_stage, asked["requestId"])) == {"requestId", "status", "wanted"}
    assert (await wanted(idle_stage, asked["requestId"], "odoo"))["code"] == "scope_missing"
    assert (await wanted(idle_stage, str(uuid4())))["code"] == "request_unknown"
