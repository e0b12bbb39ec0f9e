"""One run, from the first process to the last line."""

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psycopg
from rich.console import Console

from aigen_bridge.sim.serving import serving
from chaos import facts as known
from chaos.absence import Absences
from chaos.addon import Addon
from chaos.door import Door
from chaos.facts import Facts
from chaos.ground import Ground, environment, survey, url
from chaos.ledger import compare
from chaos.link import linked
from chaos.postgres import Postgres, postgres
from chaos.promises import Promises
from chaos.schedule import Schedule
from chaos.sheet import Report, show
from chaos.sky import Sky
from chaos.strikes import Striker
from chaos.supervisor import Supervisor, supervised

SETTLE_SECONDS = 120.0
"""For what is still to be tried again once nothing goes wrong any more; a quiet machine needs a fifth of it."""
OPEN = "SELECT count(*) AS open FROM requests WHERE status NOT IN ('completed', 'failed', 'cancelled')"
OVERDUE = "SELECT count(*) AS overdue FROM requests WHERE error_code = 'timed_out'"
LIVE = "SELECT count(*) AS live FROM outbox WHERE state = 'pending'"
UNTRIED = "SELECT count(*) AS untried FROM outbox WHERE state = 'pending' AND attempts = 0"
BACKLOG_SECONDS = 10.0
"""For what could not be worked on while its worker was away: it shall not wait for better weather."""


@dataclass(frozen=True)
class Stage:
    """Who plays."""

    schedule: Schedule
    ground: Ground
    database: Postgres
    supervisor: Supervisor
    addon: Addon
    door: Door
    sky: Sky
    striker: Striker
    api: httpx.AsyncClient
    n8n: httpx.AsyncClient
    say: Callable[[str], None]


