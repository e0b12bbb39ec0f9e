"""The outbox: claim, settle, give back. A claim is a lease; the fence keeps a late worker from settling."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.outcome import Advance, Complete, Dead, Delivered, Done, Effect, Fail, Outcome, Retry
from aigen_bridge.domain.request import Change, FailedBy, ImageRequest, Status, Step
from aigen_bridge.store import changes
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.requests import to_request
from aigen_bridge.store.schema import images

DETAIL_MAX = 1000
"""Characters kept of what an error said."""

_CLAIM = text("""
    WITH due AS (
        SELECT id, lease_owner, due_at FROM outbox
        WHERE state = 'pending' AND step = :step AND due_at <= now()
        ORDER BY due_at LIMIT :limit
        FOR UPDATE SKIP LOCKED
    ), claimed AS (
        UPDATE outbox AS o SET
            due_at = now() + make_interval(secs => :lease),
            fence = o.fence + 1,
            attempts = o.attempts + 1,
            leases_lost = CASE WHEN due.lease_owner IS NULL THEN 0 ELSE o.leases_lost + 1 END,
            lease_owner = :owner
        FROM due WHERE o.id = due.id
        RETURNING o.id, o.request_id, o.attempts, o.fence, o.created_at, o.give_up_at, o.leases_lost
    ), lost AS (
        INSERT INTO attempts (entry_id, request_id, step, number, outcome, error_code, detail, started_at)
        SELECT c.id, c.request_id, :step, c.attempts - 1, 'lost', 'lease_lost',
            'The worker ' || due.lease_owner || ' did not finish in time.',
            due.due_at - make_interval(secs => :lease)
        FROM claimed AS c JOIN due ON due.id = c.id AND due.lease_owner IS NOT NULL
    )
    SELECT c.id AS entry_id, c.attempts AS attempt, c.fence, c.created_at AS began_at, c.give_up_at,
        c.leases_lost, now() AS claimed_at, r.*
    FROM claimed AS c JOIN requests AS r USING (request_id)
    ORDER BY c.id
""")

_NEXT_DUE = text("""
    SELECT extract(epoch FROM min(due_at) - now()) FROM outbox WHERE state = 'pending' AND step = :step
""")

_SETTLE = text("""
    WITH settled AS (
        SELECT * FROM unnest(
            CAST(:id AS bigint[]), CAST(:fence AS bigint[]), CAST(:state AS text[]), CAST(:outcome AS text[]),
            CAST(:due_at AS timestamptz[]), CAST(:seconds AS float8[]), CAST(:http_status AS int[]),
            CAST(:error_code AS text[]), CAST(:detail AS text[])
        ) AS settled (id, fence, state, outcome, due_at, seconds, http_status, error_code, detail)
    ), held AS (
        SELECT o.id, o.fence, o.state AS was, o.request_id, o.step, o.attempts FROM outbox AS o
        JOIN settled AS s ON o.id = s.id AND o.fence = s.fence
        WHERE NOT EXISTS (  -- settled already: the answer to that commit was lost
            SELECT FROM attempts AS t WHERE t.entry_id = o.id AND t.number = o.attempts
        )
        ORDER BY o.id FOR NO KEY UPDATE OF o
    ), written AS (
        UPDATE outbox AS o SET
            state = s.state,
            due_at = coalesce(s.due_at, o.due_at),
            finished_at = CASE WHEN s.state <> 'pending' THEN now() END,
            lease_owner = NULL,
            error_code = s.error_code,
            error_detail = s.detail
        FROM held AS h JOIN settled AS s USING (id, fence)
        WHERE o.id = h.id AND h.was = 'pending'
    ), tried AS (
        INSERT INTO attempts
            (entry_id, request_id, step, number, outcome, http_status, error_code, detail, started_at)
        SELECT h.id, h.request_id, h.step, h.attempts, s.outcome, s.http_status, s.error_code, s.detail,
            now() - make_interval(secs => s.seconds)
        FROM held AS h JOIN settled AS s USING (id, fence)
    )
    SELECT id, fence FROM held WHERE was = 'pending'
""")

_DELIVERED = text("""
    UPDATE requests AS r SET delivered_at = now()
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:version AS int[])) AS d (request_id, version)
    WHERE r.request_id = d.request_id AND r.version = d.version
""")

_RELEASE = text("""
    UPDATE outbox AS o SET due_at = now(), lease_owner = NULL, attempts = o.attempts - 1
    FROM unnest(CAST(:id AS bigint[]), CAST(:fence AS bigint[])) AS l (id, fence)
    WHERE o.id = l.id AND o.fence = l.fence AND o.state = 'pending' AND o.lease_owner IS NOT NULL
""")


_EXTEND = text("""
    UPDATE outbox AS o SET due_at = now() + make_interval(secs => :lease)
    FROM unnest(CAST(:id AS bigint[]), CAST(:fence AS bigint[])) AS l (id, fence)
    WHERE o.id = l.id AND o.fence = l.fence AND o.state = 'pending' AND o.lease_owner IS NOT NULL
