"""Reads dead letters as one list: dead outbox entries and callbacks in quarantine."""

from typing import Any
from uuid import UUID

from sqlalchemy import Select, Subquery, case, func, select, tuple_, union_all

from aigen_bridge.domain.dead_letter import CALLBACK_KIND, N8N_KIND, N8N_REPORT, DeadLetter, DeadLetterFilter
from aigen_bridge.store.database import Database
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.schema import outbox, quarantine, requests

OF_REQUEST_MAX = 50
"""The most dead letters of one request that are listed."""


class DeadLetters:
    """The dead letters in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: DeadLetterFilter, limit: int) -> list[DeadLetter]:
        """Returns at most `limit` open dead letters, newest first."""
        async with self._database.reading() as connection:
            rows = await connection.execute(_page(wanted, limit))
            return [from_row(DeadLetter, row) for row in rows]

    async def get(self, name: str, odoo: str | None = None) -> DeadLetter | None:
        """Returns the open dead letter with this id, or None. With `odoo`, only that of a request of this Odoo."""
        query, letters = _letters(odoo)
        async with self._database.reading() as connection:
            row = (await connection.execute(query.where(letters.c.id == name))).one_or_none()
        return from_row(DeadLetter, row) if row else None

    async def of_request(self, request_id: UUID) -> list[DeadLetter]:
        """Returns the open dead letters of a request, newest first."""
        query, letters = _letters(None)
        query = query.where(letters.c.request_id == request_id).order_by(letters.c.at.desc()).limit(OF_REQUEST_MAX)
        async with self._database.reading() as connection:
            return [from_row(DeadLetter, row) for row in await connection.execute(query)]


def _letters(odoo: str | None) -> tuple[Select[Any], Subquery]:
    """Returns the query for the open dead letters, with the Odoo of each, and their columns without it."""
    both = union_all(_entries(), _callbacks()).subquery()
    joined = both.outerjoin(requests, requests.c.request_id == both.c.request_id)
    query = select(both, requests.c.odoo).select_from(joined)
    return (query.where(requests.c.odoo == odoo) if odoo else query), both


def _page(wanted: DeadLetterFilter, limit: int) -> Select[Any]:
    query, both = _letters(wanted.odoo)
    query = query.order_by(both.c.at.desc(), both.c.id.desc()).limit(limit)
    if wanted.kind:
        query = query.where(both.c.kind == wanted.kind)
    if wanted.since:
        query = query.where(both.c.at >= wanted.since)
    if wanted.until:
        query = query.where(both.c.at < wanted.until)
    if wanted.error_code:
        query = query.where(both.c.error_code == wanted.error_code)
    return query.where(tuple_(both.c.at, both.c.id) < wanted.before) if wanted.before else query


def _entries() -> Select[Any]:
    columns = outbox.c
    return select(
        func.concat("entry-", columns.id).label("id"),
        func.split_part(columns.step, ":", 1).label("kind"),
        columns.request_id,
        columns.error_code,
        columns.error_detail.label("detail"),
        columns.attempts.label("times"),
        columns.finished_at.label("at"),
    ).where(columns.state == "dead")


def _callbacks() -> Select[Any]:
    columns = quarantine.c
    return select(
        func.concat("callback-", columns.id).label("id"),
        case((columns.version == N8N_REPORT, N8N_KIND), else_=CALLBACK_KIND).label("kind"),
        columns.request_id,
        columns.error_code,
        columns.error_detail.label("detail"),
        columns.times_seen.label("times"),
        columns.created_at.label("at"),
    ).where(columns.state == "open")
