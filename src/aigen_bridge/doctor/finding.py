"""What a check comes back with."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Mark(StrEnum):
    """How bad it is."""

    OK = "ok"
    """As it should be."""
    WARNING = "warning"
    """Requests get through, but a person should look at it, or it could not be looked at."""
    WRONG = "wrong"
    """Requests fail or wait because of it."""


class NotLookedAtError(Exception):
    """A check could not look, because settings are missing that it needs; the lines about the settings say which."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what it is about, what was found, and, unless that is well, what to do."""

    mark: Mark
    about: str
    found: str
    advice: str = ""


def ok(about: str, found: str) -> Finding:
    """It is well."""
    return Finding(Mark.OK, about, found)


def warning(about: str, found: str, advice: str) -> Finding:
    """Somebody should look at it."""
    return Finding(Mark.WARNING, about, found, advice)


def wrong(about: str, found: str, advice: str) -> Finding:
    """Somebody must do something."""
    return Finding(Mark.WRONG, about, found, advice)


def spoken(time: timedelta) -> str:
    """A length of time in the largest unit that fits: `850 ms`, `12 s`, `5 min`, `3 h`, `2 d`."""
    seconds = abs(time.total_seconds())
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def size(count: int) -> str:
    """A number of bytes in the largest unit that fits: `512 B`, `8.1 MiB`."""
    amount, units = float(count), iter(("B", "KiB", "MiB", "GiB", "TiB"))
    unit = next(units)
    while amount >= 1024 and unit != "TiB":  # noqa: PLR2004 - it is what the units mean
        amount, unit = amount / 1024, next(units)
    return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
