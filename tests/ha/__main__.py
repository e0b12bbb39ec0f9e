"""`python -m ha`: strikes the primary in four ways, each twice. The exit status is 0 only if every promise was kept.

A machine that cannot run the cluster skips all cases, with the reason, and the exit status is 0.
"""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from rich.console import Console
from rich.table import Table

from aigen_bridge.doctor.database import look_at_database
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.replication import look_at_replication
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.store.migrations import migrate
from ha.cluster import PASSWORD, CannotRunError, Cluster, Node, cluster
from ha.load import PER_SECOND, Load, bridge
from stage import make_settings

BEFORE, AFTER = 5.0, 5.0
"""Seconds under load before a strike, and after the first request that was accepted again."""
OVER_WITHIN = 90.0
TIMES = 2

console = Console(width=None if sys.stdout.isatty() else 150)


@dataclass(frozen=True)
class Case:
    """One way to lose the primary. `limit` is the longest permitted gap in seconds."""

    name: str
    limit: float
    strike: Callable[[Cluster, Node], None]
    mend: Callable[[Node], None] = lambda _: None


CASES = (
    Case("kill -9 of the postmaster", 30, lambda _, node: node.kill_postmaster()),
    Case("kill -9 of the node", 30, lambda _, node: node.kill(), lambda node: node.start()),
    Case("link down without a word", 30, lambda _, node: node.link("down"), lambda node: node.link("up")),
    Case("planned switchover", 10, lambda all_nodes, _: all_nodes.switch_over()),
)


@dataclass(frozen=True)
class Result:
    """A row of the table."""

    case: Case
    gap: float
    asked: int
    accepted: int
    lost: int
    doubled: int
    restarted: int
    primaries: str

    @property
    def is_kept(self) -> bool:
        """Whether every promise was kept."""
        return self.gap <= self.case.limit and not (self.lost or self.doubled or self.restarted)


async def _play(case: Case, nodes: Cluster, load: Load) -> Result:
    await nodes.until_whole()
    before = await asyncio.to_thread(nodes.primary)
    asked, known = load.asked, len(load.accepted)
    asking = asyncio.create_task(load.ask_on_and_on())
    try:
        await asyncio.sleep(BEFORE)
        struck = time.monotonic()
        striking = asyncio.create_task(asyncio.to_thread(case.strike, nodes, before))
        await _until_over(load, nodes, case, struck)
        await striking
        gap = load.longest_gap(struck)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    case.mend(before)
    await nodes.until_whole()
    lost = await load.until_all_delivered()
    after = await asyncio.to_thread(nodes.primary)
    counts = load.asked - asked, len(load.accepted) - known, lost, load.doubled(), len(load.ended_processes())
    return Result(case, gap, *counts, f"{before.name} → {after.name}")


async def _until_over(load: Load, nodes: Cluster, case: Case, struck: float) -> None:
    """Waits until requests have been accepted again for a while, after the time in which the strike may act."""
    await asyncio.sleep(case.limit)
    while time.monotonic() - struck < OVER_WITHIN:
        recent = [at for at in load.accepted.values() if at > time.monotonic() - AFTER]
        if len(recent) > PER_SECOND:
            return
        await asyncio.sleep(1)


async def _doctor(url: str) -> None:
    checks = [Check("database", look_at_database), Check("replication", look_at_replication)]
    for finding in await examine(Subject.of(make_settings(url)), checks):
        console.print(f"doctor: {finding.mark.value} {finding.about}: {finding.found}", highlight=False)


def _prepare(nodes: Cluster) -> None:
    with closing(psycopg.connect(nodes.url("postgres"), target_session_attrs="primary", autocommit=True)) as connection:
        connection.execute(f"CREATE ROLE aigen LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor")
        connection.execute("GRANT CREATE ON SCHEMA public TO aigen")
    migrate(nodes.url())


async def _run(nodes: Cluster, chosen: list[Case]) -> list[Result]:
    await nodes.until_whole()
    await asyncio.to_thread(_prepare, nodes)
    await _doctor(nodes.url())
    results = []
    with TemporaryDirectory(prefix="aigen-ha-bridge-") as folder:
        async with bridge(nodes.url(), Path(folder)) as load:
            for case in chosen:
                results.append(await _play(case, nodes, load))
                console.print(f"{case.name}: gap {results[-1].gap:.1f} s", highlight=False)
            console.print(f"answers: {dict(load.answers)}", highlight=False)
    return results


def _show(results: list[Result]) -> None:
    table = Table("case", "gap", "limit", "asked", "accepted", "lost", "doubled", "restarted", "primary", "")
    for row in results:
        numbers = (str(number) for number in (row.asked, row.accepted, row.lost, row.doubled, row.restarted))
        kept = "kept" if row.is_kept else "BROKEN"
        table.add_row(row.case.name, f"{row.gap:.1f} s", f"{row.case.limit:.0f} s", *numbers, row.primaries, kept)
    console.print(table)


def main() -> int:
    """Plays the cases whose names contain the argument, or all. Returns the exit status."""
    words = " ".join(sys.argv[1:])
    chosen = [case for case in CASES if words in case.name for _ in range(TIMES)]
    try:
        with cluster() as nodes:
            results = asyncio.run(_run(nodes, chosen))
    except CannotRunError as error:
        console.print(f"0 cases ran, {len(chosen)} were skipped: {error}.", highlight=False)
        return 0
    _show(results)
    console.print(f"{len(results)} cases ran, 0 were skipped.", highlight=False)
    return 0 if all(result.is_kept for result in results) else 1


sys.exit(main())
