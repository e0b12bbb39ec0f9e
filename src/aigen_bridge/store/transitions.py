"""Applies transitions. This is the only module that writes the state of a request.

One transaction records the transition, ends the outbox entries that it makes obsolete, enqueues the next step, and
records an incident if the bridge gave up. There are two ways to apply a transition, with a type for each:

- `LockedRequests.apply` takes a `Transition`. An earlier statement has locked the request, so this one sees everything
  that other writers have committed.
- `apply_versioned` takes a `VersionedTransition`, which was decided on a version that was read. Nothing is locked in
  advance. If others have moved the request since, nothing is written.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from psycopg.errors import UniqueViolation
from sqlalchemy import TextClause, text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.domain.delivery import VERSION_MAX, Lift
from aigen_bridge.domain.image import StoredImage
from aigen_bridge.domain.incident import failures_of
from aigen_bridge.domain.provenance import Provenance
from aigen_bridge.domain.request import Transition, VersionedTransition
from aigen_bridge.store import incidents
from aigen_bridge.store.database import after_commit
from aigen_bridge.store.rows import facts_columns
from aigen_bridge.store.schema import ONE_PENDING
from aigen_bridge.store.wakeup import CHANNEL

# A single statement, because a transition without a lock is then one round trip and one commit (ADR 9). It relies on:
# - Snapshot: every part sees the tables as they were when the statement began. Entries that were enqueued while
#   `locked` waited are not visible, and would stay pending. A versioned transition is therefore applied only if the
#   locked row is the one in the snapshot (`xmin`): every writer that enqueues an entry changes the row, by a transition
#   or by `touch`.
# - Order of evaluation: `enqueued` counts the rows of `ended_entries`, which makes PostgreSQL end the old entry of a
#   step before it inserts the new one. Only one entry of a step may be pending.
# - Lock order: requests by id, destinations by name, entries, incidents. Every writer keeps this order, which prevents
#   deadlocks. A writer that locks entries without their requests skips entries that are locked.
# - Facts: without any, the job that is known when a request ends is kept as they are. Odoo must get the same payload in
#   every delivery of a version, and another job may be named later.
# - Cost: stays when the request is sent again. Its version tells which result it belongs to.
# - Deliveries: one that `lift` enqueued asks Odoo about an open request after a restore. It stays when N8N gets the
#   request meanwhile, because only Odoo's answer tells that the picture was made already.
# - Planner: the repeated `= ANY (:request_id)` lets it use the indexes. A join with `requested` alone does not.
_APPLY = text(f"""
    WITH requested AS (
        SELECT * FROM json_to_recordset(CAST(:requested AS json)) AS requested (
            request_id uuid, before text[], after text, version int, failed_by text, error_code text,
            error_message text, image jsonb, awaited jsonb, provenance jsonb, generation_facts jsonb, cost jsonb,
            note text, step text, delay float8, url_expires_at timestamptz
        )
    ), locked AS (
        SELECT request_id, status, xmin AS written_by FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))
        ORDER BY request_id FOR NO KEY UPDATE
    ), moved AS (
        UPDATE requests AS r SET
            status = t.after,
            version = r.version + 1,
            updated_at = now(),
            failed_by = t.failed_by,
            error_code = t.error_code,
            error_message = t.error_message,
            image = coalesce(t.image, r.image),
            awaited = CASE WHEN t.after <> 'completed' AND t.image IS NULL THEN coalesce(t.awaited, r.awaited) END,
            provenance = coalesce(t.provenance, r.provenance),
            generation_facts = CASE
                WHEN t.after IN ('completed', 'failed') THEN coalesce(t.generation_facts, r.generation_facts, (
                    SELECT jsonb_build_object('provider', g.job -> 'provider', 'job_id', g.job -> 'job_id')
                    FROM generations AS g WHERE g.request_id = r.request_id AND g.job IS NOT NULL))
                WHEN t.after <> 'queued' THEN coalesce(t.generation_facts, r.generation_facts) END,
            cost = coalesce(t.cost || jsonb_build_object('version', r.version + 1), r.cost),
            dispatched_at = CASE t.after WHEN 'dispatched' THEN now() ELSE r.dispatched_at END,
            completed_at = CASE WHEN t.after IN ('completed', 'failed', 'cancelled') THEN now() END,
            callback_deadline_at = CASE t.after
                WHEN 'dispatched' THEN now() + make_interval(secs => :callback_deadline) END,
            delivered_at = NULL
        FROM requested AS t JOIN locked USING (request_id)
        WHERE r.request_id = t.request_id
            AND r.request_id = ANY (CAST(:request_id AS uuid[]))
            AND r.status = ANY (t.before)
            AND (t.version IS NULL OR (r.version = t.version AND r.xmin = locked.written_by))
            AND (r.status <> 'failed' OR r.failed_by = 'bridge')
        RETURNING r.request_id, r.version, r.status, r.odoo, t.note, t.step, t.delay, t.url_expires_at,
            r.status IN ('queued', 'dispatched') AND locked.status IN ('queued', 'dispatched') AS keeps_delivery
    ), recorded AS (
        INSERT INTO request_changes (request_id, version, status, note)
        SELECT request_id, version, status, note FROM moved
    ), stored_image AS (
        INSERT INTO images (request_id, content)
        SELECT request_id, CAST(:content AS bytea) FROM moved WHERE CAST(:content AS bytea) IS NOT NULL
    ), ended_entries AS (
        UPDATE outbox AS o SET
            state = CASE m.status WHEN 'cancelled' THEN 'cancelled' ELSE 'superseded' END,
            finished_at = now(),
            lease_owner = NULL
        FROM moved AS m
        WHERE o.request_id = m.request_id
            AND o.request_id = ANY (CAST(:request_id AS uuid[]))
            AND (o.state = 'pending' OR (o.state = 'dead' AND m.status <> 'failed'))
            AND NOT (m.keeps_delivery AND o.state = 'pending' AND split_part(o.step, ':', 1) = 'deliver')
        RETURNING o.id
    ), enqueued AS (
        INSERT INTO outbox (request_id, step, created_at, due_at, give_up_at)
        SELECT request_id, step, at, at, CASE step WHEN 'fetch' THEN
            greatest(at, least(
                coalesce(url_expires_at, at + make_interval(secs => :url_lifetime)), at + interval '1 hour')) END
        FROM moved, CAST(now() + make_interval(secs => delay) AS timestamptz) AS due (at)
        WHERE step IS NOT NULL AND (SELECT count(*) FROM ended_entries) >= 0
        RETURNING step
    ), woken AS (
        SELECT pg_notify('{CHANNEL}', step) FROM (SELECT DISTINCT step FROM enqueued) AS queues
    )
    SELECT request_id, status, odoo, (SELECT count(*) FROM woken) AS woken FROM moved
