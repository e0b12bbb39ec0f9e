"""What no single request brings about: deadlines that pass, and proof that nothing was forgotten."""

from collections.abc import Callable
from dataclasses import dataclass
from uuid import UUID

from sqlalchemy import text

from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.request import Change
from aigen_bridge.store import changes, incidents
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.executions import NO_EXECUTION, RESENDS
from aigen_bridge.store.wakeup import CHANNEL

BATCH = 100
SETTLED_FOR = "1 minute"
"""Younger changes are left alone by the reconciliation."""
NEVER = "2 years"
"""A due time further ahead than this is an error: no setting and no replay allows it."""

_OVERDUE = text("""
    SELECT request_id FROM requests
    WHERE status = 'dispatched' AND callback_deadline_at < now()
    ORDER BY request_id LIMIT :batch
    FOR NO KEY UPDATE SKIP LOCKED
""")

BEGINS_WITHIN = "30 seconds"
"""An execution of a workflow that notes its id (`wanted`) does so within a second or two of the acknowledgement."""

OVERTAKEN_FOR = "10 seconds"
"""N8N begins executions in the order of their webhooks, but for this much."""

_UNBEGUN = text(f"""
    SELECT r.request_id FROM requests AS r
    WHERE r.status = 'dispatched' AND r.callback_deadline_at IS NOT NULL
        AND r.dispatched_at < now() - interval '{BEGINS_WITHIN}'
        AND EXISTS (  -- N8N was away after it took the request
            SELECT FROM incidents AS i WHERE i.cause = 'n8n_down' AND i.seen_at > r.dispatched_at
        )
        AND {NO_EXECUTION}
        AND EXISTS (  -- the workflow that took it notes its executions
            SELECT FROM executions AS e
            WHERE e.noted_at BETWEEN r.dispatched_at - interval '1 day' AND r.dispatched_at
        )
        AND EXISTS (  -- N8N begins in order, and has long begun one that it took later
            SELECT FROM executions AS e JOIN requests AS later ON later.request_id = e.request_id
            WHERE later.dispatched_at > r.dispatched_at AND e.noted_at > later.dispatched_at
                AND e.noted_at < now() - interval '{OVERTAKEN_FOR}'
        )
        AND :resends > {RESENDS}
    ORDER BY r.request_id LIMIT :batch
    FOR NO KEY UPDATE OF r SKIP LOCKED
""")  # noqa: S608 - a constant of ours

_FORGOTTEN = text(f"""
    WITH forgotten AS (
        SELECT r.request_id, r.updated_at,
            CASE r.status WHEN 'queued' THEN 'dispatch' WHEN 'received' THEN 'fetch' END AS step
        FROM requests AS r
        WHERE r.status IN ('queued', 'received') AND r.updated_at < now() - interval '{SETTLED_FOR}'
        UNION ALL
        SELECT r.request_id, r.updated_at, 'deliver' FROM requests AS r
        WHERE r.completed_at < now() - interval '{SETTLED_FOR}' AND r.delivered_at IS NULL
    )
    INSERT INTO outbox (request_id, step)
    SELECT f.request_id, f.step FROM forgotten AS f
    WHERE NOT EXISTS (
        SELECT FROM outbox AS o
        WHERE o.request_id = f.request_id AND o.step = f.step AND (
            o.state IN ('pending', 'dead')
            OR (o.state = 'cancelled' AND o.created_at >= f.updated_at)  -- discarded since the request last moved
        )
    )
    LIMIT :batch
    ON CONFLICT DO NOTHING
    RETURNING request_id, step, pg_notify('{CHANNEL}', step)
""")  # noqa: S608 - constants of ours

_WITHOUT_DEADLINE = text(f"""
    UPDATE requests SET callback_deadline_at = now() + make_interval(secs => :seconds)
    WHERE status = 'dispatched' AND (callback_deadline_at IS NULL OR callback_deadline_at > now() + interval '{NEVER}')
        AND updated_at < now() - interval '{SETTLED_FOR}'
    RETURNING request_id
""")  # noqa: S608 - a constant of ours


_NEVER_DUE = text(f"""
    UPDATE outbox SET due_at = now() WHERE state = 'pending' AND due_at > now() + interval '{NEVER}'
    RETURNING request_id, step
""")  # noqa: S608 - a constant of ours


@dataclass(frozen=True, slots=True)
class Repair:
    """Something that was owed and that nobody was going to do; it is now. `what` is a step, or `deadline`."""

    request_id: UUID
    what: str


class Sweeps:
    """The sweeps in PostgreSQL; safe to run by every worker at once."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def expire(self, failed: Callable[[UUID], Change]) -> list[UUID]:
        """Make the move `failed` says for requests whose callback did not come in time, at most `BATCH`."""
        async with self._database.transaction() as connection:
            overdue = (await connection.execute(_OVERDUE, {"batch": BATCH})).scalars().all()
            await changes.make(connection, [failed(request_id) for request_id in overdue], self._deadlines)
        return list(overdue)

    async def send_again(self, unbegun: Callable[[UUID], Change], resends: int) -> list[UUID]:
        """Sends requests again that N8N acknowledged before an outage and never began: at most `BATCH` in one call.

        `unbegun` makes the change for a request; each request is sent again at most `resends` times.
        """
        async with self._database.transaction() as connection:
            wanted = {"batch": BATCH, "resends": resends}
            changed = [unbegun(each) for each in (await connection.execute(_UNBEGUN, wanted)).scalars()]
            await changes.make(connection, changed, self._deadlines)
            lost = [Occurrence(Cause.EXECUTION_LOST, change.note or "", change.request_id) for change in changed]
            await incidents.note(connection, lost, self._deadlines.digest)
        return [change.request_id for change in changed]

    async def reconcile(self) -> list[Repair]:
        """Every request that has not ended has a live entry or a running deadline, and Odoo is owed every ending.

        What violates this is repaired and returned; there is nothing to return unless we have a bug.
        """
        seconds = self._deadlines.callback.total_seconds()
        async with self._database.transaction() as connection:
            owed = list((await connection.execute(_FORGOTTEN, {"batch": BATCH})).all())
            owed += [row for row in await connection.execute(_NEVER_DUE) if row.request_id]
            timeless = (await connection.execute(_WITHOUT_DEADLINE, {"seconds": seconds})).scalars().all()
            repairs = [Repair(row.request_id, row.step) for row in owed]
            repairs += [Repair(request_id, "deadline") for request_id in timeless]
            forgotten = [
                Occurrence(Cause.REQUEST_FORGOTTEN, f"Its {r.what} was missing.", r.request_id) for r in repairs
            ]
            await incidents.note(connection, forgotten, self._deadlines.digest)
        return repairs
