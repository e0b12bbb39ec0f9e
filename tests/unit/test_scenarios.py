"""The summary of the end-to-end targets."""

from pathlib import Path
from types import SimpleNamespace

from scenarios import kept_with, summary


def skip(reason: str) -> SimpleNamespace:
    return SimpleNamespace(longrepr=("test_it.py", 1, f"Skipped: {reason}"))


def test_the_summary_counts_what_ran_and_says_why_the_others_were_skipped() -> None:
    broken = SimpleNamespace(nodeid="test_it.py::test_c", when="setup")
    stats = {
        "passed": [object(), object()],
        "failed": [object()],
        "error": [broken],
        "skipped": [skip("no browser"), skip("no Odoo"), skip("no Odoo")],
    }
    assert summary(stats) == [
        "ran 3 (1 failed), skipped 3, could not start 1",
        "  skipped 2: no Odoo",
        "  skipped 1: no browser",
    ]


def test_the_summary_is_one_line_when_nothing_was_skipped() -> None:
    assert summary({"passed": [object()]}) == ["ran 1, skipped 0"]


def test_a_run_also_shows_the_counts_of_the_runs_before_it(tmp_path: Path) -> None:
    kept_with(tmp_path / "made/kept", ["regular: ran 2, skipped 0"])
    assert kept_with(tmp_path / "made/kept", ["queue: ran 3, skipped 0"]) == [
        "regular: ran 2, skipped 0",
        "queue: ran 3, skipped 0",
    ]