""")  # noqa: S608 - a constant of this package

_TOLD_AGAIN = "(CAST(:always AS boolean) OR r.completed_at IS NULL OR r.failed_by = 'bridge')"

# Works like a transition that keeps the status. It replaces a delivery of an older version, even one that a worker has
# claimed. Unless `:always`, only what Odoo may have been told differently is delivered again: a final state that Odoo
# acknowledged cannot have changed, unless its image was marked later, which Odoo keeps. N8N gets its full time again,
# because the database was away meanwhile.
_LIFT = text(f"""
    WITH wanted AS (
        SELECT * FROM unnest(
            CAST(:request_id AS uuid[]), CAST(:above AS int[]), CAST(:note AS text[]), CAST(:delay AS float8[])
        ) AS wanted (request_id, above, note, delay)
    ), lifted AS (
        UPDATE requests AS r SET
            version = greatest(r.version, w.above) + 1,
            updated_at = now(),
            callback_deadline_at = CASE r.status
                WHEN 'dispatched' THEN now() + make_interval(secs => :callback_deadline) END,
            delivered_at = CASE WHEN NOT {_TOLD_AGAIN} THEN r.delivered_at END
        FROM wanted AS w
        WHERE r.request_id = w.request_id AND r.request_id = ANY (CAST(:request_id AS uuid[]))
            AND r.version < {VERSION_MAX}
            AND NOT EXISTS (
                SELECT FROM request_changes AS c
                WHERE c.request_id = r.request_id AND c.version = r.version AND c.note LIKE CAST(:unless AS text)
            )
        RETURNING r.request_id, r.version, r.status, {_TOLD_AGAIN} AS is_told_again, w.note, w.delay
    ), recorded AS (
        INSERT INTO request_changes (request_id, version, status, note)
        SELECT request_id, version, status, note FROM lifted
    ), ended_entries AS (
        UPDATE outbox AS o SET state = 'superseded', finished_at = now(), lease_owner = NULL
        FROM lifted AS l
        WHERE o.request_id = l.request_id AND o.request_id = ANY (CAST(:request_id AS uuid[]))
            AND split_part(o.step, ':', 1) = 'deliver' AND o.state IN ('pending', 'dead')
        RETURNING o.request_id
    ), enqueued AS (
        INSERT INTO outbox (request_id, step, created_at, due_at)
        SELECT l.request_id, 'deliver', at, at
        FROM (
            SELECT request_id, delay + :spacing * (row_number() OVER (ORDER BY request_id) - 1) AS delay FROM lifted
            WHERE (SELECT count(*) FROM ended_entries) >= 0  -- ends the old entries first
                AND (is_told_again OR request_id IN (SELECT request_id FROM ended_entries))
        ) AS l, CAST(now() + make_interval(secs => l.delay) AS timestamptz) AS due (at)
        RETURNING request_id, step
    ), woken AS (
        SELECT pg_notify('{CHANNEL}', step) FROM (SELECT DISTINCT step FROM enqueued) AS queues
    )
    SELECT request_id, request_id IN (SELECT request_id FROM enqueued) AS is_delivered_again,
        (SELECT count(*) FROM woken) AS woken
    FROM lifted
