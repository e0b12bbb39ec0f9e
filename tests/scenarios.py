"""A pytest plugin of the end-to-end targets: prints how many scenarios ran, how many were skipped, and why.

A target that runs the same scenarios several times names each run in `SCENARIOS_RUN`, and a file in `SCENARIOS_KEPT`,
with which each run also prints the counts of the runs before it.
"""

import os
import time
from collections import Counter
from pathlib import Path

import pytest

RAN = ("passed", "failed", "xfailed", "xpassed")
_began = time.monotonic()


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the counts after everything else."""
    lines = summary(terminalreporter.stats)
    if run := os.environ.get("SCENARIOS_RUN"):
        lines[0] = f"{run}: {lines[0]}, {(time.monotonic() - _began) / 60:.0f} minutes"
    if kept := os.environ.get("SCENARIOS_KEPT"):
        lines = kept_with(Path(kept), lines)
    terminalreporter.section("scenarios")
    for line in lines:
        terminalreporter.write_line(line)


def summary(stats: dict[str, list[pytest.TestReport]]) -> list[str]:
    """Returns one line with the counts, and one for each reason."""
    ran = sum(len(stats.get(outcome, ())) for outcome in RAN)
    failed = len(stats.get("failed", ()))
    broken = Counter(report.nodeid for report in stats.get("error", ()) if report.when != "teardown")
    skipped = Counter(_reason(report) for report in stats.get("skipped", ()))
    counts = [f"ran {ran}" + (f" ({failed} failed)" if failed else ""), f"skipped {skipped.total()}"]
    counts += [f"could not start {broken.total()}"] if broken else []
    return [", ".join(counts), *(f"  skipped {times}: {reason}" for reason, times in skipped.most_common())]


def kept_with(kept: Path, lines: list[str]) -> list[str]:
    """Adds the lines to the file, and returns all of its lines."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    with kept.open("a") as file:
        file.writelines(f"{line}\n" for line in lines)
    return kept.read_text().splitlines()


def _reason(report: pytest.TestReport) -> str:
    why = report.longrepr
    return str(why[2] if isinstance(why, tuple) else why).removeprefix("Skipped: ")
