"""The ledger in PostgreSQL: settles requests, sums what was spent, and counts the usage of budgets from its rows.

Triggers note in `unsettled` which requests changed, whoever changed them. A settling locks these requests, so it sees
all that was committed and nobody else settles them. Lock order: requests by id, budgets (shared), usage by budget and
period, incidents.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.contracts.models import estimated_cost
from aigen_bridge.domain.budget import UnknownTimeZoneError
from aigen_bridge.domain.facts import CostBasis
from aigen_bridge.domain.generation import Generation, State
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.ledger import ABSURD, Entry, EntryKind, Job, Known, account, may_be_paid, settle
from aigen_bridge.domain.money import Money, Rates, parse_amount, parse_currency
from aigen_bridge.domain.request import FINAL, FailedBy, FailureCode, Status
from aigen_bridge.domain.usage import GroupBy, UsageFilter, Used
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database, after_commit

BATCH = 100
"""Rows of `unsettled` that are settled in one transaction."""

PERIOD_START = """
    CASE b.period WHEN 'total' THEN timestamptz '1970-01-01 00:00:00Z'
        ELSE date_trunc(b.period, CAST({at} AS timestamptz), b.time_zone) END
"""
"""SQL: the beginning of the period of `budgets AS b` that has the time `at`. `total` begins before every request."""

_MATCHES = """
    (b.odoo IS NULL OR b.odoo = l.odoo) AND (b.user_id IS NULL OR b.user_id = l.user_id)
    AND (b.campaign_id IS NULL OR b.campaign_id = l.campaign_id)
    AND (b.model_id IS NULL OR b.model_id = l.model_id)
"""
"""SQL: whether the budget `b` counts the entry `l`."""

_ADDED = """
    coalesce(sum(CASE l.currency WHEN b.currency THEN l.spent
        ELSE round(l.spent * CAST(l.rates ->> b.currency AS numeric), 9) END), 0) AS spent,
    coalesce(sum(CASE l.currency WHEN b.currency THEN l.reserved
        ELSE round(l.reserved * CAST(l.rates ->> b.currency AS numeric), 9) END), 0) AS reserved
"""
"""SQL: what entries `l` add to the budget `b`; nothing without a rate. Each is rounded alone, whatever their order."""

_UNSETTLED = text("SELECT id, request_id FROM unsettled WHERE id > :after ORDER BY id LIMIT :batch")

_LOCK = text("""
    SELECT request_id FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))
    ORDER BY request_id FOR NO KEY UPDATE SKIP LOCKED
""")

_EXISTING = text("SELECT request_id FROM requests WHERE request_id = ANY (CAST(:request_id AS uuid[]))")

_FORGET = text("DELETE FROM unsettled WHERE id = ANY (CAST(:id AS bigint[]))")

# `request_changes` tells how often an operator sent the request again, whatever version of the bridge did it.
_READ = text("""
    SELECT r.request_id, r.odoo, r.status, r.failed_by, r.error_code, r.created_at, r.dispatched_at, r.model, r.cost,
        r.generation_facts, r.image IS NOT NULL AS has_image, r.awaited IS NOT NULL AS is_awaited,
        r.event ->> 'userId' AS user_id, r.event ->> 'campaignId' AS campaign_id, r.event ->> 'modelId' AS model_id,
        r.event ->> 'resolution' AS resolution,
        g.state, g.doubts, g.job, s.replays, s.replayed_at, s.replayed_version, s.is_by_hand
    FROM requests AS r LEFT JOIN generations AS g ON g.request_id = r.request_id, LATERAL (
        SELECT count(*) FILTER (WHERE is_replay) AS replays, max(at) FILTER (WHERE is_replay) AS replayed_at,
            max(version) FILTER (WHERE is_replay) AS replayed_version,
            coalesce(bool_or(note LIKE 'completed by hand by %'), false) AS is_by_hand
        FROM (
            SELECT status, version, at, note,
                status = 'queued' AND lag(status) OVER (ORDER BY version) = 'failed' AS is_replay
            FROM request_changes WHERE request_id = r.request_id
        ) AS changes
    ) AS s
    WHERE r.request_id = ANY (CAST(:request_id AS uuid[])) AND (
        r.model IS NOT NULL OR r.cost IS NOT NULL OR EXISTS (SELECT FROM ledger AS l WHERE l.request_id = r.request_id)
    )
    ORDER BY r.request_id