""")  # noqa: S608 - constants of this package

# Works like a transition that keeps the status. A delivery of the earlier version is superseded. `updated_at` and
# `delivered_at` stay, because retention counts from them.
_REPLACE_COMPLETED = text(f"""
    WITH replaced AS (
        UPDATE requests SET
            version = version + 1, image = CAST(:image AS jsonb), provenance = CAST(:provenance AS jsonb)
        WHERE request_id = :request_id AND status = 'completed' AND image_purged_at IS NULL
            AND image ->> 'sha256' = :sha256
        RETURNING request_id, version, status
    ), recorded AS (
        INSERT INTO request_changes (request_id, version, status, note)
        SELECT request_id, version, status, :note FROM replaced
    ), ended_entries AS (
        UPDATE outbox AS o SET state = 'superseded', finished_at = now(), lease_owner = NULL
        FROM replaced AS r
        WHERE o.request_id = r.request_id AND o.request_id = :request_id
            AND split_part(o.step, ':', 1) = 'deliver' AND o.state IN ('pending', 'dead')
        RETURNING o.request_id
    ), enqueued AS (
        INSERT INTO outbox (request_id, step)
        SELECT request_id, 'deliver' FROM replaced WHERE (SELECT count(*) FROM ended_entries) >= 0
        RETURNING step
    )
    SELECT request_id, pg_notify('{CHANNEL}', (SELECT step FROM enqueued)) FROM replaced
""")  # noqa: S608 - a constant of this package

_LOCK = text("""
    SELECT FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))
    ORDER BY request_id FOR NO KEY UPDATE
