"""Bridge → Odoo: Odoo being away, faults inside HTTP 200, and one effect for each result."""

import asyncio
from dataclasses import replace

import pytest

from aigen_bridge.pipeline import deliver
from aigen_bridge.sim.faults import Fault, FaultKind
from stage import REQUESTS, Stage


async def test_odoo_being_down_for_a_while_delays_the_result_and_loses_nothing(stage: Stage) -> None:
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.STATUS, status=503, times=2))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert stage.chain.odoo.records[asked["requestId"]].applied == 1


@pytest.mark.parametrize("kind", [FaultKind.DROP, FaultKind.DROP_AFTER])
async def test_a_cut_connection_to_odoo_leads_to_one_effect(stage: Stage, kind: FaultKind) -> None:
    """Cut after the effect: Odoo has it and we do not know. The second call changes nothing there."""
    warm = await stage.ask()  # so that the session exists and the fault hits the call itself
    await stage.until_delivered(warm["requestId"])
    stage.chain.odoo.faults.add(Fault(kind=kind))
    asked = await stage.ask()
    ended = await stage.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert stage.chain.odoo.records[asked["requestId"]].applied == 1


async def test_odoo_can_be_upgraded_while_the_bridge_runs(stage: Stage) -> None:
    odoo, asked = stage.chain.odoo, []
    asked.append((await stage.ask())["requestId"])
    await stage.until_delivered(asked[0])
    odoo.faults.add(Fault(kind=FaultKind.STATUS, status=502))
    asked.append((await stage.ask())["requestId"])
    assert await _until_tried(stage, asked[1], 1) == ["retry"]
    odoo.settings = replace(odoo.settings, series="19.0")
    await stage.until_delivered(asked[1])

    assert [odoo.records[request_id].applied for request_id in asked] == [1, 1]
    assert [call.fields["requestId"] for call in odoo.calls.to("json2")] == [asked[1]]


@pytest.mark.parametrize(
    "name", ["psycopg2.errors.SerializationFailure", "psycopg2.OperationalError", "builtins.RuntimeError"]
)
async def test_a_passing_fault_of_odoo_is_retried(stage: Stage, name: str) -> None:
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name, detail="could not serialize"))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])

    outcomes = await _delivery_outcomes(stage, asked["requestId"])
    assert outcomes == ["retry", "done"]


@pytest.mark.parametrize(
    "name", ["odoo.exceptions.AccessError", "odoo.exceptions.ValidationError", "builtins.AttributeError"]
)
async def test_a_lasting_fault_of_odoo_is_not_retried(stage: Stage, name: str) -> None:
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name=name, detail="no", times=None))
    asked = await stage.ask()

    assert await _until_tried(stage, asked["requestId"], 1) == ["dead"]
    assert (await stage.read(asked["requestId"]))["deliveredAt"] is None


async def test_an_image_that_is_too_large_for_odoo_is_kept_and_the_dead_letter_says_what_to_do(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.STATUS, status=413))
    refused = await stage.ask()
    assert await _until_tried(stage, refused["requestId"], 1) == ["dead"]
    monkeypatch.setattr(deliver, "ODOO_IMAGE_MAX", 10)
    not_sent = await stage.ask()
    assert await _until_tried(stage, not_sent["requestId"], 1) == ["dead"]
    letters = await stage.api.get("/api/v1/ops/dead-letters?kind=deliver", headers=stage.as_client("ops"))
    image = await stage.api.get(f"{REQUESTS}/{not_sent['requestId']}/image", headers=stage.as_client("ops"))

    assert [letter["errorCode"] for letter in letters.json()["items"]] == ["image_too_large", "odoo_http_413"]
    for letter in letters.json()["items"]:
        assert "replay this dead letter once the limit is raised" in letter["detail"]
    assert (image.status_code, len(image.content) > 10) == (200, True)


async def test_a_bug_of_odoo_is_tried_three_times(stage: Stage) -> None:
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name="builtins.RuntimeError", times=None))
    asked = await stage.ask()

    assert await _until_tried(stage, asked["requestId"], 3) == ["retry", "retry", "dead"]


async def test_odoos_traceback_goes_no_further(stage: Stage) -> None:
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.ODOO_ERROR, name="builtins.RuntimeError", detail="oops"))
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])

    [retry] = [e for e in await stage.timeline(asked["requestId"]) if e.get("outcome") == "retry"]
    assert "oops" in retry["detail"]
    assert "Traceback" not in retry["detail"]


async def test_the_login_is_made_once_and_kept(stage: Stage) -> None:
    for _ in range(3):
        await stage.until_delivered((await stage.ask())["requestId"])

    methods = [call.fields.get("method") for call in stage.chain.odoo.calls.to("jsonrpc")]
    assert methods.count("login") == 1


async def _until_tried(stage: Stage, request_id: str, times: int) -> list[str]:
    """How the tries of the delivery ended, as soon as there are so many."""
    async with asyncio.timeout(20):
        while len(outcomes := await _delivery_outcomes(stage, request_id)) < times:
            await asyncio.sleep(0.02)
    return outcomes


async def _delivery_outcomes(stage: Stage, request_id: str) -> list[str]:
    return [e["outcome"] for e in await stage.timeline(request_id) if e.get("step") == "deliver"]
