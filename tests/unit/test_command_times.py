"""Times as people write them at the command line, however far off."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import typer

from aigen_bridge.cli.times import check_period, parse_time

HALF_PAST_NOON = datetime(2026, 1, 31, 12, 30, tzinfo=UTC)


@pytest.fixture
def in_new_york(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The machine's time zone: 5 hours behind UTC in January."""
    monkeypatch.setenv("TZ", "EST5")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize("far", ["99999999999d", "9" * 5000 + "s", "800000d", "0001-01-01T00:00:00+01:00"])
def test_a_time_before_all_years_is_refused_by_name(far: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"before the year 1|is not a time"):
        parse_time(far)


def test_a_time_after_all_years_is_refused_by_name() -> None:
    with pytest.raises(typer.BadParameter, match="after the year 9999"):
        parse_time("9999-12-31T23:59:59-23:59")


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:30:00Z",
        "2026-01-31t12:30:00z",
        "2026-01-31T12:30Z",
        "2026-01-31 12:30:00.000+00:00",
        "2026-01-31T13:30:00+01:00",
        "2026-01-31T13:30:00+0100",
        " 2026-01-31T07:30:00-05 ",
        "20260131T123000Z",
    ],
)
def test_a_time_with_its_zone_is_that_time(text: str) -> None:
    assert parse_time(text) == HALF_PAST_NOON


@pytest.mark.usefixtures("in_new_york")
@pytest.mark.parametrize(
    ("text", "hours"), [("2026-01-31T12:30:00", 5), ("2026-01-31 12:30", 5), ("2026-01-31", 5 - 12.5)]
)
def test_a_time_without_a_zone_is_the_machines_and_a_date_its_midnight(text: str, hours: float) -> None:
    assert parse_time(text) == HALF_PAST_NOON + timedelta(hours=hours)


@pytest.mark.parametrize(
    ("text", "ago"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("2h", timedelta(hours=2)),
        ("2 H", timedelta(hours=2)),
        ("1.5h", timedelta(minutes=90)),
        ("3d", timedelta(days=3)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_a_duration_is_so_long_ago(text: str, ago: timedelta) -> None:
    assert abs(datetime.now(UTC) - parse_time(text) - ago) < timedelta(minutes=1)


@pytest.mark.parametrize("text", ["", "soon", "2", "h", "-2h", "2y", "٢h", "2026-02-30", "2026-01-31T25:00", "12:30"])
def test_anything_else_is_refused_with_the_forms_to_write(text: str) -> None:
    with pytest.raises(typer.BadParameter, match="Write 30m, 2h, 3d or 2w"):
        parse_time(text)


def test_an_empty_period_is_refused() -> None:
    check_period(None, HALF_PAST_NOON)
    check_period(HALF_PAST_NOON - timedelta(seconds=1), HALF_PAST_NOON)
    with pytest.raises(typer.BadParameter, match="earlier"):
        check_period(HALF_PAST_NOON, HALF_PAST_NOON)
