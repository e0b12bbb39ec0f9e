"""A pytest plugin of the end-to-end targets: prints how many scenarios ran, how many were skipped, and why."""

from collections import Counter

import pytest

RAN = ("passed", "failed", "xfailed", "xpassed")


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints the counts after everything else."""
    terminalreporter.section("scenarios")
    for line in summary(terminalreporter.stats):
        terminalreporter.write_line(line)


def summary(stats: dict[str, list[pytest.TestReport]]) -> list[str]:
    """Returns one line with the counts, and one for each reason."""
    ran = sum(len(stats.get(outcome, ())) for outcome in RAN)
    broken = Counter(report.nodeid for report in stats.get("error", ()) if report.when != "teardown")
    skipped = Counter(_reason(report) for report in stats.get("skipped", ()))
    lines = [f"ran {ran}, skipped {skipped.total()}" + (f", could not start {broken.total()}" if broken else "")]
    return lines + [f"  skipped {times}: {reason}" for reason, times in skipped.most_common()]


def _reason(report: pytest.TestReport) -> str:
    why = report.longrepr
    return str(why[2] if isinstance(why, tuple) else why).removeprefix("Skipped: ")
