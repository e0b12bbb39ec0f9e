"""The workflow's handling of events that are invalid, foreign, cancelled or repeated."""

from typing import Any
from uuid import uuid4

from theatre import Opened, Theatre, eventually

from aigen_bridge.sim.faults import Fault, FaultKind
from stage import make_event


def addressed(theatre: Theatre, event: dict[str, Any]) -> dict[str, Any]:
    return event | {"callbackUrl": f"{theatre.gate.url}/api/v1/influencegen/ai-image-callback"}


async def until_answered(theatre: Theatre, asked: dict[str, Any], times: int) -> None:
    """Waits until N8N was told so many times whether it may start."""

    async def answered() -> Any:
        return len([call for call in theatre.calls("ask", asked) if call.status is not None]) >= times or None

    await eventually(answered)


async def another_arrives(theatre: Theatre) -> None:
    """Waits until a new request is delivered: the earlier executions of N8N had at least as much time."""
    await theatre.until_delivered((await theatre.ask())["requestId"])
    await theatre.settle()


async def test_a_request_that_was_cancelled_is_not_paid_for(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(Fault(kind=FaultKind.DELAY, route="ask", delay=2))
    asked = await theatre.ask()

    async def asking() -> Any:
        return theatre.calls("ask", asked) or None

    await eventually(asking)
    cancelled = await theatre.call("POST", f"/api/v1/influencegen/ai-image-requests/{asked['requestId']}/cancel")
    await until_answered(theatre, asked, 1)
    await another_arrives(theatre)
    assert cancelled.json()["status"] == "cancelled"
    assert (theatre.calls("generate", asked), theatre.callbacks(asked)) == ([], [])


async def test_a_repeated_event_is_paid_for_once(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    asked = await theatre.ask()
    await theatre.until_delivered(asked["requestId"])
    names = ("requestId", "correlationId", "userId", "modelId", "prompt", "resolution", "aspectRatio")
    assert (await theatre.post_to_n8n(addressed(theatre, {name: asked[name] for name in names}))).status_code == 202

    await until_answered(theatre, asked, 2)
    await another_arrives(theatre)
    assert (len(theatre.calls("generate", asked)), len(theatre.callbacks(asked))) == (1, 1)


async def test_a_bridge_that_gives_no_answer_is_asked_again(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(Fault(kind=FaultKind.STATUS, route="ask", status=503))
    asked = await theatre.ask()
    assert (await theatre.until_delivered(asked["requestId"]))["status"] == "completed"


async def test_a_request_that_the_bridge_does_not_know_is_not_paid_for_and_reported(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    event = addressed(theatre, make_event())
    await theatre.post_to_n8n(event)

    [letter] = await theatre.until_dead(kind="n8n")
    assert letter["requestId"] == event["requestId"]
    assert (theatre.calls("generate", event), theatre.callbacks(event)) == ([], [])


async def test_an_event_with_a_foreign_callback_url_is_reported_and_not_answered(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    elsewhere = f"{theatre.flux_url}/api/v1/influencegen/ai-image-callback"
    event = make_event(callbackUrl=elsewhere)
    assert (await theatre.post_to_n8n(event)).status_code == 202

    [letter] = await theatre.until_dead(kind="n8n")
    assert (letter["errorCode"], letter["requestId"]) == ("n8n_execution_failed", event["requestId"])
    assert "somewhere else" in letter["detail"]
    assert len(theatre.flux.calls) == 0
    assert theatre.callbacks(event) == []


async def test_an_invalid_event_is_reported_to_the_bridge_as_a_failure(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    await theatre.bridge.hold()  # no other execution works on the request
    asked = await theatre.ask()
    bad = make_event(requestId=asked["requestId"], correlationId=asked["correlationId"], resolution="large")
    await theatre.post_to_n8n(addressed(theatre, bad))
    await theatre.until_status(asked["requestId"], "failed")
    await theatre.bridge.go_on()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], ended["errorCode"]) == ("failed", "invalid_event")
    assert "resolution" in ended["errorMessage"]


async def test_an_event_without_an_id_is_reported(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    await theatre.post_to_n8n({"prompt": str(uuid4())})
    [letter] = await theatre.until_dead(kind="n8n")
    assert (letter["errorCode"], letter["requestId"]) == ("n8n_execution_failed", None)


async def test_a_wrong_key_is_refused(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    answer = await theatre.http.post(theatre.n8n.webhook("v2"), json=make_event(), headers={"X-API-Key": "wrong"})
    assert answer.status_code == 403
