"""Transient and permanent failures of the AI service: the requester receives the service's own code and message."""

from itertools import pairwise
from typing import Any

import pytest
from theatre import Opened, Theatre

from aigen_bridge.sim.faults import Fault, FaultKind

WAIT = 5.0
"""Seconds between two attempts at the AI service (specified)."""


def status(code: int, **more: Any) -> Fault:
    return Fault(kind=FaultKind.STATUS, route="generate", status=code, **more)


def gaps(theatre: Theatre, asked: dict[str, Any]) -> list[float]:
    at = [call.at for call in theatre.calls("generate", asked)]
    return [later - earlier for earlier, later in pairwise(at)]


async def test_a_refusal_is_reported_at_once_with_its_code_and_message(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.faults.add(status(422, name="content_policy_violation", detail="No lighthouses, please."))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    record = theatre.odoo.records[asked["requestId"]]
    assert (ended["status"], ended["errorCode"]) == ("failed", "content_policy_violation")
    assert (record.error_code, record.error_message) == ("content_policy_violation", "No lighthouses, please.")
    assert len(theatre.calls("generate", asked)) == 1


async def test_two_transient_failures_are_survived(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.faults.add(status(503, times=1), status(429, times=1))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert len(theatre.calls("generate", asked)) == 3
    assert not theatre.n8n.real or all(gap >= WAIT for gap in gaps(theatre, asked))


async def test_an_ai_service_that_stays_busy_is_asked_three_times(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.faults.add(status(503, times=3))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", "runner_scheduling_failure")
    assert len(theatre.calls("generate", asked)) == 3


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (Fault(kind=FaultKind.NO_IMAGE, route="generate"), "ai_no_image"),
        (Fault(kind=FaultKind.EXPIRED_URL, route="image", times=None), "image_download_failed"),
        (status(500, name="internal_error"), "internal_error"),
    ],
    ids=["no image", "image expired", "internal error"],
)
async def test_an_answer_without_a_usable_image_is_a_failure(open_theatre: Opened, fault: Fault, code: str) -> None:
    theatre = await open_theatre()
    theatre.flux.faults.add(fault)
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", code)
    assert ended["errorMessage"]
    assert len(theatre.calls("generate", asked)) == 1


async def test_an_image_about_which_the_service_said_something_wrong_arrives(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.faults.add(Fault(kind=FaultKind.WRONG_DIMENSIONS, route="generate"))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], ended["image"]["width"]) == ("completed", 64)
    assert [call.status for call in theatre.callbacks(asked)] == [202]
