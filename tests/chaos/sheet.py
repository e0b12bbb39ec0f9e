"""Prints a run: what went on, the ledger, and the story of every request that does not balance."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.facts import Facts
from chaos.ledger import UNALERTED, tries_in_vain, turnover
from chaos.story import concerned, story

LINES, STORIES = 5, 3
"""What is printed of an account, and of all requests that do not balance; the file has the rest."""


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


def show(facts: Facts, report: Report, accounts: Mapping[str, list[str]], console: Console, everything: Path) -> bool:
    """Print the run; whether the ledger balances. What is too long to print goes to the file `everything`."""
    console.print(_what_went_on(facts, report))
    console.print(_ledger(facts, accounts))
    wrong = {name: lines for name, lines in accounts.items() if lines}
    if not wrong:
        console.print("[bold green]The ledger balances.[/]")
        return True
    everything.write_text("\n".join(_complaints(facts, wrong)))
    for line in _complaints(facts, wrong, lines=LINES, stories=STORIES):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print("[bold red]The ledger does not balance.[/]", f"Every line of it: {everything}", soft_wrap=True)
    return False


def _complaints(
    facts: Facts, wrong: Mapping[str, list[str]], *, lines: int | None = None, stories: int | None = None
) -> Iterator[str]:
    for name, complaints in wrong.items():
        yield f"{name}: {len(complaints)}"
        yield from (f"  {line}" for line in complaints[:lines])
    for request_id in concerned(wrong)[:stories]:
        yield from story(request_id, facts)


def _what_went_on(facts: Facts, report: Report) -> Table:
    table = Table(title="What went on", title_justify="left", show_header=False)
    effects = Counter(effect["status"] for known in facts.effects.values() for effect in known)
    entries = Counter(f"{row['step']} {row['state']}" for row in facts.entries)
    rows = {
        "endings": _counted(Counter(_ending(row) for row in facts.requests.values())),
        "effects in Odoo": f"{_counted(effects)}; of {len(facts.effects)} requests",
        "callbacks answered": _counted(Counter(str(said.status or said.broke) for said in facts.callbacks)),
        "outbox": _counted(entries),
        "tries": str(len(facts.tries)),
        "in quarantine": _counted(Counter(row["error_code"] for row in facts.quarantine)),
        "dead letters listed": str(len(facts.dead_letters)),
        "dead letters replayed": _counted(report.replayed),
        "what the addon was answered": _counted(report.asked),
        "done to processes": f"{sum(report.strikes.values())}: {_counted(report.strikes)}",
        "N8N was away": _absences(facts),
        "faults": f"{sum(report.faults.values())}: {_counted(report.faults)}",
        "duration": f"{report.seconds:.0f} s, requests came for {report.load_seconds:.0f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _ledger(facts: Facts, accounts: Mapping[str, list[str]]) -> Table:
    table = Table("ledger", "", title_justify="left")
    for name, number in turnover(facts).items():
        table.add_row(name, str(number))
    table.add_section()
    for name, lines in accounts.items():
        unknown = name == UNALERTED and facts.alerted is None
        table.add_row(name, "no alerts yet" if unknown else str(len(lines)), style="bold red" if lines else "")
    return table


def _absences(facts: Facts) -> str:
    seconds = sum((end - begin).total_seconds() for begin, end in facts.away)
    return f"{len(facts.away)} times, {seconds:.0f} s in all; {tries_in_vain(facts)} tries meanwhile"


def _ending(row: Mapping[str, object]) -> str:
    """Errors of N8N's own are not told apart: any text may be one."""
    return f"{row['status']} ({row['error_code']})" if row["failed_by"] == "bridge" else str(row["status"])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"
