"""Counts requests by outcome, in buckets of time. A bucket counts at most so many of each status, to limit the cost."""

from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.overview import Counts, Outcome
from aigen_bridge.domain.request import FailedBy, Status


@dataclass(frozen=True, slots=True)
class Period:
    """The time until now, in `buckets` of `step`, in each of which at most `most` requests of a status are counted."""

    step: timedelta
    buckets: int
    most: int


HOUR = Period(timedelta(minutes=5), 12, most=10_000)
DAY = Period(timedelta(hours=1), 24, most=50_000)

_ENDED_OTHERWISE = tuple(status.value for status in Status if status is not Status.FAILED)

_IN_BUCKET = """created_at > now() - make_interval(secs => :step * (n + 1))
    AND created_at <= now() - make_interval(secs => :step * n)"""
_BUCKETS = "generate_series(0, CAST(:buckets AS int) - 1) AS bucket (n)"
# With one status in each branch, all but the failures are counted in the index alone.
_COUNTS = text(f"""
    SELECT n, status, NULL AS failed_by, counted
    FROM {_BUCKETS}, (VALUES {", ".join(f"('{status}')" for status in _ENDED_OTHERWISE)}) AS each (status),
    LATERAL (SELECT count(*) AS counted FROM (
        SELECT FROM requests AS r WHERE r.status = each.status AND {_IN_BUCKET}
        ORDER BY created_at DESC, request_id DESC LIMIT :most
    ) AS few) AS few_counted
    UNION ALL
    SELECT n, 'failed', failed_by, count(*)
    FROM {_BUCKETS}, LATERAL (
        SELECT failed_by FROM requests WHERE status = 'failed' AND {_IN_BUCKET}
        ORDER BY created_at DESC, request_id DESC LIMIT :most
    ) AS few
    GROUP BY n, failed_by
""")  # noqa: S608 - constants of this package
_COUNTS_OF_ODOO = text(f"""
    SELECT n, status, failed_by, count(*) AS counted
    FROM {_BUCKETS}, LATERAL (
        SELECT status, failed_by FROM requests WHERE odoo = :odoo AND {_IN_BUCKET}
        ORDER BY created_at DESC, request_id DESC LIMIT :most
    ) AS few
    GROUP BY n, status, failed_by
""")  # noqa: S608 - constants of this module

_OUTCOMES = {
    Status.COMPLETED: Outcome.COMPLETED,
    Status.CANCELLED: Outcome.CANCELLED,
    Status.QUEUED: Outcome.OPEN,
    Status.DISPATCHED: Outcome.OPEN,
    Status.RECEIVED: Outcome.OPEN,
}


async def count_outcomes(connection: AsyncConnection, period: Period, odoo: str | None = None) -> Counts:
    """Returns what became of the requests that were accepted in this period; with `odoo`, of those of this Odoo."""
    wanted = {"step": period.step.total_seconds(), "buckets": period.buckets, "most": period.most, "odoo": odoo}
    if odoo is None:
        del wanted["odoo"]
    rows = (await connection.execute(_COUNTS if odoo is None else _COUNTS_OF_ODOO, wanted)).all()
    buckets: list[Counter[Outcome]] = [Counter() for _ in range(period.buckets)]
    for row in rows:
        buckets[period.buckets - 1 - row.n][_outcome(row)] += row.counted
    return Counts(period.step, tuple(buckets), is_capped=any(row.counted >= period.most for row in rows))


def _outcome(row: Row[Any]) -> Outcome:
    if row.failed_by:
        return Outcome.FAILED_BY_BRIDGE if row.failed_by == FailedBy.BRIDGE else Outcome.FAILED_BY_N8N
    return _OUTCOMES[Status(row.status)]