""")

_JOBS = text("""
    SELECT request_id, provider, job_id, is_other, named_at, ended_at FROM provider_jobs
    WHERE request_id = ANY (CAST(:request_id AS uuid[])) ORDER BY id
""")

_ENTRIES = text("""
    SELECT request_id, kind, charge, reserved, spent, currency, rates, basis, images, failures, note FROM ledger
    WHERE request_id = ANY (CAST(:request_id AS uuid[])) ORDER BY id
""")

HOLD_BUDGETS = text("SELECT pg_advisory_xact_lock_shared(hashtext('aigen-bridge budgets'))")
"""Keeps the budgets from being changed until the transaction ends."""

_ADD = text("""
    INSERT INTO ledger (
        request_id, odoo, user_id, campaign_id, model_id, accepted_at,
        kind, charge, reserved, spent, currency, rates, basis, images, failures, note
    )
    SELECT * FROM json_to_recordset(CAST(:entries AS json)) AS entries (
        request_id uuid, odoo text, user_id uuid, campaign_id uuid, model_id uuid, accepted_at timestamptz,
        kind text, charge text, reserved numeric, spent numeric, currency text, rates jsonb, basis text,
        images int, failures int, note text
    )
    RETURNING id
""")

# A past period without a row began before the budget was put or changed. It stays uncounted, because a part of its
# entries would be missing.
_COUNT = text(f"""
    INSERT INTO budget_usage AS u (budget_id, period_start, spent, reserved)
    SELECT b.id, p.start, {_ADDED}
    FROM ledger AS l JOIN budgets AS b ON {_MATCHES},
        LATERAL (SELECT {PERIOD_START.format(at="l.accepted_at")} AS start) AS p
    WHERE l.id = ANY (CAST(:id AS bigint[])) AND (l.spent <> 0 OR l.reserved <> 0) AND (
        p.start >= {PERIOD_START.format(at="now()")}
        OR EXISTS (SELECT FROM budget_usage AS k WHERE k.budget_id = b.id AND k.period_start = p.start)
    )
    GROUP BY b.id, p.start ORDER BY b.id, p.start
    ON CONFLICT (budget_id, period_start) DO UPDATE SET
        spent = u.spent + excluded.spent, reserved = u.reserved + excluded.reserved
""")  # noqa: S608 - constants of this module

_FORGET_USAGE = text("DELETE FROM budget_usage WHERE budget_id = ANY (CAST(:budget_id AS bigint[]))")

ACCEPTING = "10 minutes"
"""More than the longest time between the beginning of an accept, which decides its period, and its commit."""

# Where a day has two midnights, it begins with the second, after its first hour.
_RECOUNT = text(f"""
    INSERT INTO budget_usage (budget_id, period_start, spent, reserved)
    SELECT b.id, p.start, {_ADDED}
    FROM budgets AS b
        CROSS JOIN LATERAL (
            SELECT DISTINCT {PERIOD_START.format(at="t.at")} AS start
            FROM (VALUES (clock_timestamp()), (clock_timestamp() - interval '{ACCEPTING}')) AS t (at)
        ) AS p
        LEFT JOIN ledger AS l ON l.accepted_at >= p.start - interval '1 day'
            AND p.start = {PERIOD_START.format(at="l.accepted_at")}
            AND {_MATCHES} AND (l.spent <> 0 OR l.reserved <> 0)
    WHERE b.id = ANY (CAST(:budget_id AS bigint[]))
    GROUP BY b.id, p.start