async def run(schedule: Schedule, home: Path, *, processes: int, console: Console) -> bool:
    """Whether the ledger balances."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.0f} s  {text}", highlight=False)

    async with _set(schedule, home, processes, say) as stage:
        await _play(stage)
        await _calm_down(stage)
        unaided = await asyncio.to_thread(known.unaided, stage.database)
        replayed = await _help(stage)
        facts = await _facts(stage, unaided, replayed)
        report = Report(
            seconds=time.monotonic() - began,
            load_seconds=schedule.load_seconds,
            strikes=stage.striker.done,
            faults=stage.sky.taken,
            asked=stage.addon.answers,
            replayed=Counter(map(str, replayed.values())),
        )
    return show(facts, report, compare(facts), console, home / "ledger.txt")


@asynccontextmanager
async def _set(schedule: Schedule, home: Path, processes: int, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    ground = survey(home, apis=processes)
    async with AsyncExitStack() as opened:
        database = opened.enter_context(postgres(home / "postgres"))
        asking, reporting = [[await opened.enter_async_context(_caller(p)) for p in ground.apis] for _ in range(2)]
        promises = Promises()
        door = Door(reporting, promises, schedule.seed)
        await opened.enter_async_context(serving(door.app, port=ground.door))
        link = await opened.enter_async_context(linked(database.socket, ground.link))
        everything = supervised(ground, environment(ground), processes=processes, style=schedule.style)
        supervisor = await opened.enter_async_context(everything)
        n8n, odoo = [await opened.enter_async_context(_caller(port)) for port in (ground.n8n, ground.odoo)]
        sky = Sky(door, n8n, odoo, schedule.lost)
        striker = Striker(supervisor, database, link, Absences(ground, supervisor, database), sky, promises)
        addon = Addon(asking, promises)
        yield Stage(schedule, ground, database, supervisor, addon, door, sky, striker, asking[0], n8n, say)


def _caller(port: int) -> httpx.AsyncClient:
    """A client for one process. Few connections: each call looks at all of them."""
    few = httpx.Limits(max_connections=30, max_keepalive_connections=10)
    return httpx.AsyncClient(base_url=url(port), limits=few, trust_env=False, verify=False)


async def _play(stage: Stage) -> None:
    """Everything in the schedule, at its time, and whatever the addon must repeat because of it."""
    schedule = stage.schedule
    stage.say(f"Everything runs. Requests come in for {schedule.load_seconds:.0f} s.")
    began = asyncio.get_running_loop().time()

    async def at(moment: float, work: Callable[[], Awaitable[None]]) -> None:
        await asyncio.sleep(began + moment - asyncio.get_running_loop().time())
        await work()

    moments = [
        *((o.at, lambda o=o: stage.addon.carry_out(o)) for o in schedule.orders),
        *((s.at, lambda s=s: stage.striker.strike(s)) for s in schedule.strikes),
        *((w.at, lambda w=w: stage.sky.turn(w)) for w in schedule.weather),
    ]
    with contextlib.suppress(TimeoutError):  # who was never answered by then shows in the ledger
        async with asyncio.timeout(schedule.load_seconds + SETTLE_SECONDS), asyncio.TaskGroup() as tasks:
            for moment, work in moments:
                tasks.create_task(at(moment, work))


async def _calm_down(stage: Stage) -> None:
    """Nothing goes wrong any more; wait until nothing moves any more. What does not end shows in the ledger."""
    await _until(lambda: _none(stage, UNTRIED), BACKLOG_SECONDS)
    stage.say("Nothing goes wrong any more. Waiting until everything has ended.")
    await stage.sky.clear()
    await _until(lambda: _ended(stage))


async def _help(stage: Stage) -> dict[str, int]:
    """What a person does: put the dead letters back, and wait again. Returns what was answered for each of them."""
    stage.say("A person puts the dead letters back; then the books are compared.")
    replayed = {}
    with contextlib.suppress(httpx.HTTPError):  # an API that does not answer shows in the ledger
        replayed = await known.replay(stage.api)
    await _until(lambda: _ended(stage))
    for name in ("n8n", "odoo"):
        await stage.sky.look(name)
    await stage.supervisor.kill(stage.supervisor.places["n8n"])  # it says nothing more, however late
    await _until(lambda: _ended(stage))
    return replayed


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = SETTLE_SECONDS) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.2)


async def _ended(stage: Stage) -> bool:
    """Every request has ended, nothing is owed to anybody, and no late result will come any more."""
    if stage.door.inside or not await _none(stage, OPEN) or not await _none(stage, LIVE):
        return False
    return await _none(stage, OVERDUE) or await _is_idle(stage.n8n)


async def _is_idle(n8n: httpx.AsyncClient) -> bool:
    """Whether N8N has nothing more to say, for one because it is gone."""
    try:
        return not (await n8n.get("/_sim/running", timeout=5)).json()["running"]
    except httpx.HTTPError:
        return True


async def _none(stage: Stage, query: str) -> bool:
    """Whether the query counts nothing; a database that does not answer says nothing."""
    with contextlib.suppress(psycopg.Error):
        (row,) = await asyncio.to_thread(stage.database.read, query)
        return not next(iter(row.values()))
    return False


async def _facts(stage: Stage, unaided: list[known.Row], replayed: Iterable[str]) -> Facts:
    addon, supervisor = stage.addon, stage.supervisor
    fallen, letters = list(supervisor.fallen), []
    try:
        letters = await known.dead_letters(stage.api)
    except httpx.HTTPError as error:
        fallen.append(f"the API does not list its dead letters: {error!r}")
    stored = await asyncio.to_thread(known.stored, stage.database)
    return Facts(
        ordered=frozenset(order.request_id for order in stage.schedule.orders),
        accepted=frozenset(addon.accepted),
        cancelled=frozenset(addon.cancelled),
        refused=tuple(addon.refused),
        callbacks=tuple(stage.door.answers),
        dead_letters=frozenset(letter["id"] for letter in letters),
        replayed=frozenset(replayed),
        lost=stage.schedule.lost,
        away=tuple(stage.striker.absences.times),
        unaided=unaided,
        fallen=tuple(fallen),
        bugs=known.bugs(sorted(stage.ground.home.glob("*.log"))),
        **stored,
        **known.applied(stage.ground.effects),
    )
