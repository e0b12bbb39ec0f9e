"""Loads values that PostgreSQL can hold and Python cannot. Otherwise one such row fails a query that reads many.

A timestamp before the year 1, after the year 9999 or infinite becomes `FAR_PAST` or `FAR_FUTURE`. JSON that Python
cannot parse (nested too deep, too many digits) becomes `ILLEGIBLE`, which no domain object accepts.
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
"""The highest age that is computed. That of `-infinity` exceeds a timedelta, and is an error before PostgreSQL 17."""

_TIMESTAMP = adapters.types["timestamptz"].oid
_DefaultLoader = adapters.get_loader(_TIMESTAMP, Format.TEXT)


class _Timestamps(Loader):
    """The default loader, except that a timestamp out of Python's range becomes the nearest one in range."""

    def __init__(self, oid: int, context: AdaptContext | None = None) -> None:
        super().__init__(oid, context)
        assert _DefaultLoader  # noqa: S101 - psycopg always has one
        self._load = _DefaultLoader(oid, context).load

    def load(self, data: Buffer) -> Any:
        """Parses PostgreSQL's text format."""
        try:
            return self._load(data)
        except DataError:
            written = bytes(data)
            return FAR_PAST if written.startswith(b"-") or written.endswith(b"BC") else FAR_FUTURE


def since(at: str) -> str:
    """Returns SQL for the age of the timestamp `at`, between 0 and `AGE_MAX`. `at` must not be NULL."""
    return f"now() - greatest(least({at}, now()), now() - {AGE_MAX})"


def register(connection: AsyncConnection[Any]) -> None:
    """Registers the loader for timestamps on this connection."""
    connection.adapters.register_loader(_TIMESTAMP, _Timestamps)


def parse_json(text: str | bytes) -> Any:
    """Returns the value, or `ILLEGIBLE`."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ILLEGIBLE


def out_of_range(row: Row[Any]) -> list[str]:
    """Returns the columns of a row whose timestamp is out of Python's range."""
    return [
        name
        for name, value in zip(row._fields, row, strict=True)
        if isinstance(value, datetime) and value in (FAR_PAST, FAR_FUTURE)
    ]