""")  # noqa: S608 - constants of this module

log = structlog.get_logger(__name__)


_KEYS: Mapping[GroupBy | None, str] = {
    None: "CAST(NULL AS text)",
    GroupBy.USER: "user_id",
    GroupBy.CAMPAIGN: "campaign_id",
    GroupBy.MODEL: "model_id",
    GroupBy.DAY: "CAST(accepted_at AT TIME ZONE :time_zone AS date)",
    GroupBy.ODOO: "odoo",
}

_KNOWN_TIME_ZONE = text("SELECT EXISTS (SELECT FROM pg_timezone_names WHERE name = :time_zone)")
_USAGE = """
    SELECT CAST(key AS text) AS key, currency, spent, estimated, reserved, images, failures
    FROM (
        SELECT {key} AS key, currency, sum(spent) AS spent, sum(reserved) AS reserved, sum(images) AS images,
            coalesce(sum(spent) FILTER (WHERE basis = :estimated), 0) AS estimated, sum(failures) AS failures
        FROM ledger
        WHERE accepted_at >= :since AND accepted_at < :until {of_odoo}
        GROUP BY 1, 2
    ) AS used
    ORDER BY CAST(key AS text) COLLATE "C" NULLS LAST, currency COLLATE "C" NULLS LAST
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """What a settling did. `last` is the id of the last row of `unsettled` that it read, `number` how many it read.

    `absurd` are the costs that people are told of.
    """

    last: int
    number: int
    absurd: Sequence[Occurrence] = ()


@dataclass(frozen=True, slots=True)
class Booked:
    """What was added to the ledger.

    `absurd` are costs that the caller records as incidents at the end of the transaction. `left` are the requests that
    could not be settled because of a bug.
    """

    absurd: list[Occurrence] = field(default_factory=list)
    left: set[UUID] = field(default_factory=set)


class Ledger:
    """The ledger. `rates` are the exchange rates that new entries record."""

    def __init__(self, database: Database, rates: Rates, alert_window: timedelta) -> None:
        self._database = database
        self._rates = rates
        self._alert_window = alert_window

    async def settle(self, after: int = 0) -> Settled:
        """Settles the requests that changed, at most `BATCH`, from the row after this one.

        Safe to run in every worker at once: requests that others have locked stay unsettled, and are found again.
        """
        async with self._database.transaction() as connection:
            rows = (await connection.execute(_UNSETTLED, {"after": after, "batch": BATCH})).all()
            if not rows:
                return Settled(last=after, number=0)
            changed = {"request_id": list({row.request_id for row in rows})}
            locked = set((await connection.execute(_LOCK, changed)).scalars())
            existing = locked | set((await connection.execute(_EXISTING, changed)).scalars())
            booked = await settle_locked(connection, locked, self._rates)
            left = (existing - locked) | booked.left
            await connection.execute(_FORGET, {"id": [row.id for row in rows if row.request_id not in left]})
            await incidents.record(connection, booked.absurd, self._alert_window)
        return Settled(last=rows[-1].id, number=len(rows), absurd=booked.absurd)

    async def usage(self, wanted: UsageFilter) -> list[Used]:
        """Returns what was used, sorted by key, then by currency. Raises `UnknownTimeZoneError`."""
        # a condition that all rows meet would make PostgreSQL expect few, and sort them on disk
        of_odoo = "AND odoo = :odoo" if wanted.odoo is not None else ""
        statement = text(_USAGE.format(key=_KEYS[wanted.group_by], of_odoo=of_odoo))
        parameters = {
            "since": wanted.since,
            "until": wanted.until,
            "odoo": wanted.odoo,
            "time_zone": wanted.time_zone,
            "estimated": CostBasis.ESTIMATED.value,
        }
        named = {name: value for name, value in parameters.items() if f":{name}" in statement.text}
        async with self._database.reading(patient=True) as connection:
            if "time_zone" in named:
                await check_time_zone(connection, wanted.time_zone)
            rows = (await connection.execute(statement, named)).all()
        return [Used(**row._asdict()) for row in rows]


