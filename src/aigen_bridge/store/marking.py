"""Completed images without a mark of the bridge: lists them, and enqueues marking them."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import text

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.provenance import Mark
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import record
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.wakeup import CHANNEL

EXAMINED = 2000
"""Requests that one statement looks at: most of them may have a mark, or no image."""

_IS_UNMARKED = f"""
    r.status = 'completed' AND r.image_purged_at IS NULL AND r.provenance ->> 'marked' IS NULL
    AND NOT (CAST(:leaves_signed AS boolean) AND coalesce(r.provenance -> 'found', '[]') ? '{Mark.C2PA.value}')
    AND NOT (
        CAST(:leaves_found AS boolean) AND coalesce(r.provenance -> 'found', '[]') <> '[]'
        AND coalesce(r.provenance -> 'valid', 'null') <> 'false'
    )
"""

_UNMARKED = text(f"""
    WITH examined AS (
        SELECT request_id, created_at FROM requests
        WHERE created_at >= :since AND created_at < :until AND (created_at, request_id) > (:after_at, :after_id)
        ORDER BY created_at, request_id LIMIT {EXAMINED}
    )
    SELECT e.request_id, e.created_at, r.odoo, r.completed_at, r.event ->> 'userId' AS user_id,
        r.provenance IS NOT NULL AS is_examined, coalesce(r.provenance -> 'valid', 'null') = 'false' AS is_invalid,
        {_IS_UNMARKED} AS is_unmarked
    FROM examined AS e JOIN requests AS r USING (request_id)
    ORDER BY e.created_at, e.request_id
""")  # noqa: S608 - constants of this module

_ENQUEUE = text(f"""
    WITH locked AS (
        SELECT r.request_id FROM requests AS r
        WHERE r.request_id = ANY (CAST(:request_id AS uuid[])) AND {_IS_UNMARKED}
        ORDER BY r.request_id FOR NO KEY UPDATE OF r
    ), enqueued AS (
        INSERT INTO outbox (request_id, step, created_at, due_at)
        SELECT w.request_id, 'mark', at, at
        FROM unnest(CAST(:request_id AS uuid[])) WITH ORDINALITY AS w (request_id, number)
            JOIN locked USING (request_id),
            CAST(now() + make_interval(secs => :spacing * (:before + w.number - 1)) AS timestamptz) AS due (at)
        WHERE NOT EXISTS (
            SELECT FROM outbox AS o
            WHERE o.request_id = w.request_id AND o.step = 'mark' AND o.state IN ('pending', 'dead')
        )
        ON CONFLICT DO NOTHING
        RETURNING request_id
    )
    SELECT count(*), pg_notify('{CHANNEL}', 'mark') FROM enqueued
""")  # noqa: S608 - constants of this package


@dataclass(frozen=True, slots=True)
class Unmarked:
    """A completed image that the bridge has not marked.

    `is_examined`: the bridge looked for marks that it came with. `is_invalid`: it came with a C2PA manifest that is not
    valid.
    """

    request_id: UUID
    odoo: str
    user_id: str | None
    created_at: datetime
    completed_at: datetime
    is_examined: bool
    is_invalid: bool


class Marking:
    """The images of requests that were accepted in a period."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def unmarked(
        self, since: datetime, until: datetime, *, leaves_signed: bool = False, leaves_found: bool = False
    ) -> AsyncIterator[list[Unmarked]]:
        """Yields the images that the bridge has not marked, oldest first, without those that were purged.

        Leaves out those that came with a C2PA manifest (`leaves_signed`), or with any mark, unless it is a manifest
        that is not valid (`leaves_found`).
        """
        wanted = {"since": since, "until": until, "leaves_signed": leaves_signed, "leaves_found": leaves_found}
        after: Mapping[str, Any] = {"after_at": since, "after_id": UUID(int=0)}
        while True:
            async with self._database.reading() as connection:
                rows = (await connection.execute(_UNMARKED, {**wanted, **after})).all()
            yield [from_row(Unmarked, row) for row in rows if row.is_unmarked]
            if len(rows) < EXAMINED:
                return
            after = {"after_at": rows[-1].created_at, "after_id": rows[-1].request_id}

    async def enqueue(self, images: list[Unmarked], *, before: int, spacing: timedelta, leaves_signed: bool) -> int:
        """Enqueues marking these images, the first due after `before` times `spacing`. Returns how many it enqueued.

        Passes over images that are marked or purged by now, or whose marking is pending or dead.
        """
        parameters = {
            "request_id": [image.request_id for image in images],
            "before": before,
            "spacing": spacing.total_seconds(),
            "leaves_signed": leaves_signed,
            "leaves_found": False,
        }
        async with self._database.transaction() as connection:
            return int(await connection.scalar(_ENQUEUE, parameters) or 0)

    async def record(self, action: OperatorAction, period: Mapping[str, str]) -> None:
        """Records that an operator enqueued the marking of images, and of which period."""
        async with self._database.transaction() as connection:
            await record(connection, action, "mark", "marking", None, after=period)
