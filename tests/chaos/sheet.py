"""Prints a run: a summary, the ledger, and the story of requests that do not balance."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from chaos.facts import Facts
from chaos.jobs import causes_of_doubt, excused_pictures, extra_jobs, jobs_by_request
from chaos.ledger import UNALERTED, missed_attempts, turnover
from chaos.story import concerned, story

LINES, STORIES = 5, 3
"""Number of printed lines per account, and of printed stories. The file has all of them."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """Figures of a run in addition to its facts."""

    seconds: float
    load_seconds: float
    strikes: Counter[str]
    faults: Counter[str]
    asked: Counter[str]
    """Responses and errors that the addon received."""
    replayed: Counter[str]


def show(facts: Facts, report: Report, accounts: Mapping[str, list[str]], console: Console, everything: Path) -> bool:
    """Prints the run. Writes all complaints to the file `everything`. Returns whether the ledger balances."""
    console.print(_summary(facts, report))
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


def _summary(facts: Facts, report: Report) -> Table:
    table = Table(title="What went on", title_justify="left", show_header=False)
    effects = Counter(effect["status"] for known in facts.effects.values() for effect in known)
    entries = Counter(f"{row['step']} {row['state']}" for row in facts.entries)
    rows = {
        "endings": _counted(Counter(_ending(row) for row in facts.requests.values())),
        "effects in Odoo": f"{_counted(effects)}; of {len(facts.effects)} requests",
        "callbacks answered": _counted(Counter(str(each.status or each.broke) for each in facts.callbacks)),
        "outbox": _counted(entries),
        "attempts": str(len(facts.attempts)),
        "objects in the image store": _objects(facts),
        "in quarantine": _counted(Counter(row["error_code"] for row in facts.quarantine)),
        "dead letters listed": str(len(facts.dead_letters)),
        "dead letters replayed": _counted(report.replayed),
        "responses to the addon": _counted(report.asked),
        "strikes": f"{sum(report.strikes.values())}: {_counted(report.strikes)}",
        "N8N was away": _absences(facts),
        "faults": f"{sum(report.faults.values())}: {_counted(report.faults)}",
        "duration": f"{report.seconds:.0f} s, requests for {report.load_seconds:.0f} s",
    }
    for name, value in rows.items():
        table.add_row(name, value)
    return table


def _ledger(facts: Facts, accounts: Mapping[str, list[str]]) -> Table:
    table = Table("ledger", "", title_justify="left")
    for name, number in turnover(facts).items():
        table.add_row(name, str(number))
    table.add_section()
    for name, value in _paid(facts).items():
        table.add_row(name, value)
    table.add_section()
    for name, lines in accounts.items():
        unknown = name == UNALERTED and facts.alerted is None
        table.add_row(name, "no alerts yet" if unknown else str(len(lines)), style="bold red" if lines else "")
    return table


def _paid(facts: Facts) -> dict[str, str]:
    """Returns the AI service's side: jobs per request, each job beyond one explained, and the pictures made."""
    jobs = jobs_by_request(facts)
    numbers = Counter(len(jobs.get(name, ())) for name in facts.requests)
    reasons = Counter(extra.reason or "unexplained" for extra in extra_jobs(facts))
    excused = excused_pictures(facts)
    return {
        "provider jobs per request": ", ".join(f"{jobs} of {count}" for jobs, count in sorted(numbers.items())),
        "provider jobs": f"{len(facts.jobs)}, of them billed {sum(job['billed'] for job in facts.jobs)}",
        "of them beyond one": f"{reasons.total()}: {_counted(reasons)}",
        "counted as maybe paid": f"{len(facts.doubts)}: {_counted(causes_of_doubt(facts))}",
        "pictures made": f"{len(facts.pictures)}; not wanted in Odoo: {_counted(excused)}",
    }


def _objects(facts: Facts) -> str:
    if facts.objects is None:
        return "none"
    return f"{len(facts.objects)}; {len(facts.swept)} when days have passed"


def _absences(facts: Facts) -> str:
    seconds = sum((end - begin).total_seconds() for begin, end in facts.away)
    return f"{len(facts.away)} times, {seconds:.0f} s in all; {missed_attempts(facts)} attempts meanwhile"


def _ending(row: Mapping[str, object]) -> str:
    """Names an ending. N8N's error codes are not distinguished, because they may be any text."""
    return f"{row['status']} ({row['error_code']})" if row["failed_by"] == "bridge" else str(row["status"])


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(counts.items())) or "none"
