"""Leases on outbox entries: claims, extends and releases them, and records how attempts ended.

A claim is a lease. Its fence, which only increases, keeps a worker from settling an entry after losing its lease.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.outbox import Dead, Done, Due, Held, L, Lease, Retry, Settlement
from aigen_bridge.domain.queues import step_of
from aigen_bridge.domain.request import Step
from aigen_bridge.store.database import Database
from aigen_bridge.store.pauses import paused_time
from aigen_bridge.store.readable import out_of_range

DETAIL_MAX = 1000
"""Error details are truncated to this number of characters."""

_OLD = "now() - make_interval(secs => :older_than)"
_IS_DUE = f"""
    state = 'pending' AND due_at <= now() AND (
        CAST(:older_than AS float8) IS NULL
        OR (created_at <= {_OLD} AND created_at + {paused_time("CAST(:destination AS text)", "created_at")} <= {_OLD})
    )
"""

_DUE = f"""
    SELECT id, lease_owner, due_at FROM outbox WHERE step = :queue AND {_IS_DUE}
    ORDER BY due_at LIMIT :limit
    FOR UPDATE SKIP LOCKED
"""  # noqa: S608 - a constant of this module

# Takes turns: an entry's turn is its place in its queue, after those of the queue that are in progress. Each queue has
# an index scan of its own, so a long queue costs no more than a short one. `o` locks one entry after the other until
# there are enough, and looks at each again then, because others may have claimed it. As a join instead of a subquery,
# PostgreSQL might read all entries for it.
_DUE_IN_TURN = f"""
    SELECT o.id, o.lease_owner, o.due_at
    FROM (
        SELECT f.id FROM unnest(CAST(:queues AS text[]), CAST(:in_progress AS int[])) AS q (queue, in_progress),
            LATERAL (
                SELECT first.id, first.due_at, row_number() OVER (ORDER BY first.due_at) AS place
                FROM (
                    SELECT id, due_at FROM outbox WHERE step = q.queue AND {_IS_DUE} ORDER BY due_at LIMIT :limit
                ) AS first
            ) AS f
        ORDER BY q.in_progress + f.place, f.due_at
    ) AS turn,
        LATERAL (
            SELECT id, lease_owner, due_at FROM outbox WHERE id = turn.id AND {_IS_DUE} FOR UPDATE SKIP LOCKED
        ) AS o
    LIMIT :limit
"""  # noqa: S608 - a constant of this module

_CLAIM = """
    WITH due AS (
        {due}
    ), claimed AS (
        UPDATE outbox AS o SET
            due_at = now() + make_interval(secs => :lease),
            fence = o.fence + 1,
            attempts = o.attempts + 1,
            leases_lost = CASE WHEN due.lease_owner IS NULL THEN 0 ELSE o.leases_lost + 1 END,
            lease_owner = :owner
        FROM due WHERE o.id = due.id
        RETURNING o.id AS entry_id, o.request_id, o.incident_id, o.attempts AS attempt, o.fence,
            o.created_at + {paused} AS began_at, o.give_up_at, o.leases_lost, now() AS claimed_at
    ), recorded_lost_leases AS (
        INSERT INTO attempts (entry_id, fence, request_id, step, number, outcome, error_code, detail, started_at)
        SELECT c.entry_id, c.fence - 1, c.request_id, :step, c.attempt - 1, 'lost', 'lease_lost',
            'The worker ' || due.lease_owner || ' did not finish in time.',
            due.due_at - make_interval(secs => :lease)
        FROM claimed AS c JOIN due ON due.id = c.entry_id AND due.lease_owner IS NOT NULL
        ON CONFLICT (entry_id, fence) DO NOTHING
    )
"""
_PAUSED = paused_time("CAST(:destination AS text)", "o.created_at")
CLAIM, CLAIM_IN_TURN = (_CLAIM.format(due=due, paused=_PAUSED) for due in (_DUE, _DUE_IN_TURN))
"""Leases due entries: of one queue, the longest due first, or of several queues in turn. A SELECT on `claimed` has to
follow. The time for which the destination was paused does not count towards the age of an entry.

`due_at` of a leased entry is when its lease ends, so an entry whose worker died becomes due again. `SKIP LOCKED` keeps
workers from waiting for each other.
"""
CLAIMED = "c.entry_id, c.attempt, c.fence, c.began_at, c.claimed_at, c.give_up_at, c.leases_lost"
"""The columns of `claimed AS c` for a `Lease`."""

_NEXT_DUE = text("""
    SELECT extract(epoch FROM least(greatest(due_at, now() - interval '1 day'), now() + interval '1 day') - now())
    FROM unnest(CAST(:queues AS text[])) AS q (queue),
        LATERAL (SELECT min(due_at) AS due_at FROM outbox WHERE state = 'pending' AND step = q.queue) AS next
    WHERE due_at IS NOT NULL  -- greatest() ignores NULL: without a pending entry, one would seem to be overdue
    ORDER BY due_at LIMIT 1
