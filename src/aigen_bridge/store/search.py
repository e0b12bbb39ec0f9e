"""Searches requests, newest first. Frequent and rare terms are found in different ways.

First the newest requests are read in order: whatever is frequent fills a page soon. What is too rare for that is found
by its terms: delivered requests by the index of terms, one month after another, because what was frequent long ago may
be in most of them; the others, which are few, by their status. Inner queries with OFFSET are planned on their own.
Otherwise a wide range of time would look like a reason to read all requests.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.request import FINAL, Status
from aigen_bridge.store.columns import one_of
from aigen_bridge.store.database import Database
from aigen_bridge.store.requests import Page
from aigen_bridge.store.rows import COLUMNS, if_readable
from aigen_bridge.store.schema import DELIVERED, MONTH_TERM, PROMPT_WORDS, SEARCH_TERMS, WORDS

SCANNED, SCANNED_NEXT = 1_000, 5_000
"""The newest requests that are read in order, and the next ones, which are read if the page is likely to be filled."""
LIKELY = (SCANNED + SCANNED_NEXT) // SCANNED

Place = tuple[datetime, UUID]

_HEX = re.compile("[0-9a-f]{1,32}")

_QUERY = text(f"SELECT CAST(plainto_tsquery({WORDS.format(text='CAST(:q AS text)')}) AS text)")


def _is(expression: str, name: str) -> str:
    return f"(CAST(:{name} AS text) IS NULL OR {expression} = CAST(:{name} AS text))"


_FILTER = f"""
    (CAST(:statuses AS text[]) IS NULL OR r.status = ANY (CAST(:statuses AS text[])))
    AND {_is("r.odoo", "odoo")} AND {_is("r.error_code", "error_code")}
    AND {_is("r.event ->> 'userId'", "user_id")} AND {_is("r.event ->> 'modelId'", "model_id")}
    AND {_is("r.event ->> 'campaignId'", "campaign_id")}
"""
_HAS_ID = "r.request_id BETWEEN CAST(:low AS uuid) AND CAST(:high AS uuid)"
_HAS_CORRELATION = "r.correlation_id = CAST(:correlation_id AS uuid)"
_MATCHES = f"""
    {_FILTER} AND (
        CAST(:is_any AS boolean) OR {_HAS_ID} OR {_HAS_CORRELATION} OR {PROMPT_WORDS} @@ CAST(:words AS tsquery)
    )
"""
_WITHIN = """
    r.created_at >= CAST(:since AS timestamptz)
    AND (r.created_at, r.request_id) < (CAST(:at AS timestamptz), CAST(:id AS uuid))
"""
_NEWEST_FIRST = "ORDER BY r.created_at DESC, r.request_id DESC"
_OPEN = one_of("r.status", [status for status in Status if status not in FINAL])

_SCAN = f"""
    WITH newest AS MATERIALIZED (
        SELECT r.request_id, r.created_at, r.correlation_id, r.event, r.status, r.error_code, r.odoo
        FROM requests AS r WHERE {_WITHIN} {_NEWEST_FIRST} LIMIT {{scanned}}
    )
    (SELECT r.created_at, r.request_id, false AS is_match FROM newest AS r {_NEWEST_FIRST} OFFSET {{scanned}} - 1)
    UNION ALL
    (SELECT r.created_at, r.request_id, true FROM newest AS r WHERE {_MATCHES} {_NEWEST_FIRST} LIMIT :limit)
