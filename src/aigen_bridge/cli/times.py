"""Parses and formats times and durations of the command line."""

import re
from datetime import UTC, datetime, timedelta

import typer

_AGO = re.compile(r"(\d+)\s*([smhd])\Z")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def span(length: timedelta) -> str:
    """Formats a duration in the largest unit that divides it: `30 days`, `90 seconds`."""
    seconds = length.total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds % size == 0:
            return _counted(seconds / size, unit)
    return _counted(seconds, "second")


def _counted(number: float, unit: str) -> str:
    return f"{number:g} {unit}{'' if number == 1 else 's'}"


def parse_time(text: str | None) -> datetime | None:
    """Parses `90s`, `10m`, `2h`, `3d` (ago), or an ISO 8601 time. Returns UTC."""
    if text is None:
        return None
    try:
        return _parse(text.strip())
    except ValueError:
        raise typer.BadParameter(f"{text!r} is neither like 2h nor an ISO 8601 time") from None
    except OverflowError:
        raise typer.BadParameter(f"{text!r} is before the year 1 or after the year 9999") from None


def _parse(text: str) -> datetime:
    if ago := _AGO.match(text):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    at = datetime.fromisoformat(text)
    return (at if at.tzinfo else at.astimezone()).astimezone(UTC)
