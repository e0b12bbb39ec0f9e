"""Reads what PostgreSQL can hold and Python cannot, so that one such row does not fail a statement that reads many.

A timestamp before the year 1, after the year 9999 or infinite becomes `FAR_PAST` or `FAR_FUTURE`. JSON that Python
cannot parse (nested too deep, too many digits) becomes `ILLEGIBLE`, which no domain object takes.
"""

import json
from datetime import UTC, datetime
from typing import Any, Final

from psycopg import AsyncConnection, DataError, adapters
from psycopg.abc import AdaptContext, Buffer
from psycopg.adapt import Loader
from psycopg.pq import Format
from sqlalchemy import Row

FAR_PAST, FAR_FUTURE = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)
ILLEGIBLE: Final = object()

AGE_MAX = "interval '100 years'"
"""The oldest age that is computed: that of minus infinity fits no timedelta, and is an error before PostgreSQL 17."""

_TIMESTAMP = adapters.types["timestamptz"].oid
_Strict = adapters.get_loader(_TIMESTAMP, Format.TEXT)


class _Timestamps(Loader):
    """The usual loader, with the nearest timestamp that Python has for one that it has not."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        assert _Strict  # noqa: S101 - psycopg brings it
        self._load = _Strict(oid, context).load

    def load(self, data: Buffer) -> Any:
        """Parse PostgreSQL's text form."""
        try:
            return self._load(data)
        except DataError:
            written = bytes(data)
            return FAR_PAST if written.startswith(b"-") or written.endswith(b"BC") else FAR_FUTURE


def since(at: str) -> str:
    """SQL for how long ago `at` was, at most `AGE_MAX`, and not before now. It must not be NULL."""
    return f"now() - greatest(least({at}, now()), now() - {AGE_MAX})"


def register(connection: AsyncConnection[Any]) -> None:
    """Registers the loader for timestamps on this connection."""
    connection.adapters.register_loader(_TIMESTAMP, _Timestamps)


def parse_json(text: str | bytes) -> Any:
    """The value, or `ILLEGIBLE`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ILLEGIBLE


def out_of_range(row: Row[Any]) -> list[str]:
    """The columns of a row whose timestamp Python does not have."""
    return [
        name
        for name, value in zip(row._fields, row, strict=True)
        if isinstance(value, datetime) and value in (FAR_PAST, FAR_FUTURE)
    ]
