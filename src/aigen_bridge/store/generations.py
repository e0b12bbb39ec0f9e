"""Applies the events of generations: asks, named jobs, progress, silence.

Each event is one transaction. It locks the request first, like every writer of a request, so the rules of
`domain/generation.py` decide on what is committed. The row of a generation is written only by who has locked its
request. Usual progress reports share one statement that does the same (`store/progress.py`). Lock order: requests,
generations, outbox entries, incidents.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge import metrics
from aigen_bridge.domain import generation as rules
from aigen_bridge.domain.callback import is_wanted
from aigen_bridge.domain.errors import ContradictionError, UnknownRequestError
from aigen_bridge.domain.facts import Cost, CostBasis
from aigen_bridge.domain.generation import (
    Ask,
    Decision,
    GenerationAnswer,
    GenerationPolicy,
    GenerationView,
    NamedJob,
    Outcome,
    Progress,
    ProgressReport,
    Stage,
)
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.money import amount_text
from aigen_bridge.domain.request import ImageRequest, Status, Transition
from aigen_bridge.store import executions, incidents, transitions
from aigen_bridge.store.batching import Batcher
from aigen_bridge.store.database import Database, after_commit
from aigen_bridge.store.executions import RESEND_COUNT
from aigen_bridge.store.generation_rows import N8N_NOW, LockedGeneration, read, to_job, write
from aigen_bridge.store.progress import REPORTS_MAX, UsualReports
from aigen_bridge.store.transitions import Deadlines, LockedRequests

BATCH = 100
"""Silent generations handled in one transaction."""
BEAT_SECONDS = 1.0
"""The interval between the beats of an API process."""
BROKEN_AFTER = f"{BEAT_SECONDS * 3} seconds"
"""No beat for this time: API or database were away, and N8N could not be heard."""
_FIND = text(f"""
    SELECT r.request_id, g.job, g.progress, g.progress_at, {RESEND_COUNT} AS resent, ARRAY(
        SELECT jsonb_build_object(
            'amount', CAST(sum(l.spent) AS text), 'currency', l.currency,
            'basis', CASE WHEN sum(l.spent) FILTER (WHERE l.basis = 'estimated') <> 0 THEN 'estimated' ELSE 'billed' END
        )
        FROM ledger AS l WHERE l.request_id = r.request_id AND l.spent <> 0
        GROUP BY l.currency HAVING sum(l.spent) <> 0 ORDER BY l.currency
    ) AS charged
    FROM requests AS r LEFT JOIN generations AS g ON g.request_id = r.request_id
    WHERE r.request_id = ANY (CAST(:request_id AS uuid[]))
""")  # noqa: S608 - a constant of this package

_RECORD_JOB = text("""
    INSERT INTO provider_jobs (request_id, provider, job_id, execution_id, is_other)
    VALUES (:request_id, :provider, :job_id, :execution_id, :is_other)
    ON CONFLICT (request_id, provider, job_id) DO NOTHING
""")
_HAS_ENDED = text("""
    SELECT ended_at IS NOT NULL FROM provider_jobs
    WHERE request_id = :request_id AND provider = :provider AND job_id = :job_id
""")
_END_JOB = text("""
    UPDATE provider_jobs SET ended_at = now()
    WHERE request_id = :request_id AND provider = :provider AND job_id = :job_id AND ended_at IS NULL
""")

_FORGET = text("UPDATE generations SET quiet_until = NULL WHERE request_id = ANY (CAST(:request_id AS uuid[]))")

_BEAT = text(f"""
    INSERT INTO api_beats AS b (id) VALUES (1)
    ON CONFLICT (id) DO UPDATE SET
        since = CASE WHEN b.at < now() - interval '{BROKEN_AFTER}' THEN now() ELSE b.since END,
        at = now()
""")  # noqa: S608 - a constant of this module

# N8N cannot be heard while API or database are away, and needs a while to be heard again.
_LOCK_SILENT = text(f"""
    SELECT r.request_id FROM requests AS r
    WHERE r.request_id = ANY (ARRAY(
        SELECT g.request_id FROM generations AS g WHERE g.quiet_until < {N8N_NOW} ORDER BY g.quiet_until LIMIT :batch
    )) AND EXISTS (
        SELECT FROM api_beats AS b
        WHERE b.at > now() - interval '{BROKEN_AFTER}' AND b.since < now() - make_interval(secs => :silence)
    )
    ORDER BY r.request_id
    FOR NO KEY UPDATE SKIP LOCKED