"""  # noqa: S608 - constants of this package
_NEWEST, _NEXT = (text(_SCAN.format(scanned=scanned)) for scanned in (SCANNED, SCANNED_NEXT))

_MONTH = "date_trunc('month', r.created_at, 'UTC')"
_OF_MONTH = f"CAST(quote_literal({MONTH_TERM.format(at='months.month')}) AS tsquery)"

_BY_TERMS = text(f"""
    WITH RECURSIVE months AS (
        (SELECT {_MONTH} AS month FROM requests AS r
            WHERE {_WITHIN} AND CAST(:terms AS text) IS NOT NULL {_NEWEST_FIRST} LIMIT 1)
        UNION ALL
        SELECT (SELECT {_MONTH} FROM requests AS r
            WHERE r.created_at < months.month AND r.created_at >= CAST(:since AS timestamptz) {_NEWEST_FIRST} LIMIT 1)
        FROM months WHERE months.month IS NOT NULL
    )
    SELECT r.created_at, r.request_id FROM (
        (SELECT of_month.created_at, of_month.request_id FROM months CROSS JOIN LATERAL (
            SELECT r.created_at, r.request_id FROM (
                SELECT r.created_at, r.request_id FROM requests AS r
                WHERE {DELIVERED} AND {SEARCH_TERMS} @@ (CAST(:terms AS tsquery) && {_OF_MONTH}) OFFSET 0
            ) AS r WHERE {_WITHIN} {_NEWEST_FIRST} LIMIT :limit
        ) AS of_month WHERE months.month IS NOT NULL LIMIT :limit)
        UNION ALL
        (SELECT r.created_at, r.request_id FROM requests AS r
            WHERE {DELIVERED} AND {_HAS_CORRELATION} AND {_FILTER} OFFSET 0)
        UNION ALL
        (SELECT r.created_at, r.request_id FROM requests AS r WHERE {_HAS_ID} AND {_FILTER} OFFSET 0)
        UNION ALL
        (SELECT r.created_at, r.request_id FROM requests AS r
            WHERE {_OPEN} AND delivered_at IS NULL AND {_MATCHES} OFFSET 0)
        UNION ALL
        (SELECT r.created_at, r.request_id FROM requests AS r
            WHERE completed_at IS NOT NULL AND delivered_at IS NULL AND {_MATCHES} OFFSET 0)
    ) AS r WHERE {_WITHIN} {_NEWEST_FIRST} LIMIT 2 * CAST(:limit AS int)
""")  # noqa: S608 - constants of this package
"""A request may be found twice: by a word and by its id."""

# With less memory, PostgreSQL would remember pages instead of rows, and compute the terms of each row on them again.
_REMEMBER_EACH_ROW = text("SET LOCAL work_mem = '64MB'")

_READ = text(f"SELECT {COLUMNS} FROM requests AS r WHERE r.request_id = ANY (CAST(:request_id AS uuid[]))")  # noqa: S608 - columns of the schema


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestSearch:
    """Selects requests that have all of these, of every Odoo if `odoo` is None.

    `q` is the beginning of an id, a whole correlation id, or words of the prompt in any order. A text without letters
    and digits matches nothing. With `ids_only`, words match nothing. `before` is the last request on the previous page:
    its `created_at` and id.
    """

    q: str | None = None
    ids_only: bool = False
    statuses: tuple[Status, ...] = ()
    error_code: str | None = None
    user_id: UUID | None = None
    model_id: UUID | None = None
    campaign_id: UUID | None = None
    odoo: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None
    before: Place | None = None


class Search:
    """Searches requests in PostgreSQL. Raises `StoreUnavailableError` if the database does not answer."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: RequestSearch, limit: int) -> Page:
        """Returns at most `limit` requests, newest first, without those that cannot be read.

        `limit` must be less than `SCANNED`.
        """
        async with self._database.transaction() as connection:
            places = await _places(connection, wanted, limit + 1)
            shown = [request_id for _, request_id in places[:limit]]
            found = {row.request_id: row for row in await connection.execute(_READ, {"request_id": shown})}
        rows = (found[request_id] for request_id in shown if request_id in found)
        items = [request for row in rows if (request := if_readable(row))]
        return Page(items, places[limit - 1] if len(places) > limit else None)


