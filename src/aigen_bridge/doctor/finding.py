"""The result of a check."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Mark(StrEnum):
    """The severity of a finding."""

    OK = "ok"
    """No problem."""
    WARNING = "warning"
    """Requests succeed, but an operator should look at it, or it could not be checked."""
    WRONG = "wrong"
    """Requests fail or wait because of it."""


class NotLookedAtError(Exception):
    """A check could not run because its settings are missing. The findings about settings name them."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the report: the subject, the observation, and the advice unless there is no problem."""

    mark: Mark
    about: str
    found: str
    advice: str = ""


def ok(about: str, found: str) -> Finding:
    """Returns a finding without a problem."""
    return Finding(Mark.OK, about, found)


def warning(about: str, found: str, advice: str) -> Finding:
    """Returns a finding that an operator should look at."""
    return Finding(Mark.WARNING, about, found, advice)


def wrong(about: str, found: str, advice: str) -> Finding:
    """Returns a finding that an operator must act on."""
    return Finding(Mark.WRONG, about, found, advice)


def spoken(time: timedelta) -> str:
    """Formats a duration in the largest unit that fits: `850 ms`, `12 s`, `5 min`, `3 h`, `2 d`."""
    seconds = abs(time.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """Formats a number of bytes in the largest unit that fits: `512 B`, `8.1 MiB`."""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while amount >= 1024 and unit != "TiB":  # noqa: PLR2004 - the factor between the units
        amount, unit = amount / 1024, next(units)
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
