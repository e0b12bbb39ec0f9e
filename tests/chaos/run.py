"""One run, from the first process to the last line of output."""

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
from chaos.facts import Facts
from chaos.ground import Ground, environment, survey, url
from chaos.ledger import compare
from chaos.load_balancer import LoadBalancer
from chaos.postgres import Postgres, postgres
from chaos.promises import Promises
from chaos.schedule import Schedule, Storage
from chaos.sheet import Report, show
from chaos.sky import Sky
from chaos.storage import hashes, pass_days
from chaos.strikes import Striker
from chaos.supervisor import Supervisor, supervised
from silent_link import linked

SETTLE_SECONDS = 240.0
"""Time for the remaining retries after the last fault; an idle machine needs half of it. It begins again while requests
end: N8N runs 50 executions at a time, and may have thousands left."""
OPEN = "SELECT count(*) AS open FROM requests WHERE status NOT IN ('completed', 'failed', 'cancelled')"
OVERDUE = "SELECT count(*) AS overdue FROM requests WHERE error_code = 'timed_out'"
LIVE = "SELECT count(*) AS live FROM outbox WHERE state = 'pending'"
UNATTEMPTED = "SELECT count(*) AS unattempted FROM outbox WHERE state = 'pending' AND attempts = 0"
IN_POSTGRESQL = "SELECT count(*) AS images FROM images"
BACKLOG_SECONDS = 10.0
"""Time for entries that no worker could attempt yet. They are attempted before the injected faults end."""


@dataclass(frozen=True)
class Stage:
    """The components of a run."""

    schedule: Schedule
    ground: Ground
    database: Postgres
    supervisor: Supervisor
    addon: Addon
    load_balancer: LoadBalancer
    sky: Sky
    striker: Striker
    api: httpx.AsyncClient
    n8n: httpx.AsyncClient
    flux: httpx.AsyncClient
    say: Callable[[str], None]


async def run(schedule: Schedule, home: Path, *, processes: int, storage: Storage, console: Console) -> bool:
    """Performs a run. Returns whether the ledger balances."""
    began = time.monotonic()

    def say(text: str) -> None:
        console.print(f"{time.monotonic() - began:5.0f} s  {text}", highlight=False)

    async with _set(schedule, survey(home, apis=processes, storage=storage), processes, say) as stage:
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
async def _set(schedule: Schedule, ground: Ground, processes: int, say: Callable[[str], None]) -> AsyncIterator[Stage]:
    async with AsyncExitStack() as opened:
        database = opened.enter_context(postgres(ground.home / "postgres"))
        asking, reporting = [[await opened.enter_async_context(_caller(p)) for p in ground.apis] for _ in range(2)]
        promises = Promises()
        load_balancer = LoadBalancer(reporting, promises, schedule.seed)
        await opened.enter_async_context(serving(load_balancer.app, port=ground.load_balancer))
        link = await opened.enter_async_context(linked(database.socket, ground.link))
        everything = supervised(
            ground, environment(ground), processes=processes, style=schedule.style, reports=schedule.reports
        )
        supervisor = await opened.enter_async_context(everything)
        ports = {"n8n": ground.n8n, "odoo": ground.odoo, "flux": ground.flux}
        simulators = {name: await opened.enter_async_context(_caller(port)) for name, port in ports.items()}
        sky = Sky(load_balancer, simulators, schedule.lost)
        absences = Absences(ground, supervisor, database)
        striker = Striker(supervisor, database, link, absences, sky, promises, ground.storage)
        addon = Addon(asking, promises)
        callers = {"api": asking[0], "n8n": simulators["n8n"], "flux": simulators["flux"]}
        yield Stage(schedule, ground, database, supervisor, addon, load_balancer, sky, striker, **callers, say=say)


def _caller(port: int) -> httpx.AsyncClient:
    """Returns a client for one process. It has few connections, because each call scans all of them."""
    few = httpx.Limits(max_connections=30, max_keepalive_connections=10)
    return httpx.AsyncClient(base_url=url(port), limits=few, trust_env=False, verify=False)


async def _play(stage: Stage) -> None:
    """Carries out the schedule, including the addon's repetitions."""
    schedule = stage.schedule
    await _until(lambda: _is_ready(stage.n8n))
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
    with contextlib.suppress(TimeoutError):  # the ledger shows requests that were never answered
        async with asyncio.timeout(schedule.load_seconds + SETTLE_SECONDS), asyncio.TaskGroup() as tasks:
            for moment, work in moments:
                tasks.create_task(at(moment, work))