async def _places(connection: AsyncConnection, wanted: RequestSearch, limit: int) -> list[Place]:
    """Returns the places of the first `limit` requests."""
    q = storable(wanted.q or "").strip()
    words = await connection.scalar(_QUERY, {"q": q}) if q else None
    parameters = _parameters(wanted, q, words or None) | {"limit": limit}
    found, end = await _scan(connection, _NEWEST, parameters)
    if end and limit > len(found) >= limit / LIKELY:
        next_ones, end = await _scan(connection, _NEXT, parameters | _place(end))
        found += next_ones
    if end and len(found) < limit:
        await connection.execute(_REMEMBER_EACH_ROW)
        rows = await connection.execute(_BY_TERMS, parameters | _place(end))
        found += dict.fromkeys((row.created_at, row.request_id) for row in rows)
    return found[:limit]


async def _scan(
    connection: AsyncConnection, statement: TextClause, parameters: Mapping[str, Any]
) -> tuple[list[Place], Place | None]:
    """Returns the places of the requests that match, and where the scan ended; None if there are no more requests."""
    rows = (await connection.execute(statement, parameters)).all()
    ends = [(row.created_at, row.request_id) for row in rows if not row.is_match]
    return [(row.created_at, row.request_id) for row in rows if row.is_match], ends[0] if ends else None


def _parameters(wanted: RequestSearch, q: str, words: str | None) -> dict[str, Any]:
    low, high = id_range(q) or (None, None)
    whole_id = low if low == high else None
    words = None if whole_id or wanted.ids_only else words
    return {
        **_named(wanted),
        **_end(wanted),
        "statuses": [status.value for status in wanted.statuses] or None,
        "since": wanted.created_after.isoformat() if wanted.created_after else "-infinity",
        "is_any": not q,
        "low": low,
        "high": high,
        "correlation_id": whole_id,
        "words": words,
        "terms": _terms(wanted, words) if words or not q else None,
    }


def _named(wanted: RequestSearch) -> dict[str, str | None]:
    """Returns the parameters that a request must have exactly."""
    ids = {"user_id": wanted.user_id, "model_id": wanted.model_id, "campaign_id": wanted.campaign_id}
    known = {name: str(value) if value else None for name, value in ids.items()}
    return known | {"odoo": wanted.odoo, "error_code": wanted.error_code}


def _terms(wanted: RequestSearch, words: str | None) -> str | None:
    """Returns the terms in the form of a tsquery; None if there are none."""
    named = {name.removesuffix("_id").removesuffix("_code"): value for name, value in _named(wanted).items() if value}
    terms = [_quoted(f"{name}:{value}") for name, value in named.items()]
    if wanted.statuses:
        terms.append(f"({' | '.join(_quoted(f'status:{status}') for status in wanted.statuses)})")
    return " & ".join([words, *terms] if words else terms) or None


def _quoted(term: str) -> str:
    """Returns a term as tsquery reads it."""
    return "'" + term.replace("\\", "\\\\").replace("'", "''") + "'"


def _end(wanted: RequestSearch) -> dict[str, Any]:
    """Returns the place before which all results are."""
    ends = [wanted.before] if wanted.before else []
    ends += [(wanted.created_before, UUID(int=0))] if wanted.created_before else []
    if not ends:
        return {"at": "infinity", "id": UUID(int=2**128 - 1)}
    return _place(min(ends))


def _place(place: Place) -> dict[str, Any]:
    return {"at": place[0].isoformat(), "id": place[1]}


def id_range(q: str) -> tuple[UUID, UUID] | None:
    """Returns the first and the last id that begin with this text, with or without hyphens. None if no id does."""
    digits = q.replace("-", "").lower()
    if not _HEX.fullmatch(digits) or q.lower().removesuffix("-") not in {digits, _hyphenated(digits)}:
        return None
    return UUID(digits.ljust(32, "0")), UUID(digits.ljust(32, "f"))


def _hyphenated(digits: str) -> str:
    groups = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return "-".join(group for group in groups if group)
