"""Parses and formats times and durations of the command line."""

from datetime import datetime, timedelta

import typer

from aigen_bridge.contracts.times import parse_instant

FORMS = "30m, 2h, 3d or 2w (ago), or an ISO 8601 date or time (local without a zone)"


def span(length: timedelta) -> str:
    """Formats a duration in the largest unit that divides it: `30 days`, `90 seconds`."""
    seconds = length.total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return _counted(seconds / size, unit)
    return _counted(seconds, "second")


def _counted(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def parse_time(text: str) -> datetime:
    """Parses `90s`, `10m`, `1.5h`, `3d`, `2w` (ago), or an ISO 8601 date or time, local without a zone. Returns UTC."""
    try:
        return parse_instant(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is not a time. Write {FORMS}.") from None
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is before the year 1 or after the year 9999") from None


def check_period(since: datetime | None, until: datetime | None) -> None:
    """Refuses a period that is empty: it would look as if nothing had happened."""
    if since and until and since >= until:
        raise typer.BadParameter("--since must be earlier than --until")
