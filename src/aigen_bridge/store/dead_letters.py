"""Reads dead letters as one list: dead outbox entries and callbacks in quarantine.

Both have an index by age. Each is read in that order up to the limit before they are merged, so that a page costs the
same however many there are. Constants stand in the statements as they are: their plans do not depend on parameters.
"""

from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import ColumnElement, Select, case, func, literal, select, text, true, tuple_, union_all
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import (
    CALLBACK_KIND,
    N8N_KIND,
    N8N_REPORT,
    DeadLetter,
    DeadLetterCause,
    DeadLetterFilter,
    DeadLetterName,
    EarlierAction,
)
from aigen_bridge.store.database import Database
from aigen_bridge.store.fresh import Fresh
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.schema import outbox, quarantine, requests

FRESH_SECONDS = 2.0
"""The time for which the causes are shared between pages."""
CAUSES_MAX = 100
"""The most causes that are listed, those with the most letters."""

# A replay or completion of the request closes its dead letters without naming them.
_HANDLED = text("""
    WITH letter AS (
        SELECT request_id, finished_at AS at FROM outbox WHERE :kind = 'entry' AND id = :number
        UNION ALL
        SELECT request_id, created_at FROM quarantine WHERE :kind = 'callback' AND id = :number
    )
    SELECT client AS by, action, at FROM (
        SELECT client, action, at, request_id FROM operations WHERE target = :name
        UNION ALL
        SELECT o.client, o.action, o.at, o.request_id FROM operations AS o
        JOIN letter AS l ON l.request_id = o.request_id AND o.at >= l.at
        WHERE o.target = 'request' AND o.action IN ('replay', 'complete')
    ) AS found
    WHERE CAST(:odoo AS text) IS NULL
        OR EXISTS (SELECT FROM requests AS r WHERE r.request_id = found.request_id AND r.odoo = :odoo)
    ORDER BY at DESC LIMIT 1
""")


