"""Times as people write them at the command line, however far off."""

from datetime import UTC, datetime, timedelta

import pytest
import typer

from aigen_bridge.cli.times import parse_time


@pytest.mark.parametrize("far", ["99999999999d", "9" * 5000 + "s", "800000d", "0001-01-01T00:00:00+01:00"])
def test_a_time_before_all_years_is_refused_by_name(far: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"before the year 1|neither like 2h"):
        parse_time(far)


def test_a_time_after_all_years_is_refused_by_name() -> None:
    with pytest.raises(typer.BadParameter, match="after the year 9999"):
        parse_time("9999-12-31T23:59:59-23:59")


def test_usual_times_are_sent_in_utc() -> None:
    assert parse_time("2026-01-31T12:00:00+01:00") == datetime(2026, 1, 31, 11, tzinfo=UTC)
    two_hours_ago = parse_time("2h")
    assert two_hours_ago
    assert abs(datetime.now(UTC) - two_hours_ago - timedelta(hours=2)) < timedelta(minutes=1)