""")

_TOUCH = text("UPDATE requests SET version = version WHERE request_id = ANY (CAST(:request_id AS uuid[]))")


@dataclass(frozen=True, slots=True)
class Deadlines:
    """The time limits that transitions write.

    `callback`: from the dispatch to the callback. `image_url`: the assumed lifetime of a URL without an expiry time.
    `alert_window`: occurrences of one cause within it are reported together.
    """

    callback: timedelta
    image_url: timedelta
    alert_window: timedelta = timedelta(minutes=15)


class LockedRequests:
    """Requests that are locked until the end of the transaction, which applying a `Transition` requires.

    Only `lock` and `lock_selected` create one.
    """

    def __init__(self, connection: AsyncConnection, request_ids: Sequence[UUID]) -> None:
        self._connection = connection
        self.request_ids = tuple(request_ids)

    async def apply(
        self,
        transitions: Sequence[Transition],
        deadlines: Deadlines,
        content: bytes | None = None,
        *,
        records_incidents: bool = True,
    ) -> set[UUID]:
        """Applies the transitions whose requests are in one of their `before` states. Returns the requests that moved.

        `content` is the image, if there is a single transition. A failure of the bridge is recorded as an incident,
        unless `records_incidents` is false because the caller records its own. Raises `ValueError` for a request that
        is not locked here.
        """
        if unlocked := {t.request_id for t in transitions}.difference(self.request_ids):
            raise ValueError(f"not locked by this transaction: {', '.join(map(str, unlocked))}")
        moved = await _apply(self._connection, transitions, deadlines, content)
        if records_incidents:
            failures = failures_of([t for t in transitions if t.request_id in moved])
            await incidents.record(self._connection, failures, deadlines.alert_window)
        return moved

    async def lift(
        self,
        lifts: Sequence[Lift],
        deadlines: Deadlines,
        *,
        spacing: timedelta = timedelta(0),
        always: bool = False,
        unless: str | None = None,
    ) -> dict[UUID, bool]:
        """Raises the versions of these requests. Returns for each that was raised whether it is delivered again.

        Open requests, failures of the bridge and pending deliveries are delivered again; with `always`, all. Each
        delivery is due `spacing` later than the one before. A request whose last change has a note that is LIKE
        `unless` stays as it is. Raises `ValueError` for a request that is not locked here.
        """
        if unlocked := {lift.request_id for lift in lifts}.difference(self.request_ids):
            raise ValueError(f"not locked by this transaction: {', '.join(map(str, unlocked))}")
        if not lifts:
            return {}
        parameters = {
            "request_id": [lift.request_id for lift in lifts],
            "above": [lift.above for lift in lifts],
            "note": [lift.note for lift in lifts],
            "delay": [lift.delay.total_seconds() for lift in lifts],
            "callback_deadline": deadlines.callback.total_seconds(),
            "spacing": spacing.total_seconds(),
            "always": always,
            "unless": unless,
        }
        return {row.request_id: row.is_delivered_again for row in await self._connection.execute(_LIFT, parameters)}

    async def replace_completed(
        self, request_id: UUID, sha256: str, image: StoredImage, provenance: Provenance, note: str
    ) -> bool:
        """Replaces the completed image that has this hash with a marked one, which is delivered again.

        An image that cannot be marked stays, and only its provenance is new.

        Returns False if the request has another image, or none any more. Raises `ValueError` for a request that is not
        locked here.
        """
        if request_id not in self.request_ids:
            raise ValueError(f"not locked by this transaction: {request_id}")
        parameters = {
            "request_id": request_id,
            "sha256": sha256,
            "image": json.dumps(asdict(image)),
            "provenance": json.dumps(asdict(provenance)),
            "note": note,
        }
        return (await self._connection.execute(_REPLACE_COMPLETED, parameters)).first() is not None

    async def touch(self) -> None:
        """Writes the rows without changing them.

        A versioned transition that waits for them then does not apply, and its caller reads the request again. Needed
        by a writer that enqueues an entry without a transition, because the version does not change.
        """
        await self._connection.execute(_TOUCH, {"request_id": list(self.request_ids)})


async def lock(connection: AsyncConnection, request_ids: Sequence[UUID]) -> LockedRequests:
    """Locks those of these requests that exist until the end of the transaction."""
    await connection.execute(_LOCK, {"request_id": list(request_ids)})
    return LockedRequests(connection, request_ids)


async def lock_selected(
    connection: AsyncConnection, statement: TextClause, parameters: Mapping[str, Any]
) -> LockedRequests:
    """Locks the requests that `statement` selects. It must return `request_id` and lock with `FOR NO KEY UPDATE`."""
    rows = await connection.execute(statement, parameters)
    return LockedRequests(connection, [row.request_id for row in rows])


async def apply_versioned(
    connection: AsyncConnection,
    transitions: Sequence[VersionedTransition],
    deadlines: Deadlines,
    content: bytes | None = None,
) -> set[UUID]:
    """Applies the transitions whose requests still have the version that was read. Returns the requests that moved.

    The statement may be its own transaction. If a request is not in the result, others have moved it or enqueued its
    next step: read it again. `content` is the image, if there is a single transition. If others have enqueued the next
    step of one of several requests, nothing is written and `IntegrityError` is raised: apply each transition alone.
    """
    try:
        return await _apply(connection, transitions, deadlines, content)
    except IntegrityError as error:
        if len(transitions) > 1 or not is_duplicate_pending(error):
            raise
        return set()


def is_duplicate_pending(error: IntegrityError) -> bool:
    """Returns whether an entry could not be enqueued because one for the same request and step is already pending."""
    return isinstance(error.orig, UniqueViolation) and error.orig.diag.constraint_name == ONE_PENDING


async def _apply(
    connection: AsyncConnection, transitions: Sequence[Transition], deadlines: Deadlines, content: bytes | None
) -> set[UUID]:
    if not transitions:
        return set()
    parameters = {
        "request_id": [transition.request_id for transition in transitions],
        "requested": json.dumps([_row(transition) for transition in transitions], default=str),
        "content": content,
        "callback_deadline": deadlines.callback.total_seconds(),
        "url_lifetime": deadlines.image_url.total_seconds(),
    }
    moved = [(row.request_id, row.status, row.odoo) for row in await connection.execute(_APPLY, parameters)]
    after_commit(connection, partial(_count, [(status, odoo) for _, status, odoo in moved]))
    return {request_id for request_id, _, _ in moved}


def _count(moved: Sequence[tuple[str, str]]) -> None:
    for status, odoo in moved:
        metrics.TRANSITIONS.labels(status, odoo).inc()


def _row(transition: Transition) -> dict[str, Any]:
    """Returns a row of `requested`. JSON costs less than an array for each column (figure 2: 0.45 instead of 0.48)."""
    return {
        "request_id": transition.request_id,
        "before": list(transition.before),
        "after": transition.after,
        "version": transition.version if isinstance(transition, VersionedTransition) else None,
        "failed_by": transition.failed_by,
        "error_code": transition.error_code,
        "error_message": transition.error_message,
        "image": asdict(transition.image) if transition.image else None,
        "awaited": asdict(transition.awaited) if transition.awaited else None,
        "provenance": asdict(transition.provenance) if transition.provenance else None,
        **facts_columns(transition.facts),
        "note": transition.note,
        "step": transition.next_step,
        "delay": transition.delay.total_seconds(),
        "url_expires_at": transition.awaited.expires_at if transition.awaited else None,
    }
