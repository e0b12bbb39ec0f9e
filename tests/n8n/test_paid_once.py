"""N8N is paused, does not reach the bridge, or has two executions for one request: the AI service gets one job."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from players import RealPlayer
from theatre import Opened, Theatre, eventually

from aigen_bridge.sim.calls import Call
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Stage

pytestmark = [pytest.mark.n8n, pytest.mark.timeout(900)]
GRANT_VALID, GRANT_QUIET = 60.0, 150.0
"""Seconds in which a granted execution may submit, and after which its grant is doubtful."""
OUT_OF_REACH = 15.0
SHORT_SILENCE = {"silence": 10}


@pytest.fixture
async def player(request: pytest.FixtureRequest) -> AsyncIterator[RealPlayer]:
    """A real N8N. It goes on at the end, whatever happened."""
    player = RealPlayer(request.getfixturevalue("real_n8n"))
    yield player
    player.wake()


async def until_calls(theatre: Theatre, route: str, asked: dict[str, Any], count: int = 1, **fields: str) -> list[Call]:
    """Waits until so many calls of a request were answered, and returns them."""

    async def answered() -> list[Call] | None:
        calls = [one for one in theatre.calls(route, asked) if one.status and fields.items() <= one.fields.items()]
        return calls if len(calls) >= count else None

    return list(await eventually(answered))


async def until_told(theatre: Theatre, asked: dict[str, Any], note: str, *, seconds: float) -> None:
    """Waits until the timeline of a request says this."""

    async def told() -> bool | None:
        return note in await theatre.story(asked) or None

    await eventually(told, seconds=seconds)


async def arrives_paid_once(theatre: Theatre, asked: dict[str, Any], *, seconds: float = 90) -> None:
    """Checks that the picture is delivered once, and that the AI service had one job for it."""
    ended = await theatre.until_delivered(asked["requestId"], seconds=seconds)
    await theatre.settle()
    assert (ended["status"], theatre.odoo.records[asked["requestId"]].applied) == ("completed", 1)
    assert len(theatre.flux.jobs.of(asked["correlationId"])) == 1
    assert await theatre.dead_letters_of(asked) == []


def submitted_after_ask(theatre: Theatre, asked: dict[str, Any]) -> float:
    """Returns the seconds from the last ask to the first submission after it."""
    submission = theatre.calls("generate", asked)[0].at
    return submission - max(ask.at for ask in theatre.calls("ask", asked) if ask.at < submission)


async def test_an_execution_that_was_paused_while_it_polled_and_its_successor_have_one_job(
    open_theatre: Opened, player: RealPlayer
) -> None:
    theatre = await open_theatre(generation=SHORT_SILENCE)
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    asked = await theatre.ask()
    await until_calls(theatre, "progress", asked, stage="generating")
    player.pause()
    await until_told(theatre, asked, "N8N fell silent", seconds=60)
    player.wake()
    theatre.flux.jobs.release(Stage.IN_PROGRESS)

    await arrives_paid_once(theatre, asked)


async def test_an_execution_that_was_paused_with_an_unused_grant_does_not_submit_on_it(
    open_theatre: Opened, player: RealPlayer
) -> None:
    theatre = await open_theatre()
    asked = await _paused_with_a_grant(theatre, player)
    await until_told(theatre, asked, "may be paid for twice", seconds=GRANT_QUIET + 60)
    player.wake()

    await arrives_paid_once(theatre, asked, seconds=240)
    assert submitted_after_ask(theatre, asked) < GRANT_VALID


async def _paused_with_a_grant(theatre: Theatre, player: RealPlayer) -> dict[str, Any]:
    """Returns a request whose execution was granted a submission and paused before it submitted."""
    for _ in range(5):
        asked = await theatre.ask()
        while not any(call.status for call in theatre.calls("ask", asked)):
            await asyncio.sleep(0.002)
        player.pause()
        await asyncio.sleep(1)  # a submission that was under way has arrived by now
        if not theatre.calls("generate", asked):
            return asked
        player.wake()
        await theatre.until_delivered(asked["requestId"])
    raise AssertionError("N8N was never paused between its grant and its submission")


@pytest.mark.parametrize("place", ["ask", "job", "progress"])
async def test_a_bridge_out_of_reach_costs_no_second_job(open_theatre: Opened, place: str) -> None:
    theatre = await open_theatre(generation=SHORT_SILENCE)
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    theatre.gate.faults.add(Fault(kind=FaultKind.DROP, route=place, times=None))
    asked = await theatre.ask()

    async def tried() -> object | None:
        return theatre.calls(place, asked) or None

    await eventually(tried)
    await asyncio.sleep(OUT_OF_REACH)
    theatre.gate.faults.clear()
    theatre.flux.jobs.release(Stage.IN_PROGRESS)

    await arrives_paid_once(theatre, asked)


async def test_what_the_bridge_refuses_about_a_paid_image_is_read_from_its_bytes_and_sent_again(
    open_theatre: Opened,
) -> None:
    theatre = await open_theatre()
    wrong = '{"detail": "imageMetadata.width says 65, the image has 64."}'
    theatre.gate.faults.add(Fault(kind=FaultKind.BODY, route="callback", status=422, detail=wrong))
    asked = await theatre.ask()

    await arrives_paid_once(theatre, asked)
    assert [call.status for call in theatre.callbacks(asked)] == [422, 202]


async def test_three_executions_at_once_have_one_job(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.jobs.hold(Stage.IN_QUEUE)
    asked = await theatre.ask()
    event = theatre.event_of(asked)
    await asyncio.gather(*(theatre.post_to_n8n(event) for _ in range(2)))
    asks = await until_calls(theatre, "ask", asked, 3)
    theatre.flux.jobs.release(Stage.IN_QUEUE)

    await arrives_paid_once(theatre, asked)
    assert len({ask.fields["executionId"] for ask in asks}) >= 2


async def test_a_retry_of_an_execution_that_failed_after_its_grant_submits_nothing_on_it(open_theatre: Opened) -> None:
    """The answer to the submission is lost, so nobody knows whether it was paid for, and a person presses Retry."""
    theatre = await open_theatre()
    theatre.flux.faults.add(Fault(kind=FaultKind.DROP, route="generate"))
    asked = await theatre.ask()
    [granted] = await until_calls(theatre, "ask", asked)

    async def submitted() -> object | None:
        return theatre.calls("generate", asked) or None

    await eventually(submitted)
    await theatre.settle()
    retrying = asyncio.create_task(theatre.n8n.retry(asked["requestId"]))  # it ends with the execution

    await arrives_paid_once(theatre, asked, seconds=300)
    await retrying
    asks, [_, second] = theatre.calls("ask", asked), theatre.calls("generate", asked)
    assert len({ask.fields["executionId"] for ask in asks}) >= 2
    assert second.at - granted.at >= GRANT_QUIET - 1
