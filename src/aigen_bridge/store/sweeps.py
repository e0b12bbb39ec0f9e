"""Periodic sweeps: requests past their deadline, requests that N8N never started, and orphaned requests."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from aigen_bridge.domain.destination import N8N
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.queues import step_of
from aigen_bridge.domain.request import Transition
from aigen_bridge.store import incidents, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.destinations import PROBED_WITHIN
from aigen_bridge.store.executions import NO_EXECUTION, RESEND_COUNT
from aigen_bridge.store.generation_rows import N8N_NOW
from aigen_bridge.store.pauses import N8N_IS_PAUSED, STANDING_DEADLINE, paused_time, was_paused
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.store.wakeup import CHANNEL

BATCH = 100
_N8N = f"'{N8N.name}'"
SETTLED_FOR = "1 minute"
"""The reconciliation ignores transitions younger than this."""
NEVER = "2 years"
"""A due time further in the future than this is an error: no setting and no replay allows it."""

# N8N was out after it took the request, so nobody polls a job that may be paid for. The request is left to the silence,
# which does not count during an outage, for at most one deadline after the outage.
_OVERDUE = text(f"""
    SELECT r.request_id FROM requests AS r
    WHERE r.status = 'dispatched' AND r.callback_deadline_at < now() AND NOT {N8N_IS_PAUSED}
        AND {STANDING_DEADLINE} < now() AND NOT (
        EXISTS (SELECT FROM generations AS g WHERE g.request_id = r.request_id AND g.quiet_until >= {N8N_NOW})
        AND EXISTS (
            SELECT FROM incidents AS i LEFT JOIN destinations AS d ON d.name = {_N8N},
                CAST(coalesce(i.recovered_at, d.probe_at + interval '{PROBED_WITHIN}', now()) AS timestamptz)
                    AS ended (at)
            WHERE i.cause = '{Cause.N8N_DOWN.value}' AND ended.at > r.dispatched_at
                AND ended.at + {paused_time(_N8N, "ended.at")} > now() - make_interval(secs => :deadline)
        )
    )
    ORDER BY r.request_id LIMIT :batch
    FOR NO KEY UPDATE OF r SKIP LOCKED
""")  # noqa: S608 - constants of this package

BEGINS_WITHIN = "30 seconds"
"""The time for an execution to record its id (`wanted`). It usually does so 1 or 2 s after the acknowledgement."""

OVERTAKEN_FOR = "10 seconds"
"""N8N starts executions in the order of their webhooks, give or take this long."""

_NEVER_STARTED = text(f"""
    SELECT r.request_id FROM requests AS r
    WHERE r.status = 'dispatched' AND r.callback_deadline_at IS NOT NULL
        AND r.dispatched_at < now() - interval '{BEGINS_WITHIN}'
        AND (  -- N8N was away after it took the request, or may have been: nobody probes it while it is paused
            EXISTS (SELECT FROM incidents AS i WHERE i.cause = '{Cause.N8N_DOWN.value}' AND i.seen_at > r.dispatched_at)
            OR {was_paused(_N8N, "r.dispatched_at")}
        )
        AND {NO_EXECUTION}
        AND EXISTS (  -- the workflow that took it records its executions
            SELECT FROM executions AS e
            WHERE e.noted_at BETWEEN r.dispatched_at - interval '1 day' AND r.dispatched_at
        )
        AND EXISTS (  -- N8N starts them in order, and has long started one that it took later
            SELECT FROM executions AS e JOIN requests AS later ON later.request_id = e.request_id
            WHERE later.dispatched_at > r.dispatched_at AND e.noted_at > later.dispatched_at
                AND e.noted_at < now() - interval '{OVERTAKEN_FOR}'
        )
        AND :resends > {RESEND_COUNT}
    ORDER BY r.request_id LIMIT :batch
    FOR NO KEY UPDATE OF r SKIP LOCKED
""")  # noqa: S608 - a constant of this module

_MISSING = f"""
    SELECT f.request_id, f.step FROM (
        SELECT r.request_id, r.updated_at AS moved_at,
            CASE WHEN r.status = 'queued' THEN 'dispatch' WHEN r.image IS NULL THEN 'fetch' ELSE 'mark' END AS step
        FROM requests AS r
        WHERE r.status IN ('queued', 'received') AND r.updated_at < now() - interval '{SETTLED_FOR}'
        UNION ALL
        SELECT r.request_id, r.completed_at, 'deliver' FROM requests AS r
        WHERE r.completed_at < now() - interval '{SETTLED_FOR}' AND r.delivered_at IS NULL
    ) AS f
    WHERE NOT EXISTS (
        SELECT FROM outbox AS o
        WHERE o.request_id = f.request_id AND split_part(o.step, ':', 1) = f.step AND (
            o.state IN ('pending', 'dead')
            OR (o.state = 'cancelled' AND o.created_at >= f.moved_at)  -- discarded since the request last moved
        )
    )
