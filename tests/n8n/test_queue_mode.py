"""N8N in queue mode, one process after the other dies: every picture arrives, and the AI service has one job for it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from players import RealPlayer
from theatre import Opened, Theatre, eventually

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Stage
from conftest import MODE
from real_n8n import MAIN, WEBHOOKS, WORKERS

pytestmark = [
    pytest.mark.n8n,
    pytest.mark.timeout(900),
    pytest.mark.skipif(MODE != "queue", reason="about the processes of queue mode (make e2e-n8n MODE=queue)"),
]
GENERATION = {"silence": 10, "resumes": 10}
AWAY = 20.0
"""Seconds for which Redis, the webhook process or the workers are away."""
SENT_AGAIN = 240.0
"""Seconds until the picture is there of a request whose execution died before the bridge had heard of it (120 s)."""


@pytest.fixture
async def player(request: pytest.FixtureRequest) -> AsyncIterator[RealPlayer]:
    """A real N8N in queue mode. All of it runs at the end, whatever happened."""
    player = RealPlayer(request.getfixturevalue("real_n8n"))
    yield player
    await player.start()


async def generating(theatre: Theatre, count: int = 1) -> list[dict[str, Any]]:
    """Makes requests, and returns them once their jobs are running."""
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    asked = [await theatre.ask() for _ in range(count)]

    async def reported() -> bool | None:
        return all(_stages(theatre, one) & {"generating"} for one in asked) or None

    await eventually(reported)
    return asked


def _stages(theatre: Theatre, asked: dict[str, Any]) -> set[Any]:
    return {call.fields.get("stage") for call in theatre.calls("progress", asked) if call.status}


def executions(theatre: Theatre, asked: dict[str, Any]) -> list[str]:
    """Returns the ids of the executions that asked whether they may start, in order."""
    return list(dict.fromkeys(call.fields["executionId"] for call in theatre.calls("ask", asked)))


async def worker_of(player: RealPlayer, execution_id: str) -> str:
    """Returns the name of the worker that runs an execution."""

    async def found() -> str | None:
        return player.worker_of(execution_id)

    return str(await eventually(found))


async def all_arrive_paid_once(theatre: Theatre, asked: list[dict[str, Any]], *, seconds: float = 120) -> None:
    """Checks that each picture is delivered once, and that the AI service had one job for it."""
    ended = [await theatre.until_delivered(one["requestId"], seconds=seconds) for one in asked]
    await theatre.settle()
    assert [(one["status"], one.get("errorCode")) for one in ended] == [("completed", None)] * len(asked)
    assert [theatre.odoo.records[one["requestId"]].applied for one in asked] == [1] * len(asked)
    assert [len(theatre.flux.jobs.of(one["correlationId"])) for one in asked] == [1] * len(asked)
    assert await theatre.dead_letters_of(*asked) == []


async def test_the_job_of_a_killed_worker_is_resumed_by_the_other_one(open_theatre: Opened, player: RealPlayer) -> None:
    theatre = await open_theatre(generation=GENERATION)
    [asked] = await generating(theatre)
    dead = await worker_of(player, executions(theatre, asked)[-1])
    await player.kill_only(dead)
    before = executions(theatre, asked)
    theatre.flux.jobs.release(Stage.IN_PROGRESS)

    await all_arrive_paid_once(theatre, [asked])
    successors = executions(theatre, asked)[len(before) :]
    assert {player.worker_of(one) for one in successors} == {*WORKERS} - {dead}


async def test_what_both_workers_ran_is_resumed_once_there_are_workers_again(
    open_theatre: Opened, player: RealPlayer
) -> None:
    theatre = await open_theatre(generation=GENERATION)
    asked = await generating(theatre, 4)
    await player.kill_only(*WORKERS)
    theatre.flux.jobs.release(Stage.IN_PROGRESS)
    await asyncio.sleep(AWAY)
    await player.start()

    await all_arrive_paid_once(theatre, asked)


async def test_a_request_whose_worker_is_killed_before_the_bridge_hears_it_is_sent_again(
    open_theatre: Opened, player: RealPlayer
) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(Fault(kind=FaultKind.DROP, route="ask", delay=30, times=None))
    asked = await theatre.ask()

    async def asking() -> object | None:
        return theatre.calls("ask", asked) or None

    await eventually(asking)
    await player.kill_only(await worker_of(player, executions(theatre, asked)[0]))
    theatre.gate.faults.clear()

    await all_arrive_paid_once(theatre, [asked], seconds=SENT_AGAIN)


async def test_a_killed_main_process_disturbs_no_request(open_theatre: Opened, player: RealPlayer) -> None:
    theatre = await open_theatre()
    [under_way] = await generating(theatre)
    await player.kill_only(MAIN)
    meanwhile = await theatre.ask()
    await asyncio.sleep(AWAY)
    theatre.flux.jobs.release(Stage.IN_PROGRESS)

    await all_arrive_paid_once(theatre, [under_way, meanwhile])
    assert [len(executions(theatre, one)) for one in (under_way, meanwhile)] == [1, 1]


async def test_requests_are_held_while_the_webhook_process_is_away_and_running_ones_go_on(
    open_theatre: Opened, player: RealPlayer
) -> None:
    theatre = await open_theatre()
    [under_way] = await generating(theatre)
    await player.kill_only(WEBHOOKS)
    theatre.flux.jobs.release(Stage.IN_PROGRESS)
    meanwhile = [await theatre.ask() for _ in range(3)]
    await all_arrive_paid_once(theatre, [under_way])
    await asyncio.sleep(AWAY)
    await player.start()

    await all_arrive_paid_once(theatre, meanwhile)
    assert [len(executions(theatre, one)) for one in (under_way, *meanwhile)] == [1] * 4


async def test_while_redis_is_away_requests_wait_and_then_go_on_by_themselves(
    open_theatre: Opened, player: RealPlayer
) -> None:
    theatre = await open_theatre(generation=GENERATION)
    under_way = await generating(theatre, 2)
    player.redis.kill()
    try:
        theatre.flux.jobs.release(Stage.IN_PROGRESS)
        meanwhile = []
        for _ in range(int(AWAY) // 2):
            meanwhile.append(await theatre.ask())
            await asyncio.sleep(2)
    finally:
        player.redis.start()  # without it, N8N would not be ready for the next test either
    await player.start()  # as the restart policy of compose does with the processes that gave up

    await all_arrive_paid_once(theatre, [*under_way, *meanwhile], seconds=300)
