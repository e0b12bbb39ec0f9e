"""The ways to a newer major version of PostgreSQL, with the commands of docs/backup-and-restore.md."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Protocol

from aigen_bridge.store.migrations import migrate
from restore.backups import Dump
from restore.books import close, counts
from restore.bridge import bridge
from restore.people import People
from restore.server import Server
from restore.story import END, PER_SECOND, WARM, Run, asking, until_ended
from stage import sqlalchemy_url

COLLATIONS = """
    SELECT datname, datcollversion, pg_database_collation_actual_version(oid) FROM pg_database
    WHERE datallowconn AND datcollversion IS DISTINCT FROM pg_database_collation_actual_version(oid)
"""
INDEXES = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"


class Upgrade(Protocol):
    """One way."""

    name: str

    def upgrade(self, old: Server, new: Server) -> None:
        """Moves everything from a running server to a new one, which runs afterwards on the port of the old one."""


class ByDump:
    """A dump of the old server, restored into the new one: what compose needs, because each image has one version."""

    name = "dump and restore"

    def upgrade(self, old: Server, new: Server) -> None:
        """Dumps with the programs of the old version, which the container of that version has."""
        way = Dump(new.data.parent)
        way.take(old)
        old.stop()
        new.port = old.port
        way.restore(new)


class InPlace:
    """`pg_upgrade`, which moves the files of the tables."""

    name = "pg_upgrade"

    def upgrade(self, old: Server, new: Server) -> None:
        """Makes the new cluster with checksums if the old one has them, because both must have the same."""
        [(checksums,)] = old.read("SHOW data_checksums")
        old.stop()
        new.port = old.port
        new.create(checksums=checksums == "on")
        new.run(
            "pg_upgrade",
            f"--old-datadir={old.data}",
            f"--new-datadir={new.data}",
            f"--old-bindir={old.programs}",
            f"--new-bindir={new.programs}",
            f"--socketdir={new.data.parent}",
            "--username=postgres",
        )
        new.start()


async def play(way: Upgrade, old: Server, new: Server, store: dict[str, Any], say: Callable[[str], None]) -> Run:
    """Upgrades PostgreSQL while people go on asking: the bridge is stopped, nothing is forgotten."""
    run = Run(way.name, say)
    await asyncio.to_thread(_create, old)
    async with bridge(old.url, new.data.parent, store) as working:
        people = People(working, PER_SECOND)
        await working.start("serve")
        await working.start("worker")
        async with asking(people):
            await asyncio.sleep(WARM)
            await run.step("worker stopped", working.stop("worker"))
            await run.step("N8N has ended what was running", working.chain.n8n.idle(seconds=1000))
            await run.step("API stopped", working.stop("serve"))
            run.before = await asyncio.to_thread(counts, old)
            await run.step("upgrade", asyncio.to_thread(way.upgrade, old, new))
            run.restored = await asyncio.to_thread(counts, new)
            await run.step("statistics", asyncio.to_thread(new.run, "vacuumdb", "--all", "--analyze-only", "--quiet"))
            await run.step("migrate", working.command("migrate"))
            await run.step("API started", working.start("serve"))
            await run.step("worker started", working.start("worker"))
            await asyncio.sleep(WARM)
        await run.step(END, until_ended(people, new))
        run.accepted, run.ended = len(people.accepted), await asyncio.to_thread(counts, new)
        books = await close(people, new)
        run.books = replace(books, wrong=[*books.wrong, *_differences(run, new)])
    return run


def _create(server: Server) -> None:
    server.create()
    server.start()
    server.add_database()
    migrate(sqlalchemy_url(server.url))


def _differences(run: Run, new: Server) -> list[str]:
    """Returns what the new server has otherwise than the old one had, or cannot use."""
    tables = {name for name in run.before | run.restored if run.before.get(name) != run.restored.get(name)}
    return [
        *(f"{name}: {run.before.get(name)} rows before, {run.restored.get(name)} after" for name in tables),
        *(
            f"the collation of {name} is of version {was}, the system's is {now}"
            for name, was, now in new.read(COLLATIONS)
        ),
        *(f"the index {name} is not valid" for (name,) in new.read(INDEXES)),
    ]
