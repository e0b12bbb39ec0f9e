"""The workflow of the version before, which an installation still runs when its bridge is upgraded first."""

import pytest
from theatre import Opened
from variants import BEFORE

from aigen_bridge.sim.faults import Fault, FaultKind

pytestmark = pytest.mark.parametrize("player", [pytest.param("real", marks=pytest.mark.n8n)], indirect=True)


async def test_the_workflow_of_the_version_before_delivers_what_was_paid_for_once(open_theatre: Opened) -> None:
    theatre = await open_theatre(BEFORE)
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    await theatre.settle()
    [job] = theatre.flux.jobs.of(asked["correlationId"])
    assert (ended["status"], ended["generation"]["jobId"]) == ("completed", job.id)
    assert [len(theatre.calls(place, asked)) for place in ("ask", "generate", "job", "callback")] == [1, 1, 1, 1]
    assert theatre.odoo.records[asked["requestId"]].applied == 1
    assert await theatre.dead_letters_of(asked) == []


async def test_the_workflow_of_the_version_before_reports_a_refusal(open_theatre: Opened) -> None:
    theatre = await open_theatre(BEFORE)
    refusal = Fault(kind=FaultKind.STATUS, route="generate", status=422, name="content_policy_violation", detail="No.")
    theatre.flux.faults.add(refusal)
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", "content_policy_violation")
    assert theatre.odoo.records[asked["requestId"]].error_message == "No."
