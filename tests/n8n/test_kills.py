"""N8N is killed at each node that costs or waits: every picture arrives, and the AI service has one job for it.

There is one window that cannot be closed: from the moment the AI service takes a submission until the bridge knows the
job's name. Only a kill in that window may cost a second job.
"""

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest
from kills import KILLS, Kill
from players import RealPlayer
from theatre import PATIENCE, Opened, Theatre, eventually

from aigen_bridge.sim.calls import Call
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Stage as JobStage

pytestmark = [pytest.mark.n8n, pytest.mark.timeout(900)]
KILLS_PER_STAGE = int(os.environ.get("KILLS", "1"))
AWAY = 5.0
"""Seconds from a kill until N8N is started again."""
HELD = 30.0
"""Seconds for which a simulator holds a call. N8N is killed long before."""
SOON = 25.0
"""Seconds in which a picture arrives, unless the bridge has to wait for the end of a grant (150 s) first."""
LONGEST = 420.0
GENERATION = {"silence": 10, "resumes": 10}
AT_FLUX = {"generate", "status", "result", "image"}
Asked = Mapping[str, Any]
Reached = Callable[[Theatre, Asked], Awaitable[object]]
"""Returns something true once the request's execution is where N8N is to be killed."""


@dataclass(frozen=True)
class Stage:
    """Where N8N is killed. `faults` hold or cut the calls there; `hold` keeps the job in a stage."""

    name: str
    reached: Reached
    faults: tuple[Fault, ...] = ()
    hold: JobStage | None = None
    is_window: bool = False
    """The AI service has a job whose name the bridge does not know."""
    is_twice: bool = False
    """N8N gets the event a second time."""


def never_passed_on(route: str) -> Fault:
    return Fault(kind=FaultKind.DROP, route=route, delay=HELD, times=None)


def held(route: str) -> Fault:
    return Fault(kind=FaultKind.DELAY, route=route, delay=HELD, times=None)


def answer_held(route: str) -> Fault:
    return Fault(kind=FaultKind.DELAY_AFTER, route=route, delay=HELD, times=None)


def calls(theatre: Theatre, route: str, asked: Asked) -> list[Call]:
    """Returns the calls of a request. Downloads of images have no correlation id, so all of them are returned."""
    return theatre.flux.calls.to(route) if route == "image" else theatre.calls(route, asked)


def arrives(route: str) -> Reached:
    async def reached(theatre: Theatre, asked: Asked) -> object:
        return [call for call in calls(theatre, route, asked) if call.status is None]

    return reached


def answered(route: str, count: int = 1, **fields: str) -> Reached:
    async def reached(theatre: Theatre, asked: Asked) -> object:
        found = [call for call in calls(theatre, route, asked) if call.status and fields.items() <= call.fields.items()]
        return len(found) >= count

    return reached


async def job_exists(theatre: Theatre, asked: Asked) -> object:
    return theatre.flux.jobs.of(asked["correlationId"])


async def job_is_known(theatre: Theatre, asked: Asked) -> object:
    return ((await theatre.read(asked["requestId"])).get("generation") or {}).get("jobId")


async def result_is_taken(theatre: Theatre, asked: Asked) -> object:
    return (await theatre.read(asked["requestId"]))["status"] == "completed"


STAGES = (
    Stage("it asks the bridge", arrives("ask"), (never_passed_on("ask"),)),
    Stage("it has its grant and submits nothing yet", answered("ask"), (never_passed_on("generate"),)),
    Stage("its submission arrives, no job exists yet", arrives("generate"), (never_passed_on("generate"),)),
    Stage("the job exists, N8N has no answer (window)", job_exists, (answer_held("generate"),), is_window=True),
    Stage("the job is about to be named (window)", arrives("job"), (never_passed_on("job"),), is_window=True),
    Stage("the job is named, N8N has no answer", job_is_known, (answer_held("job"),)),
    Stage("it looks at the job for the first time", arrives("status"), (held("status"),), hold=JobStage.IN_PROGRESS),
    Stage("the job waits in the queue", answered("progress", stage="queued"), hold=JobStage.IN_QUEUE),
    Stage("the job is running", answered("progress", stage="generating"), hold=JobStage.IN_PROGRESS),
    Stage("the job is done, its result is asked for", arrives("result"), (held("result"),)),
    Stage("the image is fetched", arrives("image"), (held("image"),)),
    Stage("the callback does not reach the bridge", arrives("callback"), (never_passed_on("callback"),)),
    Stage("the callback was taken, N8N has no answer", result_is_taken, (answer_held("callback"),)),
    Stage("another execution waits", answered("ask", 2), (never_passed_on("generate"),), is_twice=True),
)


@pytest.fixture
async def player(request: pytest.FixtureRequest) -> AsyncIterator[RealPlayer]:
    """A real N8N. It runs at the end, whatever happened."""
    player = RealPlayer(request.getfixturevalue("real_n8n"))
    yield player
    if not player.is_running:
        await player.start()


@dataclass(frozen=True)
class Struck:
    """A request whose execution died, and when N8N was back."""

    asked: Asked
    executions: frozenset[str]
    back_at: float