"""  # noqa: S608 - a constant of this module
"""Requests that no entry would carry on, with the step that is missing."""

_ORPHANED = text(f"""
    SELECT request_id FROM requests
    WHERE request_id = ANY (ARRAY(SELECT m.request_id FROM ({_MISSING}) AS m LIMIT :batch))
    ORDER BY request_id
    FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608 - a constant of this module

_ENQUEUE_MISSING = text(f"""
    INSERT INTO outbox (request_id, step)
    SELECT m.request_id, m.step FROM ({_MISSING}) AS m WHERE m.request_id = ANY (CAST(:request_id AS uuid[]))
    ON CONFLICT DO NOTHING
    RETURNING request_id, step, pg_notify('{CHANNEL}', step)
""")  # noqa: S608 - constants of this module

_WITHOUT_DEADLINE = text(f"""
    WITH found AS (
        SELECT request_id FROM requests
        WHERE status = 'dispatched' AND updated_at < now() - interval '{SETTLED_FOR}'
            AND (callback_deadline_at IS NULL OR callback_deadline_at > now() + interval '{NEVER}')
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE requests AS r SET callback_deadline_at = now() + make_interval(secs => :seconds)
    FROM found WHERE r.request_id = found.request_id
    RETURNING r.request_id
""")  # noqa: S608 - a constant of this module


_NEVER_DUE = text(f"""
    WITH found AS (
        SELECT id FROM outbox WHERE state = 'pending' AND due_at > now() + interval '{NEVER}'
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE outbox AS o SET due_at = now() FROM found WHERE o.id = found.id
    RETURNING o.request_id, o.step
""")  # noqa: S608 - a constant of this module


@dataclass(frozen=True, slots=True)
class Repair:
    """A repair of a request that had neither a pending entry nor a running deadline.

    `what` is the step that was enqueued again, or `deadline`.
    """

    request_id: UUID
    what: str


class Sweeps:
    """The sweeps in PostgreSQL. Safe to run in every worker at once."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def expire(self, failed: Callable[[UUID], Transition]) -> list[UUID]:
        """Fails requests whose callback did not arrive in time, at most `BATCH`. `failed` returns the transition."""
        async with self._database.transaction() as connection:
            wanted = {"batch": BATCH, "deadline": self._deadlines.callback.total_seconds()}
            overdue = await transitions.lock_selected(connection, _OVERDUE, wanted)
            await overdue.apply([failed(request_id) for request_id in overdue.request_ids], self._deadlines)
        return list(overdue.request_ids)

    async def send_again(self, never_started: Callable[[UUID], Transition], resends: int) -> list[UUID]:
        """Sends requests again that N8N acknowledged before an outage and never started, at most `BATCH`.

        `never_started` returns the transition. Each request is sent again at most `resends` times.
        """
        async with self._database.transaction() as connection:
            wanted = {"batch": BATCH, "resends": resends}
            lost = await transitions.lock_selected(connection, _NEVER_STARTED, wanted)
            requeued = [never_started(request_id) for request_id in lost.request_ids]
            await lost.apply(requeued, self._deadlines)
            occurrences = [Occurrence(Cause.EXECUTION_LOST, t.note or "", t.request_id) for t in requeued]
            await incidents.record(connection, occurrences, self._deadlines.alert_window)
        return list(lost.request_ids)

    async def reconcile(self) -> list[Repair]:
        """Repairs requests that would never move again. There are none unless the bridge has a bug.

        A request that has not ended has a pending entry or a running deadline, and the end of every request is
        delivered. Requests that others have locked are skipped.
        """
        seconds = self._deadlines.callback.total_seconds()
        async with self._database.transaction() as connection:
            locked = await transitions.lock_selected(connection, _ORPHANED, {"batch": BATCH})
            enqueued: list[Row[Any]] = []
            if locked.request_ids:
                await locked.touch()
                missing = {"request_id": list(locked.request_ids)}
                enqueued += (await connection.execute(_ENQUEUE_MISSING, missing)).all()
            enqueued += [row for row in await connection.execute(_NEVER_DUE) if row.request_id]
            without_deadline = await connection.execute(_WITHOUT_DEADLINE, {"seconds": seconds})
            repairs = [Repair(row.request_id, step_of(row.step).value) for row in enqueued]
            repairs += [Repair(request_id, "deadline") for request_id in without_deadline.scalars()]
            orphaned = [Occurrence(Cause.REQUEST_ORPHANED, f"Its {r.what} was missing.", r.request_id) for r in repairs]
            await incidents.record(connection, orphaned, self._deadlines.alert_window)
        return repairs
