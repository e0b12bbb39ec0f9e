"""The summary of the end-to-end targets."""

from types import SimpleNamespace

from scenarios import summary


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
