"""One run: the database is lost under load, and the runbook of docs/backup-and-restore.md is followed."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.migrations import migrate
from restore.backups import Backup, Log
from restore.books import PENDING, UNSETTLED, Books, close, counts
from restore.bridge import Bridge, bridge
from restore.people import People
from restore.server import Server
from stage import sqlalchemy_url

BACKUP, END = "backup, while serving", "everything has ended"
"""The steps before and after those of the runbook."""
PER_SECOND = 3.0
WARM = 10.0
"""Seconds under load before the backup."""
UNNOTICED = 5.0
"""Seconds from the loss to the first step of the runbook."""
ENDED_SECONDS = 400.0
"""A doubtful request is given up after 150 s; the rest takes a few."""


@dataclass
class Run:
    """The printed report. `steps` are seconds, `returned` the steps' results. `say` prints a line meanwhile."""

    name: str
    say: Callable[[str], None]
    backup_bytes: int = 0
    lost_at: datetime | None = None
    restored_to: datetime | None = None
    """The time of the last change that was restored."""
    steps: dict[str, float] = field(default_factory=dict)
    returned: dict[str, str] = field(default_factory=dict)
    before: dict[str, int] = field(default_factory=dict)
    restored: dict[str, int] = field(default_factory=dict)
    ended: dict[str, int] = field(default_factory=dict)
    reported: frozenset[str] = frozenset()
    """Requests whose image N8N had reported and Odoo had not got when the database was lost."""
    accepted: int = 0
    books: Books | None = None

    @property
    def downtime(self) -> float:
        """The seconds from the first step of the runbook to the start of the workers."""
        return sum(seconds for name, seconds in self.steps.items() if name not in {BACKUP, END})

    async def step(self, name: str, work: Awaitable[Any]) -> Any:
        """Takes a step, and records how long it took."""
        began = time.monotonic()
        try:
            result = await work
        except Exception as error:
            error.add_note(f"step: {name}")
            raise
        self.steps[name] = time.monotonic() - began
        if isinstance(result, str | int):
            self.returned[name] = str(result)
        self.say(f"{self.steps[name]:6.1f} s  {name}  {self.returned.get(name, '')}")
        return result


async def play(
    backup: Backup, server: Server, store: dict[str, Any], distance: timedelta, say: Callable[[str], None]
) -> Run:
    """Loses the database `distance` after the point to which it is restored, and restores it."""
    run = Run(backup.name, say)
    await asyncio.to_thread(_create, server, backup)
    async with bridge(server.url, server.data.parent, store) as working:
        people = People(working, PER_SECOND)
        await working.start("serve")
        await working.start("worker")
        async with asking(people):
            await asyncio.sleep(WARM)
            point = await _back_up(run, backup, server)
            await _until_lost(run, backup, people, server, point + distance)
            await run.step("worker and API stopped", working.stop("worker", "serve"))
            run.reported = people.reported()
            await _restore(run, backup, working, server, point)
            await _reconcile(run, people)
        await run.step(END, until_ended(people, server))
        run.accepted, run.ended = len(people.accepted), await asyncio.to_thread(counts, server)
        run.books = await close(people, server, doubts=backup.doubts, reported=run.reported)
    return run


def _create(server: Server, backup: Backup) -> None:
    server.create()
    backup.prepare(server)
    server.start()
    server.add_database()
    migrate(sqlalchemy_url(server.url))


@asynccontextmanager
async def asking(people: People) -> AsyncIterator[None]:
    """People ask during the block, and all are answered at its end."""
    task = asyncio.create_task(people.ask_on_and_on())
    try:
        yield
        task.cancel()
        async with asyncio.timeout(ENDED_SECONDS):
            await asyncio.gather(task, *people.unanswered, return_exceptions=True)
    finally:
        for each in (task, *people.unanswered):
            each.cancel()


async def _back_up(run: Run, backup: Backup, server: Server) -> datetime:
    """Backs up while the bridge serves. Returns the point in time to which it can be restored."""
    await run.step(BACKUP, asyncio.to_thread(backup.take, server))
    run.backup_bytes = int(run.returned.pop(BACKUP))
    if backup.name == "dump":
        return datetime.now(UTC) - timedelta(seconds=run.steps[BACKUP])
    await asyncio.sleep(WARM)
    return datetime.now(UTC)


async def _until_lost(run: Run, backup: Backup, people: People, server: Server, at: datetime) -> None:
    """Lets time pass, counts, and loses the database."""
    await asyncio.sleep((at - datetime.now(UTC)).total_seconds())
    if backup.doubts:
        await _lose_executions(people, server, backup)
    run.before = await asyncio.to_thread(counts, server)
    run.lost_at = datetime.now(UTC)
    await asyncio.to_thread(server.lose)
    await asyncio.sleep(UNNOTICED)


async def _lose_executions(people: People, server: Server, backup: Backup) -> None:
    """N8N loses executions and reports nothing. Their requests are in the archive."""
    assert isinstance(backup, Log)
    faults = people.bridge.chain.n8n.faults
    faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=backup.doubts))
    async with asyncio.timeout(30):
        while faults.taken["callback:lose_callback"] < backup.doubts:
            await asyncio.sleep(0.1)
    await asyncio.sleep(1)
    await asyncio.to_thread(backup.until_archived, server)
    await asyncio.sleep(2)


async def _restore(run: Run, backup: Backup, working: Bridge, server: Server, point: datetime) -> None:
    await run.step("database restored", asyncio.to_thread(backup.restore, server, point))
    await run.step("migrate", working.command("migrate"))
    run.restored = await asyncio.to_thread(counts, server)
    [(run.restored_to,)] = server.read("SELECT max(at) FROM request_changes")
    await run.step("restored", working.command("restored"))


async def _reconcile(run: Run, people: People) -> None:
    """Starts the API alone, so that results of paid work arrive before anything is sent to N8N again."""
    working = people.bridge
    await run.step("API started", working.start("serve"))
    await run.step("Odoo has sent again what the bridge forgot", people.reconcile())
    await run.step("N8N has ended what was running", working.chain.n8n.idle(seconds=1000))
    for kind, code in (("callback", "request_unknown"), ("n8n", "n8n_undelivered")):
        replay = working.command("dead-letters", "replay", "--all", "--kind", kind, "--error-code", code)
        await run.step(f"{code} replayed", replay)
    await run.step("worker started", working.start("worker"))


async def until_ended(people: People, server: Server) -> None:
    """Waits until all requests have ended in Odoo, and no entry is pending and no change unsettled."""
    unfinished = f"SELECT ({PENDING}) + ({UNSETTLED})"
    until = time.monotonic() + ENDED_SECONDS
    while time.monotonic() < until:
        if not people.waiting() and server.read(unfinished) == [(0,)]:
            return
        await asyncio.sleep(1)
