"""How tables are described: names of constraints, and kinds of columns that recur."""

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
    """A `timestamptz` column; a required one defaults to the time of the transaction."""
    default = NOW if required else None
    return Column(name, DateTime(timezone=True), nullable=not required, server_default=default)


def one_of(column: str, allowed: Iterable[str]) -> str:
    """A check that only these values are in a column."""
    return f"{column} IN ({', '.join(repr(str(value)) for value in allowed)})"