@pytest.mark.parametrize("stage", STAGES, ids=lambda stage: stage.name.replace(" ", "-"))
async def test_a_picture_arrives_and_is_paid_for_once_although_n8n_is_killed_when(
    open_theatre: Opened, stage: Stage
) -> None:
    theatre = await open_theatre(generation=GENERATION)
    struck = []
    for number in range(KILLS_PER_STAGE):
        struck.append(await strike(theatre, stage, number))
        await arrived(theatre, struck[-1:], SOON)
    await arrived(theatre, struck, LONGEST)
    for one in struck:
        print(f"N8N was back at {one.back_at:.1f}\n{await history(theatre, one.asked)}")  # noqa: T201 - when it failed
    kills = [await outcome(theatre, stage, one) for one in struck]
    KILLS.extend(kills)

    assert [kill.pictures for kill in kills] == [1] * KILLS_PER_STAGE
    assert all(1 <= kill.jobs <= 1 + stage.is_window for kill in kills), kills
    assert await theatre.dead_letters_of(*(one.asked for one in struck)) == []


async def strike(theatre: Theatre, stage: Stage, number: int) -> Struck:
    """Makes a request, kills N8N at the stage, and starts it again."""
    for fault in stage.faults:
        (theatre.flux if fault.route in AT_FLUX else theatre.gate).faults.add(fault)
    if stage.hold:
        theatre.flux.jobs.hold(stage.hold)
    asked = await theatre.ask()
    if stage.is_twice:
        await until(arrives("generate"), theatre, asked)
        await theatre.post_to_n8n(theatre.event_of(asked))
    await until(stage.reached, theatre, asked)
    await asyncio.sleep(0.025 * number)  # N8N does not die at the same instruction each time
    await theatre.n8n.kill()
    executions = frozenset(call.fields["executionId"] for call in theatre.calls("ask", asked))
    theatre.flux.faults.clear()
    theatre.gate.faults.clear()
    if stage.hold:
        theatre.flux.jobs.release(stage.hold)
    await asyncio.sleep(AWAY)
    await theatre.n8n.start()
    return Struck(asked, executions, time.time())


async def until(reached: Reached, theatre: Theatre, asked: Asked) -> None:
    """Waits until a request is where N8N is to be killed."""
    try:
        async with asyncio.timeout(PATIENCE):
            while not await reached(theatre, asked):
                await asyncio.sleep(0.005)
    except TimeoutError:
        raise AssertionError(await history(theatre, asked)) from None


async def history(theatre: Theatre, asked: Asked) -> str:
    """Returns the timeline of a request, and its calls."""
    made = [*theatre.gate.calls, *theatre.flux.calls]
    its = [one for one in made if one.headers.get("x-correlation-id") in {None, asked["correlationId"]}]
    lines = [
        f"{one.at:.1f} {one.route} {one.status} {dict(one.fields)}" for one in sorted(its, key=lambda call: call.at)
    ]
    return "\n".join([await theatre.story(asked), *lines])


async def arrived(theatre: Theatre, struck: list[Struck], seconds: float) -> None:
    """Waits until these pictures were delivered to Odoo, but not longer than `seconds`."""

    async def all_delivered() -> bool | None:
        found = [await theatre.read(one.asked["requestId"]) for one in struck]
        return all(one["deliveredAt"] for one in found) or None

    try:
        await eventually(all_delivered, seconds=seconds)
    except TimeoutError:
        return


async def outcome(theatre: Theatre, stage: Stage, struck: Struck) -> Kill:
    """Returns what became of a request."""
    resource = await theatre.read(struck.asked["requestId"])
    record = theatre.odoo.records.get(struck.asked["requestId"])
    delivered = resource["deliveredAt"] and datetime.fromisoformat(resource["deliveredAt"]).timestamp()
    reports = [call for call in theatre.gate.calls.to("failures") if call.at < struck.back_at + SOON]
    return Kill(
        stage=stage.name,
        is_window=stage.is_window,
        jobs=len(theatre.flux.jobs.of(struck.asked["correlationId"])),
        pictures=record.applied if record and resource["status"] == "completed" else 0,
        was_reported=any(call.fields.get("executionId") in struck.executions for call in reports),
        seconds=max(0.0, delivered - struck.back_at) if delivered else LONGEST,
    )


@pytest.mark.parametrize("ends", ["while N8N stops", "while N8N is away"])
async def test_three_pictures_arrive_and_are_paid_for_once_although_n8n_is_restarted_and_their_job(
    open_theatre: Opened, ends: str
) -> None:
    """As `docker compose restart n8n` does: SIGTERM, then time to finish, which N8N uses without its Code nodes."""
    theatre = await open_theatre()
    theatre.flux.jobs.hold(JobStage.IN_PROGRESS)
    asked = [await theatre.ask() for _ in range(3)]
    for one in asked:
        await until(answered("progress", stage="generating"), theatre, one)
    stopping = asyncio.create_task(theatre.n8n.stop())
    await asyncio.wait({stopping}, timeout=3 if ends == "while N8N stops" else None)
    theatre.flux.jobs.release(JobStage.IN_PROGRESS)
    await stopping
    await theatre.n8n.start()
    ended = [await theatre.until_delivered(one["requestId"], seconds=LONGEST) for one in asked]

    assert [one["status"] for one in ended] == ["completed"] * 3
    assert [theatre.odoo.records[one["requestId"]].applied for one in asked] == [1] * 3
    assert [len(theatre.flux.jobs.of(one["correlationId"])) for one in asked] == [1] * 3
    assert await theatre.dead_letters_of(*asked) == []