async def _calm_down(stage: Stage) -> None:
    """Ends all faults and waits until everything has ended. The ledger shows what does not end."""
    await _until(lambda: _none(stage, UNATTEMPTED), BACKLOG_SECONDS)
    stage.say("Nothing goes wrong any more. Waiting until everything has ended.")
    await stage.sky.clear()
    await _until_ended(stage)


async def _help(stage: Stage) -> dict[str, int]:
    """Replays the dead letters, as a person does, and waits again. Returns the HTTP status for each of them."""
    stage.say("A person replays the dead letters; then the facts are compared.")
    replayed = {}
    with contextlib.suppress(httpx.HTTPError):  # the ledger shows an API that does not respond
        replayed = await known.replay(stage.api)
    await _until_ended(stage)
    for name in ("n8n", "odoo", "flux"):
        await stage.sky.look(name)
    await stage.supervisor.kill(stage.supervisor.places["n8n"])  # no late reports after this
    await _until_ended(stage)
    if stage.ground.storage:
        await _until(lambda: _none(stage, IN_POSTGRESQL))
    return replayed


async def _until(condition: Callable[[], Awaitable[bool]], seconds: float = SETTLE_SECONDS) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            while not await condition():
                await asyncio.sleep(0.2)


async def _until_ended(stage: Stage) -> None:
    """Waits until everything has ended, and longer than `SETTLE_SECONDS` only while requests still end."""
    left = -1
    while left != (found := await _count(stage, OPEN)) and not await _ended(stage):
        left = found
        await _until(lambda: _ended(stage))


async def _ended(stage: Stage) -> bool:
    """Whether every request has ended, no entry is pending, and no late result can arrive."""
    if stage.load_balancer.inside or not await _none(stage, OPEN) or not await _none(stage, LIVE):
        return False
    return await _none(stage, OVERDUE) or await _is_idle(stage.n8n)


async def _is_ready(n8n: httpx.AsyncClient) -> bool:
    """Whether N8N's webhook is registered."""
    return (await n8n.get("/healthz/readiness", timeout=5)).is_success


async def _is_idle(n8n: httpx.AsyncClient) -> bool:
    """Whether N8N has no running executions, or has been killed."""
    try:
        return not (await n8n.get("/_sim/running", timeout=5)).json()["running"]
    except httpx.HTTPError:
        return True


async def _none(stage: Stage, query: str) -> bool:
    """Whether the query counts 0; False when the database does not respond."""
    return await _count(stage, query) == 0


async def _count(stage: Stage, query: str) -> int | None:
    """Returns what the query counts; None when the database does not respond."""
    with contextlib.suppress(psycopg.Error):
        (row,) = await asyncio.to_thread(stage.database.read, query)
        return int(next(iter(row.values())))
    return None


async def _facts(stage: Stage, unaided: list[known.Row], replayed: Iterable[str]) -> Facts:
    addon, supervisor = stage.addon, stage.supervisor
    fallen, letters = list(supervisor.fallen), []
    try:
        letters = await known.dead_letters(stage.api)
    except httpx.HTTPError as error:
        fallen.append(f"the API does not list its dead letters: {error!r}")
    stored = await asyncio.to_thread(known.stored, stage.database)
    generated = await known.generated(stage.flux, stage.schedule.requests)
    objects, swept = await _objects(stage)
    return Facts(
        objects=objects,
        swept=swept,
        ordered=frozenset(order.request_id for order in stage.schedule.orders),
        accepted=frozenset(addon.accepted),
        cancelled=frozenset(addon.cancelled),
        refused=tuple(addon.refused),
        callbacks=tuple(stage.load_balancer.answers),
        dead_letters=frozenset(letter["id"] for letter in letters),
        replayed=frozenset(replayed),
        dead_executions=known.dead_executions(stage.ground.executions),
        away=tuple(stage.striker.absences.times),
        unaided=unaided,
        fallen=tuple(fallen),
        bugs=known.bugs(sorted(stage.ground.home.glob("*.log"))),
        **stored,
        **generated,
        **known.applied(stage.ground.effects),
    )


async def _objects(stage: Stage) -> tuple[dict[str, str] | None, frozenset[str]]:
    """Stops the bridge. Returns what is in its image store, and what is left there when days have passed."""
    if (storage := stage.ground.storage) is None:
        return None, frozenset()
    for place in stage.supervisor.places.values():
        if place.name.startswith(("api", "worker")):
            await stage.supervisor.stop(place)
    return hashes(storage), await pass_days(stage.database.url, storage)
