"""Parses times as people write them."""

import re
from datetime import UTC, datetime, timedelta, tzinfo

_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])\Z", re.ASCII)
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


def parse_instant(text: str, zone: tzinfo | None = None) -> datetime:
    """Parses `90s`, `10m`, `1.5h`, `3d`, `2w` (ago), or an ISO 8601 date or time. Returns UTC.

    A time without a zone is in `zone`, by default that of this machine. Raises `ValueError`, and `OverflowError` for a
    time outside the years 1 to 9999.
    """
    if ago := _AGO.match(text.strip().lower()):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    at = datetime.fromisoformat(text.strip().upper())
    return (at if at.tzinfo else at.replace(tzinfo=zone) if zone else at.astimezone()).astimezone(UTC)
