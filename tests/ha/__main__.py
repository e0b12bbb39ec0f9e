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
from ha.load import Ledger, Load, bridge
from stage import make_settings

BEFORE, ACTS, CALM = 5.0, 10.0, 5.0
"""Seconds under load before a strike, in which it acts, and in which requests are accepted again without a gap."""
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
    """A row of the table. `requests` are those that were accepted in this case."""

    case: Case
    gap: float
    asked: int
    requests: frozenset[str]
    restarted: int
    primaries: str


async def _play(case: Case, nodes: Cluster, load: Load) -> Result:
    await nodes.until_whole()
    before = await asyncio.to_thread(nodes.primary)
    asked, known = load.asked, set(load.accepted)
    asking = asyncio.create_task(load.ask_on_and_on())
    try:
        await asyncio.sleep(BEFORE)
        struck = time.monotonic()
        striking = asyncio.create_task(asyncio.to_thread(case.strike, nodes, before))
        await _until_over(load, struck)
        await striking
        gap = load.longest_gap(struck)
    finally:
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)
    case.mend(before)
    await nodes.until_whole()
    after = await asyncio.to_thread(nodes.primary)
    requests, restarted = frozenset(load.accepted.keys() - known), len(load.ended_processes())
    return Result(case, gap, load.asked - asked, requests, restarted, f"{before.name} → {after.name}")


async def _until_over(load: Load, struck: float) -> None:
    """Waits until the strike has acted, and requests have been accepted again for a while."""
    await asyncio.sleep(ACTS)
    while time.monotonic() - struck < OVER_WITHIN:
        if load.longest_gap(time.monotonic() - CALM) < CALM / 2:
            return
        await asyncio.sleep(0.5)


async def _doctor(url: str) -> None:
    checks = [Check("database", look_at_database), Check("replication", look_at_replication)]
    for finding in await examine(Subject.of(make_settings(url)), checks):
        console.print(f"doctor: {finding.mark.value} {finding.about}: {finding.found}", highlight=False)


def _prepare(nodes: Cluster) -> None:
    with closing(psycopg.connect(nodes.url("postgres"), target_session_attrs="primary", autocommit=True)) as connection:
        connection.execute(f"CREATE ROLE aigen LOGIN PASSWORD '{PASSWORD}' IN ROLE pg_monitor")
        connection.execute("GRANT CREATE ON SCHEMA public TO aigen")
    migrate(nodes.url())


async def _run(nodes: Cluster, chosen: list[Case]) -> bool:
    """Plays the cases and shows the table. Returns whether every promise was kept."""
    await nodes.until_whole()
    await asyncio.to_thread(_prepare, nodes)
    await _doctor(nodes.url())
    results = []
    with TemporaryDirectory(prefix="aigen-ha-bridge-") as folder:
        async with bridge(nodes.url(), Path(folder)) as load:
            for case in chosen:
                results.append(await _play(case, nodes, load))
                console.print(f"{case.name}: gap {results[-1].gap:.1f} s", highlight=False)
            ledger = await load.balance()
            console.print(f"answers: {dict(load.answers)}", highlight=False)
    return _shown(results, ledger)


def _shown(results: list[Result], ledger: Ledger) -> bool:
    table = Table("case", "gap", "limit", "asked", "accepted", "lost", "doubled", "restarted", "primary", "")
    all_kept = True
    for row in results:
        lost, doubled = len(row.requests & ledger.lost), len(row.requests & ledger.doubled)
        kept = row.gap <= row.case.limit and not (lost or doubled or row.restarted)
        numbers = (str(number) for number in (row.asked, len(row.requests), lost, doubled, row.restarted))
        times = f"{row.gap:.1f} s", f"{row.case.limit:.0f} s"
        table.add_row(row.case.name, *times, *numbers, row.primaries, "kept" if kept else "BROKEN")
        all_kept = all_kept and kept
    console.print(table)
    console.print(
        f"{len(results)} cases ran, 0 were skipped. Not yet delivered: {len(ledger.waiting)}.", highlight=False
    )
    return all_kept and not ledger.waiting


def main() -> int:
    """Plays the cases whose names contain the argument, or all. Returns the exit status."""
    words = " ".join(sys.argv[1:])
    chosen = [case for case in CASES if words in case.name for _ in range(TIMES)]
    if not chosen:
        console.print(f"No case is named {words!r}; there are: {', '.join(case.name for case in CASES)}.")
        return 2
    try:
        with cluster() as nodes:
            return 0 if asyncio.run(_run(nodes, chosen)) else 1
    except CannotRunError as error:
        console.print(f"0 cases ran, {len(chosen)} were skipped: {error}.", highlight=False)
        return 0


sys.exit(main())