async def check_time_zone(connection: AsyncConnection, time_zone: str) -> None:
    """Raises `UnknownTimeZoneError` for a name that Python knows and PostgreSQL does not. Each has its own list."""
    if not await connection.scalar(_KNOWN_TIME_ZONE, {"time_zone": time_zone}):
        raise UnknownTimeZoneError(time_zone)


async def settle_locked(connection: AsyncConnection, request_ids: Iterable[UUID], rates: Rates) -> Booked:
    """Adds what the ledger lacks of these requests, which an earlier statement has locked."""
    wanted = {"request_id": list(request_ids)}
    found = (await connection.execute(_READ, wanted)).all()
    if not found:
        return Booked()
    jobs, entries = await _by_request(connection, _JOBS, wanted), await _by_request(connection, _ENTRIES, wanted)
    booked, lines = Booked(), []
    for row in found:
        try:
            known = _known(row, jobs.get(row.request_id, ()))
            missing = settle(account([_entry(each) for each in entries.get(row.request_id, ())]), known, rates)
        except Exception:  # a bug must not keep other requests from being settled
            log.exception("ledger.bug", request_id=str(row.request_id))
            booked.left.add(row.request_id)
            continue
        lines += [_line(row, entry) for entry in missing]
        booked.absurd.extend(_absurd(row.request_id, entry, known) for entry in missing if entry.note == ABSURD)
    if lines:
        await _add(connection, lines)
    return booked


async def _add(connection: AsyncConnection, lines: Sequence[Mapping[str, Any]]) -> None:
    """Adds entries, and counts them in the usage of the budgets."""
    await connection.execute(HOLD_BUDGETS)
    ids = list((await connection.execute(_ADD, {"entries": json.dumps(lines, default=str)})).scalars())
    await connection.execute(_COUNT, {"id": ids})
    after_commit(connection, partial(_count, [line["kind"] for line in lines]))


async def recompute(connection: AsyncConnection, budget_ids: Sequence[int]) -> None:
    """Counts the usage of these budgets in their current periods anew from the ledger, and forgets earlier periods.

    The caller holds the exclusive lock of the budgets. While it waited for the lock, a period may have begun. An accept
    that waits for it now may have begun in the period before, so that one is counted too, for a short time.
    """
    await connection.execute(_FORGET_USAGE, {"budget_id": list(budget_ids)})
    await connection.execute(_RECOUNT, {"budget_id": list(budget_ids)})


async def _by_request(
    connection: AsyncConnection, statement: Any, wanted: Mapping[str, Any]
) -> dict[UUID, list[Row[Any]]]:
    grouped: dict[UUID, list[Row[Any]]] = {}
    for row in await connection.execute(statement, wanted):
        grouped.setdefault(row.request_id, []).append(row)
    return grouped


def _known(row: Row[Any], jobs: Sequence[Row[Any]]) -> Known:
    status = Status(row.status)
    reported, basis = _reported(row)
    generation = _generation(row)
    return Known(
        sending=1 + row.replays,
        is_over=status in FINAL or status is Status.RECEIVED,
        has_image=row.has_image,
        is_failed=status is Status.FAILED,
        may_be_paid=may_be_paid(generation, was_dispatched=_was_dispatched(row), is_made=_is_made(row, status)),
        is_doubtful=generation is not None and generation.doubts > 0,
        estimate=estimated_cost(row.model, {"resolution": row.resolution}),
        jobs=[_job(each, row) for each in jobs],
        reported=reported,
        basis=basis,
        reported_job=_reported_job(row.generation_facts),
    )


