"""The example of docs/own-workflow.md on a real N8N: a synchronous AI service, paid for at most once by each grant."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from own_workflow import COST, FAILING, IMPATIENT, KEY, OWN, TIMEOUT, VERIFYING, OwnPlayer
from rest_service import RestService
from theatre import SIGNING_SECRET, WEBHOOK_KEY, Opened, Theatre, eventually

from aigen_bridge.domain.signature import secret_bytes, sign
from aigen_bridge.sim.calls import Call
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.serving import serving
from stage import REQUESTS

pytestmark = [pytest.mark.n8n, pytest.mark.timeout(600)]
GRANT_QUIET = 150.0
"""Seconds after which a grant without an outcome is doubtful."""
STOP = {"when_maybe_paid": "stop"}
HELD = 30.0
"""Seconds for which the AI service keeps an answer back: longer than the workflow waits, or until N8N is killed."""


@pytest.fixture
async def player(request: pytest.FixtureRequest) -> AsyncIterator[OwnPlayer]:
    """A real N8N. It runs at the end, whatever happened."""
    player = OwnPlayer(request.getfixturevalue("real_n8n"))
    yield player
    if not player.is_running:
        await player.start()


@pytest.fixture
async def service(addresses: Any) -> AsyncIterator[RestService]:
    """The AI service."""
    service = RestService(KEY)
    async with serving(service.app, port=addresses.rest):
        yield service


def refused(status: int, code: str, message: str, times: int = 1) -> Fault:
    return Fault(kind=FaultKind.STATUS, route="images", status=status, name=code, detail=message, times=times)


def calls(service: RestService, asked: dict[str, Any]) -> list[Call]:
    return [one for one in service.calls.to("images") if one.headers["x-correlation-id"] == asked["correlationId"]]


async def until_paid(service: RestService, asked: dict[str, Any]) -> None:
    """Waits until the AI service has billed an image for a request."""

    async def paid() -> bool | None:
        return asked["correlationId"] in service.paid or None

    await eventually(paid)


async def test_an_image_arrives_and_is_paid_for_once(open_theatre: Opened, service: RestService) -> None:
    theatre = await open_theatre(OWN)
    asked = await theatre.ask(resolution="640x448", aspectRatio="10:7")
    ended = await theatre.until_delivered(asked["requestId"])

    record, [callback] = theatre.odoo.records[asked["requestId"]], theatre.callbacks(asked)
    assert (ended["status"], ended["image"]["width"], ended["image"]["height"]) == ("completed", 640, 448)
    assert (record.sha256, record.applied) == (ended["image"]["sha256"], 1)
    assert (ended["generation"]["model"], ended["cost"]) == ("example-image-1", COST)
    assert callback.headers["webhook-signature"].startswith("v1,")  # the bridge takes nothing unsigned here
    assert service.paid == [asked["correlationId"]]


async def test_the_verdict_of_the_service_is_reported_with_its_code_and_words(
    open_theatre: Opened, service: RestService
) -> None:
    theatre = await open_theatre(OWN)
    service.faults.add(refused(400, "content_policy_violation", "No lighthouses, please."))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    record = theatre.odoo.records[asked["requestId"]]
    assert (ended["status"], ended["errorCode"]) == ("failed", "content_policy_violation")
    assert (record.error_code, record.error_message) == ("content_policy_violation", "No lighthouses, please.")
    assert (len(calls(service, asked)), service.paid) == (1, [])


async def test_a_refusal_that_cost_nothing_is_followed_by_another_attempt_with_another_grant(
    open_theatre: Opened, service: RestService
) -> None:
    theatre = await open_theatre(OWN)
    service.faults.add(refused(429, "rate_limit_exceeded", "Slow down."))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    first, second = calls(service, asked)
    asks = theatre.calls("ask", asked)
    assert (ended["status"], service.paid) == ("completed", [asked["correlationId"]])
    assert second.at - first.at >= 5
    assert [ask.fields["noJob"] for ask in asks] == [False, True]
    assert len({ask.fields["askKey"] for ask in asks}) == 2


async def test_a_service_that_goes_on_refusing_is_asked_three_times(open_theatre: Opened, service: RestService) -> None:
    theatre = await open_theatre(OWN)
    service.faults.add(refused(429, "rate_limit_exceeded", "Slow down.", times=3))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["errorCode"], ended["errorMessage"]) == ("rate_limit_exceeded", "Slow down.")
    assert (len(calls(service, asked)), service.paid) == (3, [])


async def test_a_result_that_the_bridge_does_not_take_is_sent_again(open_theatre: Opened, service: RestService) -> None:
    theatre = await open_theatre(OWN)
    theatre.gate.faults.add(
        Fault(kind=FaultKind.DROP, route="callback"),
        Fault(kind=FaultKind.STATUS, route="callback", status=503),
        Fault(kind=FaultKind.PAGE, route="callback", status=200),
    )
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    sent = theatre.callbacks(asked)
    assert (ended["status"], [one.status for one in sent]) == ("completed", [0, 503, 200, 202])
    assert len({one.headers["webhook-id"] for one in sent}) == 1
    assert len({one.headers["webhook-signature"] for one in sent}) == 4  # each try has its own time
    assert service.paid == [asked["correlationId"]]


async def test_three_executions_at_once_pay_once(open_theatre: Opened, service: RestService) -> None:
    theatre = await open_theatre(OWN)
    service.faults.add(Fault(kind=FaultKind.DELAY, route="images", delay=TIMEOUT / 2))
    asked = await theatre.ask()
    url, key = theatre.n8n.webhook(OWN), {"X-API-Key": WEBHOOK_KEY}
    await asyncio.gather(*(theatre.http.post(url, json=theatre.event_of(asked), headers=key) for _ in range(2)))
    ended = await theatre.until_delivered(asked["requestId"])

    await theatre.settle()
    asks = theatre.calls("ask", asked)
    assert len({ask.fields["executionId"] for ask in asks}) == 3
    assert (ended["status"], service.paid) == ("completed", [asked["correlationId"]])
    assert await theatre.dead_letters_of(asked) == []


async def test_a_call_that_timed_out_is_not_repeated_and_the_bridge_decides(
    open_theatre: Opened, service: RestService
) -> None:
    theatre = await open_theatre(OWN, generation=STOP)
    service.faults.add(Fault(kind=FaultKind.DELAY_AFTER, route="images", delay=HELD))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"], seconds=GRANT_QUIET + 90)

    assert (ended["status"], ended["errorCode"]) == ("failed", "maybe_paid")
    assert service.paid == [asked["correlationId"]]
    assert len(calls(service, asked)) == 1


@pytest.mark.parametrize(("decision", "ending", "paid"), [("stop", "failed", 1), ("again", "completed", 2)])
async def test_n8n_killed_during_the_call_leaves_the_decision_to_the_bridge(
    open_theatre: Opened, player: OwnPlayer, service: RestService, decision: str, ending: str, paid: int
) -> None:
    theatre = await open_theatre(OWN, generation={"when_maybe_paid": decision})
    service.faults.add(Fault(kind=FaultKind.DELAY_AFTER, route="images", delay=HELD))
    asked = await theatre.ask()
    await until_paid(service, asked)
    await player.kill()
    service.faults.clear()
    await asyncio.to_thread(player.launch)
    ended = await theatre.until_delivered(asked["requestId"], seconds=GRANT_QUIET + 90)

    assert (ended["status"], ended["errorCode"]) == (ending, "maybe_paid" if ending == "failed" else None)
    assert service.paid == [asked["correlationId"]] * paid
    told = (await theatre.call("GET", f"{REQUESTS}/{asked['requestId']}/timeline")).json()["generation"]
    assert any("may have been paid for" in one["note"] for one in told)


async def test_a_retry_of_an_execution_that_gave_up_delivers_what_was_paid_for(
    open_theatre: Opened, player: OwnPlayer, service: RestService
) -> None:
    theatre = await open_theatre(IMPATIENT)
    theatre.gate.faults.add(Fault(kind=FaultKind.DROP, route="callback"))
    asked = await theatre.ask()
    [letter] = await _until_dead(theatre, asked)
    await asyncio.to_thread(player.retry_last, IMPATIENT)
    await theatre.until_status(asked["requestId"], "completed")

    assert "the bridge did not take the result" in letter["detail"]
    assert [one.status for one in theatre.callbacks(asked)] == [0, 202]
    assert service.paid == [asked["correlationId"]]


async def test_a_retry_of_the_call_itself_pays_for_nothing(
    open_theatre: Opened, player: OwnPlayer, service: RestService
) -> None:
    """The grant is checked where the call is made: it is for one execution, and a Retry is another one."""
    theatre = await open_theatre(FAILING)
    service.faults.add(Fault(kind=FaultKind.DROP_AFTER, route="images"))
    asked = await theatre.ask()
    await _until_dead(theatre, asked)
    await asyncio.to_thread(player.retry_last, FAILING)

    assert (len(calls(service, asked)), service.paid) == (1, [asked["correlationId"]])


async def test_the_check_of_the_page_lets_the_bridge_in_and_nobody_else(
    open_theatre: Opened, service: RestService
) -> None:
    theatre = await open_theatre(VERIFYING)
    await theatre.bridge.stop()
    known = theatre.bridge.sections["n8n"]
    await theatre.bridge.start(n8n=known | {"signing_secret": SIGNING_SECRET})
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])
    assert (ended["status"], service.paid) == ("completed", [asked["correlationId"]])

    body = json.dumps(theatre.event_of(asked)).encode()
    ours, other = secret_bytes(SIGNING_SECRET), b"another secret of the same size!"
    now, old = datetime.now(UTC), datetime.now(UTC) - timedelta(minutes=6)
    rotated, forged = sign([other, ours], "msg_1", now, body), sign([other], "msg_1", now, body)
    late, stale = sign([ours], "msg_1", now, b"{}"), sign([ours], "msg_1", old, body)
    answers = [await _post(theatre, body, headers) for headers in (rotated, forged, late, stale, {})]
    assert [answer.status_code for answer in answers] == [202, 401, 401, 401, 401]
    assert answers[0].json() == {"speaks": ["generation"]}
    assert {answer.content for answer in answers[1:]} == {b""}


async def _post(theatre: Theatre, body: bytes, headers: Mapping[str, str]) -> httpx.Response:
    known = {"X-API-Key": WEBHOOK_KEY, "Content-Type": "application/json"}
    return await theatre.http.post(theatre.n8n.webhook(VERIFYING), content=body, headers=known | dict(headers))


async def _until_dead(theatre: Theatre, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Waits until operations have a dead letter about a request."""

    async def found() -> list[dict[str, Any]] | None:
        return await theatre.dead_letters_of(asked) or None

    return list(await eventually(found))
