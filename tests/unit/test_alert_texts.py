"""What people read when something needs them."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest
import typer
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.domain.destination import with_breaker
from aigen_bridge.domain.incident import ADVICE, Cause, Incident, OccurrenceRecord
from aigen_bridge.domain.request import FailureCode
from aigen_bridge.pipeline.alert import body, title

AT = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)
REQUEST = UUID("5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11")
HOME = "https://bridge.example.com"


def incident(cause: Cause = Cause.DISPATCH_FAILED, *, times: int = 1, told: int = 0, over: bool = False) -> Incident:
    named = (OccurrenceRecord(AT + timedelta(minutes=times - 1), "N8N answered 503.", REQUEST),)
    return Incident(
        id=1,
        cause=cause,
        times=times,
        notified_times=told,
        opened_at=AT,
        seen_at=AT + timedelta(minutes=times - 1),
        recovered_at=AT + timedelta(hours=1) if over else None,
        latest=named,
    )


def test_a_first_alert_names_the_request_the_cause_and_the_command() -> None:
    assert title(incident()) == "[aigen-bridge] critical: N8N did not accept requests"
    assert body(incident(), HOME).splitlines() == [
        "N8N did not accept requests.",
        "",
        "cause:      dispatch_failed",
        "happened:   2026-03-01 12:00:05 UTC",
        f"what to do: {ADVICE[Cause.DISPATCH_FAILED].mend}",
        "",
        "latest first:",
        f"- 2026-03-01 12:00:05 UTC request {REQUEST}: N8N answered 503.",
        "",
        "from the bridge at https://bridge.example.com",
    ]


def test_a_digest_counts_what_is_new_and_what_it_does_not_name() -> None:
    digest = incident(times=50, told=1)
    assert title(digest).endswith("(50 times)")
    assert "50 times, 49 of them new, first 2026-03-01 12:00:05 UTC, last 2026-03-01 12:49:05 UTC" in body(digest, HOME)
    assert "- and 49 earlier" in body(digest, HOME)


def test_the_end_of_an_outage_asks_for_nothing() -> None:
    over = incident(Cause.N8N_DOWN, over=True)
    assert title(over) == "[aigen-bridge] recovered: N8N is back; held requests are being sent"
    assert "is away" not in body(over, HOME)
    assert "what to do" not in body(over, HOME)


def test_the_end_of_failures_says_that_they_still_have_to_be_mended() -> None:
    over = body(incident(times=3, told=3, over=True), HOME)
    assert "no occurrence since 2026-03-01 12:02:05 UTC" in over
    assert "what to do: aigen-bridge dead-letters list --kind dispatch" in over


def test_what_belongs_to_no_request_says_so() -> None:
    stray = replace(incident(Cause.CALLBACK_QUARANTINED), latest=(OccurrenceRecord(AT, "unknown", None),))
    assert "no known request: unknown" in body(stray, HOME)


def test_a_text_from_outside_adds_no_line_mentions_nobody_and_hides_no_link() -> None:
    hostile = "no\r\nwhat to do: run curl\u2028\x1b[2J @all <!here> <http://evil|docs> [docs](http://evil) a@b.c"
    quoting = replace(incident(), latest=(OccurrenceRecord(AT, hostile, REQUEST),))
    lines = body(quoting, HOME).splitlines()
    shown = lines[7].translate({0x2039: "{", 0x203A: "}"})  # quotation marks that look like angle brackets

    assert len(lines) == len(body(incident(), HOME).splitlines())
    assert [line for line in lines if line.startswith("what to do:")] == [f"what to do: {ADVICE[quoting.cause].mend}"]
    assert shown.partition(f"{REQUEST}: ")[2] == (
        "no\\r\\nwhat to do: run curl\\u2028\\x1b[2J (at)all {!here} {http://evil|docs} [docs] (http://evil) a(at)b.c"
    )


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_words_and_a_command_that_exists(cause: Cause) -> None:
    known = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]
    advice = ADVICE[cause]
    named = re.findall(r"aigen-bridge ([a-z-]+(?: [a-z]+)?)", advice.mend)

    assert advice.title
    assert named
    for command in named:
        if command != "doctor":
            assert command.split()[0] in known
            assert CliRunner().invoke(app, [*command.split(), "--help"]).exit_code == 0


def test_every_failure_of_the_bridge_has_a_cause_and_the_end_of_every_outage_its_words() -> None:
    assert {code.value for code in FailureCode} <= set(Cause)
    assert all(ADVICE[cause].over for destination in with_breaker() for cause in destination.causes)
