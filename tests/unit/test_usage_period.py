"""The period of a usage report: dates begin at midnight in the time zone, also where the clock is changed."""

from datetime import UTC, datetime

import pytest

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.usage import usage_filter

BERLIN = "Europe/Berlin"
NOW = datetime(2026, 3, 31, 23, 30, tzinfo=UTC)
"""In Berlin, it is April already."""


def period(since: str | None = None, until: str | None = None, zone: str = BERLIN, now: datetime = NOW) -> list[str]:
    found = usage_filter(since, until, None, None, now=now, time_zone=zone)
    return [at.astimezone(UTC).isoformat(timespec="minutes") for at in (found.since, found.until)]


@pytest.mark.parametrize(
    ("since", "until", "zone", "expected"),
    [
        (None, None, BERLIN, ["2026-03-31T22:00+00:00", "2026-04-30T22:00+00:00"]),
        (None, None, "UTC", ["2026-03-01T00:00+00:00", "2026-04-01T00:00+00:00"]),
        ("2026-03-01", "2026-04-01", BERLIN, ["2026-02-28T23:00+00:00", "2026-03-31T22:00+00:00"]),  # summer time
        ("2026-03-29", "2026-03-30", BERLIN, ["2026-03-28T23:00+00:00", "2026-03-29T22:00+00:00"]),  # 23 hours
        ("2026-10-25", "2026-10-26", BERLIN, ["2026-10-24T22:00+00:00", "2026-10-25T23:00+00:00"]),  # 25 hours
        ("2026-01-15", None, BERLIN, ["2026-01-14T23:00+00:00", "2026-04-30T22:00+00:00"]),
        ("2027-12-15", None, BERLIN, ["2027-12-14T23:00+00:00", "2027-12-31T23:00+00:00"]),
        ("2026-01-01T02:00:00+05:00", "2026-01-01", "UTC", ["2025-12-31T21:00+00:00", "2026-01-01T00:00+00:00"]),
        ("0001-01-01", "9999-12-31", "Asia/Tokyo", ["0001-01-01T00:00+00:00", "9999-12-30T15:00+00:00"]),
        ("9999-12-31", None, "America/New_York", ["9999-12-31T05:00+00:00", "9999-12-31T23:59+00:00"]),
    ],
)  # fmt: skip
def test_the_period_of_a_report(since: str | None, until: str | None, zone: str, expected: list[str]) -> None:
    assert period(since, until, zone) == expected


@pytest.mark.parametrize(
    ("since", "until", "field"),
    [
        ("2026-02-30", None, "from"),
        ("yesterday", None, "from"),
        ("", None, "from"),
        (None, "", "to"),
        ("20260101", None, "from"),
        ("2026-01-01T00:00:00", None, "from"),
        (None, "1767225600", "to"),
        ("2026-05-01", "2026-05-01", "to"),
        (None, "2026-01-01", "to"),
    ],
)
def test_what_is_no_period_is_refused_by_field(since: str | None, until: str | None, field: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        period(since, until)
    assert [error.field for error in caught.value.errors] == [field]
