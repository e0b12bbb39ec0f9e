"""The background replays: begins, leases, paces and ends them, and lists the letters that they did not replay.

A lease is taken by one statement with `FOR UPDATE SKIP LOCKED`. Its fence, which only increases, keeps a worker from
going on after losing its lease: each replay of a letter checks it in its own transaction, and counts there, so that a
letter is counted exactly when it was replayed.
"""

from datetime import timedelta
from typing import Any

from sqlalchemy import Row, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import DeadLetterFilter, OperatorAction, ReplayLease
from aigen_bridge.domain.errors import ReplayLeaseLostError, UnknownReplayError
from aigen_bridge.domain.replay_job import (
    FAILURES_MAX,
    LeasedReplay,
    Pace,
    ReplayFailure,
    ReplayJob,
    ReplayState,
    ReplayStep,
)
from aigen_bridge.store.database import Database
from aigen_bridge.store.dead_letters import count
from aigen_bridge.store.operations import record
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.schema import replay_failures, replay_jobs

KEPT = 200
"""Background replays that are kept, the newest, beside those that have not ended."""

_FORGET = text(f"""
    DELETE FROM replay_jobs WHERE finished_at IS NOT NULL
        AND id <= (SELECT id FROM replay_jobs ORDER BY id DESC LIMIT 1 OFFSET {KEPT})
""")  # noqa: S608 - a constant of this module

_COLUMNS = ", ".join(f"j.{column.name}" for column in replay_jobs.c)
"""They are named, because a statement must not change with the table."""

# A job that is being stopped does not wait until it is due.
_CLAIM = text(f"""
    WITH due AS (
        SELECT id, lease_owner FROM replay_jobs
        WHERE finished_at IS NULL AND (due_at <= now() OR state = 'stopping')
            AND (lease_until IS NULL OR lease_until <= now())
        ORDER BY due_at LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE replay_jobs AS j SET
        fence = fence + 1,
        lease_owner = :owner,
        lease_until = now() + make_interval(secs => :lease),
        leases_lost = CASE WHEN due.lease_owner IS NULL THEN 0 ELSE leases_lost + 1 END
    FROM due WHERE j.id = due.id
    RETURNING {_COLUMNS}
""")  # noqa: S608 - columns of the schema

# Replaying a letter takes its time from the wait for the next one. What was missed is not made up for.
_ADVANCE = text(f"""
    WITH moved AS (
        UPDATE replay_jobs SET
            after_at = :after_at, after_id = :after_id,
            failed = failed + CASE WHEN :has_failed THEN 1 ELSE 0 END,
            moved_on = moved_on + CASE WHEN :moved_on THEN 1 ELSE 0 END,
            due_at = greatest(due_at + make_interval(secs => 1 / max_per_second), now()),
            lease_until = now() + make_interval(secs => :lease),
            leases_lost = 0
        WHERE id = :job AND fence = :fence AND finished_at IS NULL
        RETURNING id, failed + moved_on AS number, extract(epoch FROM due_at - now()) AS wait,
            state = 'stopping' AS is_stopping
    ), kept AS (
        INSERT INTO replay_failures (job_id, number, letter, request_id, reason, moved_on)
        SELECT id, number, :after_id, CAST(:request_id AS uuid), :reason, :moved_on FROM moved
        WHERE (:has_failed OR :moved_on) AND number <= {FAILURES_MAX}
    )
    SELECT wait, is_stopping FROM moved
""")  # noqa: S608 - a constant of this package

_RELEASE = text("""
    UPDATE replay_jobs SET lease_owner = NULL, lease_until = NULL WHERE id = :job AND fence = :fence
""")

# Letters that were gone when their turn came were handled by others. A letter that became visible late, because its
# worker committed after the job was counted, may be one more.
_END = text("""
    UPDATE replay_jobs SET
        state = :state, finished_at = now(), lease_owner = NULL, lease_until = NULL,
        matched = greatest(matched, replayed + failed + moved_on),
        moved_on = CASE :state WHEN 'finished' THEN greatest(matched - replayed - failed, moved_on) ELSE moved_on END
    WHERE id = :job AND fence = :fence AND finished_at IS NULL
""")

# The worker that holds the lease ends the job after its letter. A raised fence keeps any other from going on.
_STOP = text("""
    UPDATE replay_jobs SET
        state = CASE WHEN lease_until > now() THEN 'stopping' ELSE 'stopped' END,
        finished_at = CASE WHEN lease_until > now() THEN NULL ELSE now() END,
        fence = CASE WHEN lease_until > now() THEN fence ELSE fence + 1 END,
        lease_owner = CASE WHEN lease_until > now() THEN lease_owner END,
        lease_until = CASE WHEN lease_until > now() THEN lease_until END
    WHERE id = :job AND state = 'running'
""")


