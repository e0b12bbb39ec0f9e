"""Leases on outbox entries, whatever they are about: claim, extend, give back, write how a try ended.

A claim is a lease; the fence, which only ever rises, keeps a late worker from settling.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Generic, TypeVar

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.outcome import Dead, Done, Held, Outcome, Retry
from aigen_bridge.domain.request import ImageRequest, Step
from aigen_bridge.store.database import Database
from aigen_bridge.store.readable import out_of_range

DETAIL_MAX = 1000
"""Characters kept of what an error said."""

CLAIM = """
    WITH due AS (
        SELECT id, lease_owner, due_at FROM outbox
        WHERE state = 'pending' AND step = :step AND due_at <= now()
            AND (CAST(:older_than AS float8) IS NULL OR created_at <= now() - make_interval(secs => :older_than))
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
        RETURNING o.id AS entry_id, o.request_id, o.incident_id, o.attempts AS attempt, o.fence,
            o.created_at AS began_at, o.give_up_at, o.leases_lost, now() AS claimed_at
    ), lost AS (
        INSERT INTO attempts (entry_id, request_id, step, number, outcome, error_code, detail, started_at)
        SELECT c.entry_id, c.request_id, :step, c.attempt - 1, 'lost', 'lease_lost',
            'The worker ' || due.lease_owner || ' did not finish in time.',
            due.due_at - make_interval(secs => :lease)
        FROM claimed AS c JOIN due ON due.id = c.entry_id AND due.lease_owner IS NOT NULL
    )
"""
"""Leases due entries, the longest due first; a SELECT on `claimed` follows."""
CLAIMED = "c.entry_id, c.attempt, c.fence, c.began_at, c.claimed_at, c.give_up_at, c.leases_lost"
"""The columns of `claimed AS c` that make a `Lease`."""

_NEXT_DUE = text("""
    SELECT extract(epoch FROM least(greatest(min(due_at), now() - interval '1 day'), now() + interval '1 day') - now())
    FROM outbox WHERE state = 'pending' AND step = :step
""")

_WRITE = text("""
    WITH settled AS (
        SELECT * FROM unnest(
            CAST(:id AS bigint[]), CAST(:fence AS bigint[]), CAST(:state AS text[]), CAST(:outcome AS text[]),
            CAST(:due_at AS timestamptz[]), CAST(:number AS int[]), CAST(:seconds AS float8[]),
            CAST(:http_status AS int[]), CAST(:error_code AS text[]), CAST(:detail AS text[])
        ) AS settled (id, fence, state, outcome, due_at, number, seconds, http_status, error_code, detail)
    ), held AS (
        SELECT o.id, o.fence, o.request_id, o.step,
            o.state = 'pending' AND o.lease_owner IS NOT NULL AS ours
        FROM outbox AS o
        JOIN settled AS s ON o.id = s.id AND o.fence = s.fence
        ORDER BY o.id FOR NO KEY UPDATE OF o
    ), written AS (
        UPDATE outbox AS o SET
            state = s.state,
            due_at = coalesce(s.due_at, CASE s.outcome WHEN 'held' THEN now() ELSE o.due_at END),
            attempts = CASE s.outcome WHEN 'held' THEN 0 ELSE o.attempts END,  -- all its tries, once it is back
            finished_at = CASE WHEN s.state <> 'pending' THEN now() END,
            lease_owner = NULL,
            error_code = s.error_code,
            error_detail = s.detail
        FROM held AS h JOIN settled AS s USING (id, fence)
        WHERE o.id = h.id AND h.ours
    ), tried AS (
        INSERT INTO attempts
            (entry_id, request_id, step, number, outcome, http_status, error_code, detail, started_at)
        SELECT h.id, h.request_id, h.step, s.number, s.outcome, s.http_status, s.error_code, s.detail,
            now() - make_interval(secs => s.seconds)
        FROM held AS h JOIN settled AS s USING (id, fence)
        WHERE h.ours OR NOT EXISTS (  -- this very try, written before its connection broke
            SELECT FROM attempts AS a WHERE a.entry_id = h.id AND a.number = s.number
                AND a.finished_at - a.started_at = make_interval(secs => s.seconds)
        )
    )
    SELECT id, fence FROM held WHERE ours
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An outbox entry that this worker may work on until its lease ends.

    `attempt` counts from 1, lost leases included; `leases_lost` are those lost in a row just before this
    claim; `fence` only ever rises. Times are the database's. `unreadable` says why the entry, its request or its
    incident could not be read: it is given up without a try, and only its ids are valid.
    """

    entry_id: int
    step: Step
    attempt: int
    fence: int
    began_at: datetime
    claimed_at: datetime
    give_up_at: datetime | None
    leases_lost: int
    unreadable: str | None = None

    @property
    def about(self) -> dict[str, str]:
        """What it is about, for the log."""
        return {}

    @property
    def traceparent(self) -> str | None:
        """The trace that it belongs to."""
        return None

    @property
    def key(self) -> tuple[int, int]:
        """No other claim, of whichever worker, has the same."""
        return self.entry_id, self.fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Lease):
    """A lease on what is owed for a request, which is here as it was when it was claimed.

    `held_too_long`: its destination has been out for longer than an entry is held; it is to be given up untried.
    """

    request: ImageRequest
    held_too_long: bool = False

    @property
    def about(self) -> dict[str, str]:
        """The request's two ids."""
        return {"request_id": str(self.request.request_id), "correlation_id": str(self.request.correlation_id)}

    @property
    def traceparent(self) -> str | None:
        """The request's."""
        return self.request.traceparent