class DeadLetters:
    """The dead letters in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._recent: dict[str | None, Fresh[list[DeadLetterCause]]] = {}

    async def page(self, wanted: DeadLetterFilter, limit: int) -> list[DeadLetter]:
        """Returns at most `limit` open dead letters, newest first."""
        return await self._read(_merged(wanted, limit, newest_first=True))

    async def following(
        self, wanted: DeadLetterFilter, after: tuple[Any, str] | None, limit: int
    ) -> Sequence[DeadLetter]:
        """Returns at most `limit` open dead letters, oldest first, which follow the one with this time and id."""
        return await self._read(_merged(wanted, limit, newest_first=False, after=after))

    async def count(self, wanted: DeadLetterFilter) -> int:
        """Returns how many open dead letters match."""
        async with self._database.reading() as connection:
            return await count(connection, wanted)

    async def get(self, name: str, odoo: str | None = None) -> DeadLetter | None:
        """Returns the open dead letter with this id, or None. With `odoo`, only that of a request of this Odoo."""
        parsed = DeadLetterName.parse(name)
        query = _entries() if parsed.kind == "entry" else _callbacks()
        number = outbox.c.id if parsed.kind == "entry" else quarantine.c.id
        found = await self._read(_matching(query, DeadLetterFilter(odoo=odoo)).where(number == parsed.number))
        return found[0] if found else None

    async def of_request(self, request_id: UUID) -> list[DeadLetter]:
        """Returns the open dead letters of a request, newest first."""
        found = await self._read(_entries().where(outbox.c.request_id == request_id))
        found += await self._read(_callbacks().where(quarantine.c.request_id == request_id))
        return sorted(found, key=lambda letter: letter.at, reverse=True)

    async def causes(self, odoo: str | None = None) -> list[DeadLetterCause]:
        """Returns the causes of the open dead letters, the most frequent first. With `odoo`, those of this Odoo.

        Reads all dead letters; 100,000 take about 0.1 s.
        """
        async with self._database.reading() as connection:
            return [from_row(DeadLetterCause, row) for row in await connection.execute(_causes(odoo))]

    async def recent_causes(self, odoo: str | None = None) -> list[DeadLetterCause]:
        """Returns the causes as they were at most `FRESH_SECONDS` ago, for pages that ask again and again."""
        if odoo not in self._recent:
            patience = self._database.timeout.total_seconds()
            self._recent[odoo] = Fresh(partial(self.causes, odoo), fresh=FRESH_SECONDS, patience=patience)
        return await self._recent[odoo].get()

    def forget(self) -> None:
        """Reads the causes again for the next page, because this process has handled dead letters."""
        for recent in self._recent.values():
            recent.forget()

    async def aclose(self) -> None:
        """Cancels running queries."""
        for recent in self._recent.values():
            await recent.close()

    async def handled(self, name: DeadLetterName, odoo: str | None = None) -> EarlierAction | None:
        """Returns the last action on this dead letter, or on its request since, if an operator took one."""
        values = {"name": str(name), "kind": name.kind, "number": name.number, "odoo": odoo}
        async with self._database.reading() as connection:
            row = (await connection.execute(_HANDLED, values)).one_or_none()
        return from_row(EarlierAction, row) if row else None

    async def _read(self, query: Any) -> list[DeadLetter]:
        async with self._database.reading() as connection:
            return [from_row(DeadLetter, row) for row in await connection.execute(query)]


async def count(connection: AsyncConnection, wanted: DeadLetterFilter) -> int:
    """Returns how many open dead letters match."""
    both = union_all(*(_matching(query, wanted) for query in (_entries(), _callbacks()))).subquery()
    return int(await connection.scalar(select(func.count()).select_from(both)) or 0)


def _merged(
    wanted: DeadLetterFilter, limit: int, *, newest_first: bool, after: tuple[Any, str] | None = None
) -> Select[Any]:
    parts = [_matching(query, wanted, after) for query in (_entries(), _callbacks())]
    ends = [_ordered(part, part.selected_columns, limit, newest_first=newest_first).subquery() for part in parts]
    both = union_all(*(select(end) for end in ends)).subquery()
    return _ordered(select(both), both.c, limit, newest_first=newest_first)


def _ordered(query: Select[Any], columns: Any, limit: int, *, newest_first: bool) -> Select[Any]:
    order = (columns.at.desc(), columns.id.desc()) if newest_first else (columns.at, columns.id)
    return query.order_by(*order).limit(_constant(limit))


def _matching(query: Select[Any], wanted: DeadLetterFilter, after: tuple[Any, str] | None = None) -> Select[Any]:
    found = query.selected_columns
    conditions: list[ColumnElement[bool]] = []
    if wanted.odoo:
        conditions.append(found.odoo == wanted.odoo)
    if wanted.kind:
        conditions.append(found.kind == wanted.kind)
    if wanted.since:
        conditions.append(found.at >= wanted.since)
    if wanted.until:
        conditions.append(found.at < wanted.until)
    if wanted.error_code:
        conditions.append(found.error_code == wanted.error_code)
    if wanted.before:
        conditions += [found.at <= wanted.before[0], tuple_(found.at, found.id) < wanted.before]
    if after:
        conditions += [found.at >= after[0], tuple_(found.at, found.id) > after]
    return query.where(*conditions)


def _causes(odoo: str | None) -> Select[Any]:
    wanted = DeadLetterFilter(odoo=odoo)
    letters = union_all(*(_matching(query, wanted) for query in (_entries(), _callbacks()))).subquery()
    cause = letters.c.kind, letters.c.error_code, letters.c.odoo
    ends = func.min(letters.c.at).label("oldest_at"), func.max(letters.c.at).label("newest_at")
    number = func.count().label("count")
    causes = (
        select(*cause, number, *ends).group_by(*cause).order_by(number.desc()).limit(_constant(CAUSES_MAX)).subquery()
    )
    same = union_all(_entries(), _callbacks()).subquery()
    newest = (
        select(same.c.id.label("example"), same.c.detail)
        .where(same.c.at == causes.c.newest_at, same.c.kind == causes.c.kind)
        .where(same.c.error_code == causes.c.error_code, same.c.odoo.is_not_distinct_from(causes.c.odoo))
        .order_by(same.c.id.desc())
        .limit(_constant(1))
        .lateral()
    )
    joined = causes.join(newest, true())
    order = causes.c.count.desc(), causes.c.newest_at.desc()
    return select(causes, newest).select_from(joined).order_by(*order)


def _entries() -> Select[Any]:
    columns = outbox.c
    return (
        select(
            func.concat(_constant("entry-"), columns.id).label("id"),
            func.split_part(columns.step, _constant(":"), _constant(1)).label("kind"),
            columns.request_id,
            columns.error_code,
            columns.error_detail.label("detail"),
            columns.attempts.label("times"),
            columns.finished_at.label("at"),
            requests.c.odoo,
        )
        .outerjoin(requests, requests.c.request_id == columns.request_id)
        .where(columns.state == _constant("dead"))
    )


def _callbacks() -> Select[Any]:
    columns = quarantine.c
    return (
        select(
            func.concat(_constant("callback-"), columns.id).label("id"),
            case((columns.version == _constant(N8N_REPORT), _constant(N8N_KIND)), else_=_constant(CALLBACK_KIND)).label(
                "kind"
            ),
            columns.request_id,
            columns.error_code,
            columns.error_detail.label("detail"),
            columns.times_seen.label("times"),
            columns.created_at.label("at"),
            requests.c.odoo,
        )
        .outerjoin(requests, requests.c.request_id == columns.request_id)
        .where(columns.state == _constant("open"))
    )


def _constant(value: str | int) -> Any:
    return literal(value, literal_execute=True)