class ReplayQueue:
    """The background replays in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def begin(self, wanted: DeadLetterFilter, action: OperatorAction, per_second: float) -> ReplayJob:
        """Begins to replay the letters that match now. Records who began it, and forgets old jobs."""
        row = {
            "kind": wanted.kind,
            "since": wanted.since,
            "until": wanted.until,
            "error_code": wanted.error_code,
            "odoo": wanted.odoo,
            "max_per_second": per_second,
            "note": action.note,
            "client": action.by,
        }
        async with self._database.transaction(patient=True) as connection:
            statement = replay_jobs.insert().values(row).returning(replay_jobs)
            job = _job((await connection.execute(statement)).one())
            found = {"matched": await count(connection, job.wanted)}
            matched = replay_jobs.update().where(replay_jobs.c.id == job.id).values(found).returning(replay_jobs)
            await record(connection, action, "replay", job.target, None)
            await connection.execute(_FORGET)
            return _job((await connection.execute(matched)).one())

    async def get(self, number: int, odoo: str | None = None) -> ReplayJob:
        """Returns a job. With `odoo`, only one that is limited to this Odoo. Raises `UnknownReplayError`."""
        async with self._database.reading() as connection:
            return await _get(connection, number, odoo)

    async def page(self, limit: int, odoo: str | None = None) -> list[ReplayJob]:
        """Returns at most `limit` jobs, newest first. With `odoo`, those that are limited to this Odoo."""
        query = select(replay_jobs).order_by(replay_jobs.c.id.desc()).limit(limit)
        async with self._database.reading() as connection:
            rows = await connection.execute(query.where(replay_jobs.c.odoo == odoo) if odoo else query)
            return [_job(row) for row in rows]

    async def failures(self, number: int) -> list[ReplayFailure]:
        """Returns the letters that a job did not replay, in order, at most `FAILURES_MAX`."""
        mine = replay_failures.c.job_id == number
        async with self._database.reading() as connection:
            rows = await connection.execute(select(replay_failures).where(mine).order_by(replay_failures.c.number))
            return [from_row(ReplayFailure, row) for row in rows]

    async def stop(self, number: int, action: OperatorAction) -> ReplayJob:
        """Stops a job. Records who stopped it, unless it was over or being stopped. Raises `UnknownReplayError`."""
        async with self._database.transaction() as connection:
            job = await _get(connection, number, action.odoo)
            if (await connection.execute(_STOP, {"job": number})).rowcount:
                await record(connection, action, "stop", job.target, None)
            return await _get(connection, number, action.odoo)

    async def claim(self, owner: str, lease: timedelta) -> LeasedReplay | None:
        """Leases the job that has been due for the longest time. Returns None if none is due."""
        async with self._database.writing() as connection:
            values = {"owner": owner, "lease": lease.total_seconds()}
            row = (await connection.execute(_CLAIM, values)).one_or_none()
        if row is None:
            return None
        after = (row.after_at, row.after_id) if row.after_id else None
        return LeasedReplay(job=_job(row), fence=row.fence, after=after, leases_lost=row.leases_lost)

    async def advance(self, lease: ReplayLease, step: ReplayStep, extend: timedelta) -> Pace:
        """Goes on to the next letter, and extends the lease. Raises `ReplayLeaseLostError`."""
        at, letter = step.place
        values = {
            **_key(lease),
            "after_at": at,
            "after_id": letter,
            "request_id": step.request_id,
            "reason": step.reason,
            "has_failed": step.reason is not None and not step.moved_on,
            "moved_on": step.moved_on,
            "lease": extend.total_seconds(),
        }
        async with self._database.writing() as connection:
            row = (await connection.execute(_ADVANCE, values)).one_or_none()
        if row is None:
            raise ReplayLeaseLostError(lease.job)
        return Pace(float(row.wait), row.is_stopping)

    async def release(self, lease: ReplayLease) -> None:
        """Ends a lease, so that the next worker need not wait for its end."""
        async with self._database.writing() as connection:
            await connection.execute(_RELEASE, _key(lease))

    async def end(self, lease: ReplayLease, state: ReplayState) -> None:
        """Ends a job, as its lease permits."""
        async with self._database.writing() as connection:
            await connection.execute(_END, {**_key(lease), "state": state.value})


def _key(lease: ReplayLease) -> dict[str, Any]:
    return {"job": lease.job, "fence": lease.fence}


async def _get(connection: AsyncConnection, number: int, odoo: str | None) -> ReplayJob:
    row = (await connection.execute(select(replay_jobs).where(replay_jobs.c.id == number))).one_or_none()
    if row is None or (odoo is not None and row.odoo != odoo):
        raise UnknownReplayError(number)
    return _job(row)


def _job(row: Row[Any]) -> ReplayJob:
    return from_row(ReplayJob, row, state=ReplayState(row.state))