""")


@dataclass(frozen=True, slots=True)
class Claim:
    """An outbox entry that this worker may work on until its lease ends, with its request as it is now.

    `attempt` counts from 1, lost leases included; `leases_lost` are those lost in a row just before this
    claim; `fence` only ever rises. Times are the database's.
    """

    entry_id: int
    step: Step
    attempt: int
    fence: int
    began_at: datetime
    claimed_at: datetime
    give_up_at: datetime | None
    leases_lost: int
    request: ImageRequest


@dataclass(frozen=True, slots=True)
class Settlement:
    """How a claim ended, and how long it took."""

    claim: Claim
    outcome: Outcome
    took: timedelta


class Outbox:
    """The outbox entries in PostgreSQL."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def claim(self, step: Step, *, limit: int, lease: timedelta, owner: str) -> list[Claim]:
        """Lease up to `limit` due entries of a step to `owner`, the longest due first."""
        wanted = {"step": step.value, "limit": limit, "lease": lease.total_seconds(), "owner": owner}
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_CLAIM, wanted)).all()
        return [
            Claim(
                entry_id=row.entry_id,
                step=step,
                attempt=row.attempt,
                fence=row.fence,
                began_at=row.began_at,
                claimed_at=row.claimed_at,
                give_up_at=row.give_up_at,
                leases_lost=row.leases_lost,
                request=to_request(row),
            )
            for row in rows
        ]

    async def next_due(self, step: Step) -> timedelta | None:
        """How long until the next entry of a step is due; negative when overdue, None when there is none."""
        async with self._database.reading() as connection:
            seconds = await connection.scalar(_NEXT_DUE, {"step": step.value})
        return None if seconds is None else timedelta(seconds=float(seconds))

    async def settle(self, settlements: Sequence[Settlement]) -> list[bool]:
        """Write how the claims ended, in one commit. False for a claim whose entry was no longer ours."""
        async with self._database.transaction() as connection:
            # Requests before entries, as callbacks do: one order of locks, no deadlock.
            await changes.lock(connection, [s.claim.request.request_id for s in settlements])
            rows = await connection.execute(_SETTLE, _columns(settlements))
            held = {(row.id, row.fence) for row in rows}
            answers = [(s.claim.entry_id, s.claim.fence) in held for s in settlements]
            await self._apply(connection, [s for s, ours in zip(settlements, answers, strict=True) if ours])
        return answers

    async def _apply(self, connection: AsyncConnection, settled: Sequence[Settlement]) -> None:
        effects = [(s.claim, effect) for s in settled if (effect := _effect(s.outcome))]
        moves = [_change(claim, effect) for claim, effect in effects if not isinstance(effect, Delivered)]
        moved = await changes.make(connection, moves, self._deadlines)
        for claim, effect in effects:
            if isinstance(effect, Complete) and claim.request.request_id in moved:
                row = {"request_id": claim.request.request_id, "content": effect.image.content}
                await connection.execute(images.insert(), row)
        delivered = [(c.request.request_id, e.version) for c, e in effects if isinstance(e, Delivered)]
        if delivered:
            ids, versions = zip(*delivered, strict=True)
            await connection.execute(_DELIVERED, {"request_id": list(ids), "version": list(versions)})

    async def extend(self, claims: Sequence[Claim], lease: timedelta) -> None:
        """Hold claims for another lease, as far as they are still ours."""
        leases = {"id": [c.entry_id for c in claims], "fence": [c.fence for c in claims]}
        async with self._database.transaction() as connection:
            await connection.execute(_EXTEND, leases | {"lease": lease.total_seconds()})

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back untried: due at once, the attempt not counted."""
        leases = {"id": [c.entry_id for c in claims], "fence": [c.fence for c in claims]}
        async with self._database.transaction() as connection:
            await connection.execute(_RELEASE, leases)


def _effect(outcome: Outcome) -> Effect:
    return None if isinstance(outcome, Retry) else outcome.effect


def _change(claim: Claim, effect: Advance | Complete | Fail) -> Change:
    request_id = claim.request.request_id
    if isinstance(effect, Complete):
        received, image = frozenset({Status.RECEIVED}), effect.image.described
        return Change(request_id=request_id, before=received, after=Status.COMPLETED, image=image)
    if isinstance(effect, Advance):
        return Change(request_id=request_id, before=frozenset({Status.QUEUED}), after=effect.to)
    return Change(
        request_id=request_id,
        before=frozenset({Status.QUEUED, Status.RECEIVED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=effect.code,
        error_message=effect.message,
    )


def _columns(settlements: Sequence[Settlement]) -> dict[str, list[Any]]:
    rows = [_row(s) for s in settlements]
    return {name: [row[name] for row in rows] for name in rows[0]}


def _row(settlement: Settlement) -> dict[str, Any]:
    outcome = settlement.outcome
    error = None if isinstance(outcome, Done) else outcome.error
    return {
        "id": settlement.claim.entry_id,
        "fence": settlement.claim.fence,
        "state": {Done: "done", Retry: "pending", Dead: "dead"}[type(outcome)],
        "outcome": type(outcome).__name__.lower(),
        "due_at": outcome.at if isinstance(outcome, Retry) else None,
        "seconds": settlement.took.total_seconds(),
        "http_status": error.http_status if error else None,
        "error_code": error.code if error else None,
        "detail": error.detail[:DETAIL_MAX] if error else None,
    }
