"""Shared definitions for the tables: the naming convention of constraints, and recurring kinds of columns."""

from collections.abc import Iterable

from sqlalchemy import Column, DateTime, MetaData, text

NOW = text("now()")

metadata = MetaData(
    naming_convention={
        "pk": "%(table_name)s_pkey",
        "fk": "%(table_name)s_%(column_0_name)s_fkey",
        "ck": "%(table_name)s_%(constraint_name)s_check",
    }
)


def timestamptz(name: str, *, required: bool = False) -> Column[object]:
    """Returns a `timestamptz` column. A required one defaults to the start time of the transaction."""
    default = NOW if required else None
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=default)


def one_of(column: str, allowed: Iterable[str]) -> str:
    """Returns SQL for a check that a column holds only these values."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in allowed)})"