def _generation(row: Row[Any]) -> Generation | None:
    return Generation(state=State(row.state), doubts=row.doubts) if row.state is not None else None


def _was_dispatched(row: Row[Any]) -> bool:
    """Returns whether N8N took the request the last time that it was sent."""
    is_acknowledged = row.dispatched_at is not None and (
        row.replayed_at is None or row.dispatched_at >= row.replayed_at
    )
    return is_acknowledged or row.failed_by == FailedBy.N8N


def _is_made(row: Row[Any], status: Status) -> bool:
    """Returns whether N8N made an image, even if it could not be fetched. One that a person uploaded does not count."""
    is_lost = row.error_code in {FailureCode.IMAGE_FETCH_FAILED, FailureCode.IMAGE_REJECTED}
    is_awaited = row.is_awaited and (status in {Status.RECEIVED, Status.CANCELLED} or is_lost)
    return (row.has_image and not row.is_by_hand) or is_awaited


def _job(job: Row[Any], row: Row[Any]) -> Job:
    goes_on = isinstance(row.job, dict) and (row.job.get("provider"), row.job.get("job_id")) == (
        job.provider,
        job.job_id,
    )
    return Job(
        provider=job.provider,
        job_id=job.job_id,
        is_unbilled=job.ended_at is not None,
        is_other=job.is_other,
        is_current=goes_on or row.replayed_at is None or job.named_at >= row.replayed_at,
    )


def _reported(row: Row[Any]) -> tuple[Money | None, str | None]:
    """Returns the cost that the last result named, and its basis. That of a result before a replay does not count."""
    cost = row.cost if isinstance(row.cost, dict) else {}
    amount, currency, version = (
        parse_amount(cost.get("amount")),
        parse_currency(cost.get("currency")),
        cost.get("version"),
    )
    is_older = isinstance(version, int) and version < (row.replayed_version or 0)
    if amount is None or currency is None or is_older:
        return None, None
    basis = CostBasis.BILLED if cost.get("basis") == CostBasis.BILLED else CostBasis.ESTIMATED
    return Money(amount, currency), basis


def _reported_job(facts: Any) -> tuple[str | None, str] | None:
    job_id = facts.get("job_id") if isinstance(facts, dict) else None
    return (facts.get("provider"), job_id) if isinstance(job_id, str) else None


def _entry(row: Row[Any]) -> Entry:
    values = {name: value for name, value in row._asdict().items() if name != "request_id"}
    return Entry(**values | {"kind": EntryKind(row.kind), "rates": tuple(sorted(row.rates.items()))})


def _line(row: Row[Any], entry: Entry) -> dict[str, Any]:
    """Returns the row of an entry. Amounts are texts, because JSON's numbers are not exact."""
    return {
        "request_id": row.request_id,
        "odoo": row.odoo,
        **{name: _uuid(getattr(row, name)) for name in ("user_id", "campaign_id", "model_id")},
        "accepted_at": row.created_at.isoformat(),
        "kind": entry.kind,
        "charge": entry.charge,
        "reserved": f"{entry.reserved:f}",
        "spent": f"{entry.spent:f}",
        "currency": entry.currency,
        "rates": dict(entry.rates),
        "basis": entry.basis,
        "images": entry.images,
        "failures": entry.failures,
        "note": entry.note,
    }


def _uuid(written: str | None) -> UUID | None:
    try:
        return UUID(written) if written else None
    except ValueError:
        return None


def _absurd(request_id: UUID, entry: Entry, known: Known) -> Occurrence:
    reported = Money(entry.spent, str(entry.currency))
    return Occurrence(
        Cause.COST_ABSURD, f"N8N reported a cost of {reported}; {known.estimate} was estimated.", request_id
    )


def _count(kinds: Sequence[EntryKind]) -> None:
    for kind in kinds:
        metrics.LEDGER_ENTRIES.labels(kind).inc()