""")

# Settles attempts whose fence is still that of the entry. `entries` locks the entries in order. An attempt is recorded
# even if others have ended its entry (a faster callback). It is recorded once, however often its settlement is sent:
# (entry, fence) is unique.
_SETTLE = text("""
    WITH settled AS (
        SELECT * FROM unnest(
            CAST(:id AS bigint[]), CAST(:fence AS bigint[]), CAST(:state AS text[]), CAST(:outcome AS text[]),
            CAST(:due_at AS timestamptz[]), CAST(:number AS int[]), CAST(:seconds AS float8[]),
            CAST(:http_status AS int[]), CAST(:error_code AS text[]), CAST(:detail AS text[])
        ) AS settled (id, fence, state, outcome, due_at, number, seconds, http_status, error_code, detail)
    ), entries AS (
        SELECT o.id, o.fence, o.request_id, o.step,
            o.state = 'pending' AND o.lease_owner IS NOT NULL AS is_leased
        FROM outbox AS o
        JOIN settled AS s ON o.id = s.id AND o.fence = s.fence
        ORDER BY o.id FOR NO KEY UPDATE OF o
    ), written AS (
        UPDATE outbox AS o SET
            state = s.state,
            due_at = coalesce(s.due_at, CASE s.outcome WHEN 'held' THEN now() ELSE o.due_at END),
            attempts = CASE s.outcome WHEN 'held' THEN 0 ELSE o.attempts END,  -- its schedule starts again
            finished_at = CASE WHEN s.state <> 'pending' THEN now() END,
            lease_owner = NULL,
            error_code = s.error_code,
            error_detail = s.detail
        FROM entries AS e JOIN settled AS s USING (id, fence)
        WHERE o.id = e.id AND e.is_leased
    ), recorded AS (
        INSERT INTO attempts
            (entry_id, fence, request_id, step, number, outcome, http_status, error_code, detail, started_at)
        SELECT e.id, e.fence, e.request_id, split_part(e.step, ':', 1), s.number, s.outcome, s.http_status,
            s.error_code, s.detail, now() - make_interval(secs => s.seconds)
        FROM entries AS e JOIN settled AS s USING (id, fence)
        ON CONFLICT (entry_id, fence) DO NOTHING
    )
    SELECT id, fence FROM entries WHERE is_leased
""")

# Skips entries that others have locked: they are ending them, and may wait for the next one, so this must not wait.
_OWN_LEASES = """
    WITH leased AS (
        SELECT o.id FROM outbox AS o
        JOIN unnest(CAST(:id AS bigint[]), CAST(:fence AS bigint[])) AS l (id, fence) USING (id, fence)
        WHERE o.state = 'pending' AND o.lease_owner IS NOT NULL
        FOR NO KEY UPDATE OF o SKIP LOCKED
    )
"""

_RELEASE = text(f"""
    {_OWN_LEASES}
    UPDATE outbox AS o SET due_at = now(), lease_owner = NULL, attempts = o.attempts - 1
    FROM leased WHERE o.id = leased.id
""")  # noqa: S608 - a constant of this module

_EXTEND = text(f"""
    {_OWN_LEASES}
    UPDATE outbox AS o SET due_at = now() + make_interval(secs => :lease)
    FROM leased WHERE o.id = leased.id
""")  # noqa: S608 - a constant of this module


class LeaseStore:
    """The operations on leases that are common to all steps."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def queues(self, lane: str) -> tuple[str, ...]:
        """Returns the queues from which a lane claims."""
        return (lane,)

    def limit(self, lane: str) -> int | None:  # noqa: ARG002 - see Outbox
        """Returns the limit that operators have set for the calls of a lane."""
        return None

    async def next_due(self, lane: str) -> Due:
        """Returns when the next entry of the lane is due."""
        async with self._database.reading() as connection:
            seconds = await connection.scalar(_NEXT_DUE, {"queues": list(self.queues(lane))})
        return Due(None if seconds is None else timedelta(seconds=float(seconds)))

    async def extend(self, claims: Sequence[Lease], lease: timedelta) -> None:
        """Extends those of these leases that have not been lost. They then end `lease` from now."""
        async with self._database.transaction(prepared=True) as connection:
            await connection.execute(_EXTEND, _keys(claims) | {"lease": lease.total_seconds()})

    async def release(self, claims: Sequence[Lease]) -> None:
        """Releases claims that were not tried. Their entries are due at once, and the attempt does not count."""
        async with self._database.transaction() as connection:
            await connection.execute(_RELEASE, _keys(claims))


def claim_parameters(
    queues: Sequence[str],
    limit: int,
    lease: timedelta,
    owner: str,
    in_progress: Collection[Lease] = (),
    destination: str | None = None,
) -> dict[str, Any]:
    """Returns the parameters of `CLAIM` for one queue, or of `CLAIM_IN_TURN` for several.

    `destination` is the name of what the queues are sent to, if it can be paused. `older_than`, the minimum age in
    seconds, is not set.
    """
    wanted = {
        "step": step_of(queues[0]).value,
        "limit": limit,
        "lease": lease.total_seconds(),
        "owner": owner,
        "older_than": None,
        "destination": destination,
    }
    if len(queues) == 1:
        return wanted | {"queue": queues[0]}
    busy = Counter(lease.queue for lease in in_progress)
    return wanted | {"queues": list(queues), "in_progress": [busy[queue] for queue in queues]}


def lease_fields(row: Row[Any], step: Step) -> dict[str, Any]:
    """Returns the fields of a `Lease` from a row of `CLAIM`."""
    fields = {
        "entry_id": row.entry_id,
        "step": step,
        "attempt": row.attempt,
        "fence": row.fence,
        "began_at": row.began_at,
        "claimed_at": row.claimed_at,
        "give_up_at": row.give_up_at,
        "leases_lost": row.leases_lost,
    }
    if columns := out_of_range(row):
        fields |= {"began_at": row.claimed_at, "give_up_at": None, "unreadable": _out_of_range_detail(columns)}
    return fields


async def settle_entries(connection: AsyncConnection, settlements: Sequence[Settlement[L]]) -> set[tuple[int, int]]:
    """Records how attempts ended. Returns the keys of the claims whose lease had not been lost."""
    rows = [_row(settlement) for settlement in settlements]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    return {(row.id, row.fence) for row in await connection.execute(_SETTLE, columns)}


def _out_of_range_detail(columns: Sequence[str]) -> str:
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
