"""Measures the hops of requests: how long each took lately, and who waits longest in it."""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.overview import Hop, HopTimes, Wait
from aigen_bridge.domain.request import Status
from aigen_bridge.store.readable import AGE_MAX, since
from aigen_bridge.store.schema import ATTEMPTS_ARE_KEPT

FINISHED = 200
"""The number of requests, those that were delivered last within an hour, that tell how long each hop takes."""
EXAMINED = 1000
"""The most rows that are examined for those of one Odoo: its newest requests, and the oldest waiting ones of all."""

_RECENT = "delivered_at > now() - interval '1 hour' ORDER BY delivered_at DESC"
_TIMES = "created_at, dispatched_at, completed_at, delivered_at"
_NEWEST_FINISHED = f"SELECT {_TIMES} FROM requests WHERE {ATTEMPTS_ARE_KEPT} AND {_RECENT} LIMIT {FINISHED}"  # noqa: S608 - constants of this package
_NEWEST_FINISHED_OF_ODOO = f"""
    SELECT {_TIMES} FROM (
        SELECT {_TIMES} FROM requests WHERE odoo = :odoo AND created_at > now() - interval '2 hours'
        ORDER BY created_at DESC, request_id DESC LIMIT {EXAMINED}
    ) AS newest WHERE {_RECENT} LIMIT {FINISHED}
"""  # noqa: S608 - constants of this module


def _took(start: str, end: str) -> str:
    """Returns SQL for the time between two timestamps, which may be infinite."""
    start, end = (f"least(greatest({at}, now() - {AGE_MAX}), now())" for at in (start, end))
    return f"CAST(greatest(extract(epoch FROM {end} - {start}), 0) AS float8)"


_STAGES = {
    Hop.TO_N8N: ("created_at", "dispatched_at"),
    Hop.AT_N8N: ("dispatched_at", "completed_at"),
    Hop.TO_ODOO: ("completed_at", "delivered_at"),
}
_STAGE_ROWS = ", ".join(
    f"('{hop}', CASE WHEN {start} IS NOT NULL AND {end} IS NOT NULL THEN {_took(start, end)} END)"
    for hop, (start, end) in _STAGES.items()
)


def _hops(finished: str) -> TextClause:
    return text(f"""
        SELECT hop, count(*) AS counted, percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY seconds) AS seconds
        FROM ({finished}) AS finished, LATERAL (VALUES {_STAGE_ROWS}) AS took (hop, seconds)
        WHERE seconds IS NOT NULL GROUP BY hop
    """)  # noqa: S608 - constants of this module


_HOPS, _HOPS_OF_ODOO = _hops(_NEWEST_FINISHED), _hops(_NEWEST_FINISHED_OF_ODOO)

_WAITING_IN = {Status.QUEUED: Hop.TO_N8N, Status.DISPATCHED: Hop.AT_N8N, Status.RECEIVED: Hop.FETCH}
# `updated_at` of an open request is the time of its last transition.
_WAITS = text(f"""
    SELECT hop, request_id, waited
    FROM (VALUES {", ".join(f"('{status}', '{hop}')" for status, hop in _WAITING_IN.items())}) AS each (name, hop),
    LATERAL (
        SELECT request_id, {since("updated_at")} AS waited FROM (
            SELECT request_id, odoo, updated_at FROM requests WHERE status BETWEEN name AND name
            ORDER BY status DESC, created_at, request_id LIMIT :examined
        ) AS few WHERE odoo = coalesce(CAST(:odoo AS text), odoo) LIMIT 1
    ) AS first
    UNION ALL
    SELECT '{Hop.TO_ODOO}', request_id, {since("created_at")}
    FROM unnest(CAST(:deliveries AS text[])) AS queues (queue), LATERAL (
        SELECT request_id, created_at FROM outbox WHERE state = 'pending' AND step = queue AND due_at < now()
        ORDER BY due_at LIMIT 1
    ) AS first
""")  # noqa: S608 - constants of this package


async def hop_times(connection: AsyncConnection, odoo: str | None = None) -> tuple[HopTimes, ...]:
    """Returns how long each hop took for the requests that were delivered last within the hour."""
    found = await (connection.execute(_HOPS_OF_ODOO, {"odoo": odoo}) if odoo else connection.execute(_HOPS))
    rows = {Hop(row.hop): row for row in found}
    return tuple(
        HopTimes(hop, timedelta(seconds=row.seconds[0]), timedelta(seconds=row.seconds[1]), row.counted)
        for hop in _STAGES
        if (row := rows.get(hop))
    )


async def longest_waits(
    connection: AsyncConnection, deliveries: Sequence[str], odoo: str | None = None
) -> tuple[Wait, ...]:
    """Returns the request that has waited longest in each hop. `deliveries` are the queues of those to Odoo."""
    wanted = {"deliveries": list(deliveries), "odoo": odoo, "examined": EXAMINED if odoo else 1}
    rows = await connection.execute(_WAITS, wanted)
    longest: dict[Hop, Wait] = {}
    for row in rows:
        wait = Wait(Hop(row.hop), row.request_id, row.waited)
        if wait.hop not in longest or wait.waited > longest[wait.hop].waited:
            longest[wait.hop] = wait
    return tuple(longest.values())
