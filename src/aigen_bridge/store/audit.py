"""Reads what operators did."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select

from aigen_bridge.store.database import Database
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.schema import operations


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationFilter:
    """Selects operator actions.

    `q` is a part of the reason. `before` is the id of the last one on the previous page. With `odoo`, only what
    concerns this Odoo.
    """

    client: str | None = None
    action: str | None = None
    target: str | None = None
    request_id: UUID | None = None
    since: datetime | None = None
    until: datetime | None = None
    q: str | None = None
    before: int | None = None
    odoo: str | None = None


@dataclass(frozen=True, slots=True)
class Operation:
    """What an operator did. `before` and `after` are the fields that changed; None in rows older than these columns.

    `odoo` is None if it concerns no single Odoo. `note` is the reason.
    """

    id: int
    at: datetime
    client: str
    action: str
    target: str
    request_id: UUID | None
    odoo: str | None
    note: str | None
    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


class Audit:
    """What operators did, in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: OperationFilter, limit: int) -> list[Operation]:
        """Returns at most `limit` actions, newest first."""
        async with self._database.reading() as connection:
            rows = await connection.execute(_page(wanted).limit(limit))
            return [from_row(Operation, row) for row in rows]


def _page(wanted: OperationFilter) -> Select[Any]:
    columns = operations.c
    query = select(operations).order_by(columns.id.desc())
    for name in ("client", "action", "target", "request_id", "odoo"):
        if (value := getattr(wanted, name)) is not None:
            query = query.where(columns[name] == value)
    if wanted.since:
        query = query.where(columns.at >= wanted.since)
    if wanted.until:
        query = query.where(columns.at < wanted.until)
    if wanted.q:
        query = query.where(func.strpos(func.lower(columns.note), func.lower(wanted.q)) > 0)
    return query.where(columns.id < wanted.before) if wanted.before is not None else query