@dataclass(frozen=True, slots=True)
class Due:
    """The next entry of a step is due `after` so long: negative when overdue, None when there is none.

    `shut`: its destination takes nothing more now, so that further entries change nothing.
    """

    after: timedelta | None
    shut: bool = False


L = TypeVar("L", bound=Lease)


@dataclass(frozen=True, slots=True)
class Settlement(Generic[L]):
    """How a claim ended, and how long it took."""

    claim: L
    outcome: Outcome
    took: timedelta


class Leases:
    """What is the same for every kind of entry."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def next_due(self, step: Step) -> Due:
        """When there is something to claim."""
        async with self._database.reading() as connection:
            seconds = await connection.scalar(_NEXT_DUE, {"step": step.value})
        return Due(None if seconds is None else timedelta(seconds=float(seconds)))

    async def extend(self, claims: Sequence[Lease], lease: timedelta) -> None:
        """Hold claims for another lease, as far as they are still ours."""
        async with self._database.transaction(prepared=True) as connection:
            await connection.execute(_EXTEND, _keys(claims) | {"lease": lease.total_seconds()})

    async def release(self, claims: Sequence[Lease]) -> None:
        """Give claims back untried: due at once, the attempt not counted."""
        async with self._database.transaction() as connection:
            await connection.execute(_RELEASE, _keys(claims))


def claim_parameters(step: Step, limit: int, lease: timedelta, owner: str) -> dict[str, Any]:
    """What `CLAIM` asks for; `older_than`, in seconds, may replace None."""
    return {
        "step": step.value,
        "limit": limit,
        "lease": lease.total_seconds(),
        "owner": owner,
        "older_than": None,
    }


def lease_fields(row: Row[Any], step: Step) -> dict[str, Any]:
    """The fields of a `Lease` from a row of `CLAIM`."""
    found = {name: getattr(row, name) for name in Lease.__slots__ if name not in {"step", "unreadable"}}
    if wrong := out_of_range(row):
        found |= {"began_at": row.claimed_at, "give_up_at": None, "unreadable": _far_off(wrong)}
    return found | {"step": step}


async def write(connection: AsyncConnection, settlements: Sequence[Settlement[L]]) -> set[tuple[int, int]]:
    """Write how tries ended; returns the keys of the claims that still held their entries."""
    rows = [_row(s) for s in settlements]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {(row.id, row.fence) for row in await connection.execute(_WRITE, columns)}


def _far_off(columns: Sequence[str]) -> str:
    return f"The entry or its request has a time before the year 1 or after the year 9999: {', '.join(columns)}."


def _keys(claims: Sequence[Lease]) -> dict[str, Any]:
    return {"id": [c.entry_id for c in claims], "fence": [c.fence for c in claims]}


def _row(settlement: Settlement[L]) -> dict[str, Any]:
    outcome = settlement.outcome
    error = None if isinstance(outcome, Done) else outcome.error
    return {
        "id": settlement.claim.entry_id,
        "fence": settlement.claim.fence,
        "state": {Done: "done", Retry: "pending", Dead: "dead", Held: "pending"}[type(outcome)],
        "outcome": type(outcome).__name__.lower(),
        "due_at": outcome.at if isinstance(outcome, Retry | Held) else None,
        "number": settlement.claim.attempt,
        "seconds": settlement.took.total_seconds(),
        "http_status": error.http_status if error else None,
        "error_code": error.code if error else None,
        "detail": error.detail[:DETAIL_MAX] if error else None,
    }
