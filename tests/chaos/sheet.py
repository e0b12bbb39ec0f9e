"""Prints a run: what was promised, what became of it, what was done to the processes, what does not balance."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table

from chaos.facts import Facts

EXAMPLES = 5


@dataclass(frozen=True, kw_only=True)
class Report:
    """What a run tells besides its facts."""

    seconds: float
    load_seconds: float
    strikes: Counter[str]
    faults: Counter[str]
    asked: Counter[str]
    """Answers and errors that the addon saw."""
    replayed: Counter[str]


def show(facts: Facts, report: Report, accounts: Mapping[str, list[str]], console: Console) -> bool:
    """Print everything; whether the ledger balances."""
    console.print(_turnover(facts, report))
    console.print(_ledger(accounts))
    wrong = {name: lines for name, lines in accounts.items() if lines}
    for name, lines in wrong.items():
        console.print(f"[bold red]{name}[/]: {len(lines)}")
        for line in lines[:EXAMPLES]:
            console.print(f"  {line}", markup=False, highlight=False, soft_wrap=True)
    console.print("[bold red]The ledger does not balance.[/]" if wrong else "[bold green]The ledger balances.[/]")
    return not wrong


def _turnover(facts: Facts, report: Report) -> Table:
    table = Table(title="Turnover", title_justify="left", show_header=False)
    effects = sum(map(len, facts.effects.values()))
    entries = Counter(f"{row['step']} {row['state']}" for row in facts.entries)
    rows = {
        "accepted": str(len(facts.accepted)),
        "ended": _counted(Counter(_ending(row) for row in facts.requests.values())),
        "effects in Odoo": f"{effects}, of {len(facts.effects)} requests",
        "callbacks answered": _counted(Counter(str(said.status or said.broke) for said in facts.callbacks)),
        "outbox": _counted(entries),
        "tries": str(len(facts.tries)),
        "in quarantine": _counted(Counter(row["error_code"] for row in facts.quarantine)),
        "dead letters listed": str(len(facts.dead_letters)),
        "dead letters replayed": _counted(report.replayed),
        "what the addon was answered": _counted(report.asked),
        "done to processes": f"{sum(report.strikes.values())}: {_counted(report.strikes)}",
        "faults": f"{sum(report.faults.values())}: {_counted(report.faults)}",
        "duration": f"{report.seconds:.0f} s, requests came for {report.load_seconds:.0f} s",
        "throughput": f"{len(facts.accepted) / report.load_seconds:.1f} requests a second",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _ledger(accounts: Mapping[str, list[str]]) -> Table:
    table = Table("must be 0", "is", title="Ledger", title_justify="left")
    for name, lines in accounts.items():
        table.add_row(name, str(len(lines)), style="bold red" if lines else "")
    return table


def _ending(row: Mapping[str, object]) -> str:
    """Errors of N8N's own are not told apart: any text may be one."""
    return f"{row['status']} ({row['error_code']})" if row["failed_by"] == "bridge" else str(row["status"])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"