""")  # noqa: S608 - constants of this module


class Generations:
    """Generations in PostgreSQL."""

    def __init__(self, database: Database, deadlines: Deadlines, policy: GenerationPolicy) -> None:
        self._database = database
        self._deadlines = deadlines
        self._policy = policy
        usual = UsualReports(database, policy)
        self._usual_reports = Batcher(usual.write, limit=REPORTS_MAX, timeout=database.timeout)

    async def ask(self, request_id: UUID, asked: Ask) -> GenerationAnswer:
        """Decides whether an execution may start the paid work, and records which request it works on."""

        async def decide(connection: AsyncConnection, found: LockedGeneration) -> Outcome:
            await executions.note(connection, asked.execution_id, request_id)
            return rules.ask(found.generation, found.request, asked, self._policy)

        return await self._take(request_id, asked.correlation_id, decide)

    async def name_job(self, request_id: UUID, named: NamedJob) -> GenerationAnswer:
        """Records the provider's job. The first one named wins."""
        key = {"request_id": request_id, "provider": named.job.provider, "job_id": named.job.job_id}

        async def decide(connection: AsyncConnection, found: LockedGeneration) -> Outcome:
            has_ended = bool(await connection.scalar(_HAS_ENDED, key))
            outcome = rules.name_job(found.generation, found.request, named, self._policy, has_ended=has_ended)
            row = key | {"execution_id": named.execution_id, "is_other": outcome.is_other_job}
            is_news = (await connection.execute(_RECORD_JOB, row)).rowcount > 0
            return outcome if is_news or not outcome.is_other_job else replace(outcome, note=None)

        return await self._take(request_id, named.correlation_id, decide)

    async def report_progress(self, request_id: UUID, report: ProgressReport) -> GenerationAnswer:
        """Records how far the job is. A final request stays as it is."""
        if answer := await self._usual_reports((request_id, report)):
            return answer
        return await self._report_locked(request_id, report)

    async def _report_locked(self, request_id: UUID, report: ProgressReport) -> GenerationAnswer:
        async def decide(_: AsyncConnection, found: LockedGeneration) -> Outcome:
            return rules.report_progress(found.generation, found.request, report, self._policy)

        return await self._take(request_id, report.correlation_id, decide, report.progress)

    async def _take(
        self,
        request_id: UUID,
        correlation_id: UUID,
        decide: Callable[[AsyncConnection, LockedGeneration], Awaitable[Outcome]],
        progress: Progress | None = None,
    ) -> GenerationAnswer:
        async with self._database.transaction(prepared=True) as connection:
            locked = await transitions.lock(connection, [request_id])
            found = (await read(connection, [request_id])).get(request_id)
            if found is None:
                raise UnknownRequestError(request_id)
            _check_correlation(found.request, correlation_id)
            outcome = await decide(connection, found)
            told = progress if outcome.quiet is not None else None
            await self._apply(connection, locked, {request_id: found}, {request_id: outcome}, progress=told)
            after_commit(connection, partial(_count, outcome))
        return _answer(found.request, outcome)

    async def suspend(self, request_id: UUID) -> None:
        """Ends the effects of silence: an image was refused, and a person decides."""
        async with self._database.transaction() as connection:
            await transitions.lock(connection, [request_id])
            found = (await read(connection, [request_id])).get(request_id)
            if found is not None:
                suspended = Outcome(generation=rules.suspend(found.generation))
                await write(connection, {request_id: found}, {request_id: suspended})

    async def find(self, request_ids: Sequence[UUID]) -> dict[UUID, GenerationView]:
        """Returns what callers see of the generations of these requests."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_FIND, {"request_id": list(request_ids)})).all()
        return {
            row.request_id: GenerationView(
                job=to_job(row.job),
                progress=_progress(row),
                resent=row.resent,
                charged=[_cost(charged) for charged in row.charged],
            )
            for row in rows
        }

    async def beat(self) -> None:
        """Records that this API can hear N8N, and the database can write it down."""
        async with self._database.writing() as connection:
            await connection.execute(_BEAT)

    async def end_quiet(self) -> list[tuple[UUID, str | None]]:
        """Handles generations whose quiet time is over, at most `BATCH`. Returns their requests, and what happened.

        Requests are sent again, or fail as `maybe_paid`; most have ended, and nothing happens. None is handled until
        API and database have been there for one silence.
        """
        wanted = {"batch": BATCH, "silence": self._policy.silence.total_seconds()}
        async with self._database.transaction() as connection:
            locked = await transitions.lock_selected(connection, _LOCK_SILENT, wanted)
            found = await read(connection, locked.request_ids)
            await _forget_unreadable(connection, set(locked.request_ids) - found.keys())
            silent = {request_id: each for request_id, each in found.items() if each.is_silent}
            outcomes = {
                request_id: rules.fall_silent(each.generation, each.request, self._policy)
                for request_id, each in silent.items()
            }
            await self._apply(connection, locked, silent, outcomes, is_silent=True)
        return [(request_id, outcome.note) for request_id, outcome in outcomes.items()]

    async def _apply(
        self,
        connection: AsyncConnection,
        locked: LockedRequests,
        found: Mapping[UUID, LockedGeneration],
        outcomes: Mapping[UUID, Outcome],
        *,
        progress: Progress | None = None,
        is_silent: bool = False,
    ) -> None:
        await write(connection, found, outcomes, progress=progress, is_silent=is_silent)
        for request_id, outcome in outcomes.items():
            if outcome.ended_job:
                key = {"provider": outcome.ended_job.provider, "job_id": outcome.ended_job.job_id}
                await connection.execute(_END_JOB, key | {"request_id": request_id})
        moved = [outcome.transition for outcome in outcomes.values() if outcome.transition]
        await locked.apply(moved, self._deadlines)
        again = [o for o in outcomes.values() if o.transition and o.transition.after is Status.QUEUED]
        lost = [_lost(o.transition) for o in again if o.transition and not o.generation.is_resuming]
        await incidents.record(connection, lost, self._deadlines.alert_window)  # going on with a job needs nobody
        after_commit(connection, partial(metrics.RESUMED.inc, len(again)))


def _lost(transition: Transition) -> Occurrence:
    return Occurrence(Cause.EXECUTION_LOST, transition.note or "", transition.request_id)


async def _forget_unreadable(connection: AsyncConnection, request_ids: Collection[UUID]) -> None:
    """Ends the quiet times of requests that cannot be read, which would otherwise be found at every sweep."""
    if request_ids:
        await connection.execute(_FORGET, {"request_id": list(request_ids)})


def _check_correlation(request: ImageRequest, correlation_id: UUID) -> None:
    if request.correlation_id != correlation_id:
        raise ContradictionError(
            "correlation_mismatch",
            f"Request {request.request_id} has the correlationId {request.correlation_id}, "
            f"the call says {correlation_id}.",
        )


def _answer(request: ImageRequest, outcome: Outcome) -> GenerationAnswer:
    is_known_needed = outcome.decision is Decision.RESUME or outcome.is_other_job
    return GenerationAnswer(
        request_id=request.request_id,
        status=outcome.transition.after if outcome.transition else request.status,
        wanted=is_wanted(request),
        decision=outcome.decision,
        job=outcome.generation.job if is_known_needed else None,
        is_other_job=outcome.is_other_job,
    )


def _cost(charged: Mapping[str, str]) -> Cost:
    amount, currency = amount_text(Decimal(charged["amount"])), charged["currency"]
    return Cost(amount=amount, currency=currency, basis=CostBasis(charged["basis"]))


def _progress(row: Row[Any]) -> Progress | None:
    """Returns the progress in this row; None for a stage that only a newer version knows."""
    stored = row.progress or {}
    if stored.get("stage") not in set(Stage):
        return None
    told = {name: stored.get(name) for name in ("queue_position", "percent", "message")}
    return Progress(stage=Stage(stored["stage"]), reported_at=row.progress_at, **told)


def _count(outcome: Outcome) -> None:
    if outcome.decision:
        metrics.GENERATIONS_ASKED.labels(outcome.decision.value).inc()
    if outcome.is_other_job and outcome.note:  # not named before
        metrics.OTHER_JOBS.inc()
