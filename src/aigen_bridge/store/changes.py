"""The one place where a request's state is written, with everything that the move causes.

Moves, their record, the end of outbox entries that the move makes pointless, the new entry that it owes, and the
incident when it is a failure of ours: all in the caller's transaction. The guard is in the statement: a request that
is no longer where the move expects it stays as it is.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.request import Change, FailedBy, Status
from aigen_bridge.store import incidents
from aigen_bridge.store.database import after_commit
from aigen_bridge.store.schema import LIVE
from aigen_bridge.store.wakeup import CHANNEL

_MOVE = text(f"""
    WITH wanted AS (
        SELECT * FROM json_to_recordset(CAST(:wanted AS json)) AS wanted (
            request_id uuid, before text[], after text, version int, failed_by text, error_code text,
            error_message text, image jsonb, awaited jsonb, note text, step text, delay float8,
            url_expires_at timestamptz
        )
    ), locked AS (  -- in one order for everybody, so that nobody waits for each other
        SELECT request_id FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))
        ORDER BY request_id FOR NO KEY UPDATE
    ), moved AS (
        UPDATE requests AS r SET
            status = w.after,
            version = r.version + 1,
            updated_at = now(),
            failed_by = w.failed_by,
            error_code = w.error_code,
            error_message = w.error_message,
            image = coalesce(w.image, r.image),
            awaited = CASE WHEN w.after <> 'completed' THEN coalesce(w.awaited, r.awaited) END,
            dispatched_at = CASE w.after WHEN 'dispatched' THEN now() ELSE r.dispatched_at END,
            completed_at = CASE WHEN w.after IN ('completed', 'failed', 'cancelled') THEN now() END,
            callback_deadline_at = CASE w.after
                WHEN 'dispatched' THEN now() + make_interval(secs => :callback_deadline) END,
            delivered_at = NULL
        FROM wanted AS w JOIN locked USING (request_id)
        WHERE r.request_id = w.request_id
            AND r.request_id = ANY (CAST(:request_id AS uuid[]))  -- so that it is an index that finds it
            AND r.status = ANY (w.before)
            AND (w.version IS NULL OR r.version = w.version)
            AND (r.status <> 'failed' OR r.failed_by = 'bridge')
        RETURNING r.request_id, r.version, r.status, w.note, w.step, w.delay, w.url_expires_at
    ), recorded AS (
        INSERT INTO request_changes (request_id, version, status, note)
        SELECT request_id, version, status, note FROM moved
    ), kept AS (
        INSERT INTO images (request_id, content)
        SELECT request_id, CAST(:content AS bytea) FROM moved WHERE CAST(:content AS bytea) IS NOT NULL
    ), ended AS (
        UPDATE outbox AS o SET
            state = CASE m.status WHEN 'cancelled' THEN 'cancelled' ELSE 'superseded' END,
            finished_at = now(),
            lease_owner = NULL
        FROM moved AS m
        WHERE o.request_id = m.request_id
            AND o.request_id = ANY (CAST(:request_id AS uuid[]))
            AND (o.state = 'pending' OR (o.state = 'dead' AND m.status <> 'failed'))  -- a dead letter that is moot
        RETURNING o.id
    ), owed AS (
        INSERT INTO outbox (request_id, step, created_at, due_at, give_up_at)
        SELECT request_id, step, at, at, CASE step WHEN 'fetch' THEN
            greatest(at, least(
                coalesce(url_expires_at, at + make_interval(secs => :url_lifetime)), at + interval '1 hour')) END
        FROM moved, CAST(now() + make_interval(secs => delay) AS timestamptz) AS due (at)
        WHERE step IS NOT NULL
            AND (SELECT count(*) FROM ended) >= 0  -- only then: one entry of a step is pending at a time
        RETURNING step
    ), called AS (
        SELECT pg_notify('{CHANNEL}', step) FROM (SELECT DISTINCT step FROM owed) AS steps
    )
    SELECT request_id, version, (SELECT count(*) FROM called) AS called FROM moved
""")  # noqa: S608 - a constant of ours

_LOCK = text("""
    SELECT FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))
    ORDER BY request_id FOR NO KEY UPDATE
""")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """How long a dispatched request waits for its callback, and a URL lives that does not say how long.

    `digest`: alerts of the same cause are folded for so long.
    """

    callback: timedelta
    image_url: timedelta
    digest: timedelta = timedelta(minutes=15)


async def lock(connection: AsyncConnection, request_ids: Sequence[UUID]) -> None:
    """Hold these requests until the end of the transaction."""
    await connection.execute(_LOCK, {"request_id": list(request_ids)})


async def make(
    connection: AsyncConnection, changes: Sequence[Change], deadlines: Deadlines, content: bytes | None = None
) -> dict[UUID, int]:
    """Make the moves that are still possible; returns the new version of each request that moved.

    `content` is the image of the only one.
    """
    moved = await move(connection, changes, deadlines, content)
    ours = [_failure(c) for c in changes if c.failed_by is FailedBy.BRIDGE and c.request_id in moved]
    await incidents.note(connection, ours, deadlines.digest)
    return moved


async def move(
    connection: AsyncConnection, changes: Sequence[Change], deadlines: Deadlines, content: bytes | None = None
) -> dict[UUID, int]:
    """As `make`, but without the incident of a failure of ours.

    One statement, which may be a transaction by itself when each change names the version that it read. What others
    owed while it waited for them it does not see: it finds another version then, or violates `is_owed_twice`.
    """
    if not changes:
        return {}
    fixed = {
        "request_id": [change.request_id for change in changes],
        "callback_deadline": deadlines.callback.total_seconds(),
        "url_lifetime": deadlines.image_url.total_seconds(),
    }
    rows = await connection.execute(_MOVE, fixed | {"content": content, "wanted": _wanted(changes)})
    moved = {row.request_id: row.version for row in rows}
    after_commit(connection, partial(_count, [c.after for c in changes if c.request_id in moved]))
    return moved


def is_owed_twice(error: IntegrityError) -> bool:
    """Whether a move failed because the step that it owes is owed already: nothing is written, it may look again."""
    return isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == LIVE


def _count(states: Sequence[Status]) -> None:
    for state in states:
        metrics.MOVES.labels(state.value).inc()


def _failure(change: Change) -> Occurrence:
    return Occurrence(Cause(str(change.error_code)), change.error_message or "", change.request_id)


def _wanted(changes: Sequence[Change]) -> str:
    """As one JSON text: thirteen arrays cost more to write (figure 2: 0.48 instead of 0.45)."""
    return json.dumps([_row(change) for change in changes], default=str)


def _row(change: Change) -> dict[str, Any]:
    return {
        "request_id": change.request_id,
        "before": list(change.before),
        "after": change.after,
        "version": change.version,
        "failed_by": change.failed_by,
        "error_code": change.error_code,
        "error_message": change.error_message,
        "image": asdict(change.image) if change.image else None,
        "awaited": asdict(change.awaited) if change.awaited else None,
        "note": change.note,
        "step": change.obligation,
        "delay": change.delay.total_seconds(),
        "url_expires_at": change.awaited.expires_at if change.awaited else None,
    }
