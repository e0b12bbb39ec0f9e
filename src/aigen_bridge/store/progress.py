"""Records progress reports in the usual case: one statement for all reports that arrive at once.

In the usual case the request is dispatched and its job is running, and a report only extends the quiet time.
`domain/generation.py` decides that; the statement writes only rows that are still in this state. The caller handles all
other reports, and those whose row another writer has locked.
"""

import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

from sqlalchemy import text

from aigen_bridge.domain import generation as rules
from aigen_bridge.domain.callback import is_wanted
from aigen_bridge.domain.generation import (
    Generation,
    GenerationAnswer,
    GenerationPolicy,
    Outcome,
    ProgressReport,
    ProviderJob,
    State,
)
from aigen_bridge.domain.request import ImageRequest, Status
from aigen_bridge.store.database import Database
from aigen_bridge.store.generation_rows import N8N_NOW, from_progress
from aigen_bridge.store.readable import FAR_PAST

REPORTS_MAX = 100
"""The most reports in one statement."""

_NOBODY = UUID(int=0)
_DISPATCHED = ImageRequest(
    request_id=_NOBODY,
    correlation_id=_NOBODY,
    event={},
    status=Status.DISPATCHED,
    version=1,
    created_at=FAR_PAST,
    updated_at=FAR_PAST,
)
"""A request in the usual case. Its ids, event, version and times decide nothing."""

# Locks the request first, like every writer of a generation, but does not wait for one that is locked: the other
# reports would wait, too. `quiet` is by the number of resumes; it has no value for a number that is not usual. The lock
# has no condition on the status, so that requests are found by their ids and not by an index of the status.
_EXTEND = text(f"""
    WITH wanted AS (
        SELECT * FROM json_to_recordset(CAST(:wanted AS json)) AS wanted (
            request_id uuid, correlation_id uuid, progress jsonb, quiet float8[]
        )
    ), locked AS (
        SELECT r.request_id, r.correlation_id, r.status = '{Status.DISPATCHED}' AND r.image IS NULL
            AND r.awaited IS NULL AND r.failed_by IS NULL AS is_usual
        FROM requests AS r WHERE r.request_id = ANY (CAST(:request_id AS uuid[]))
        FOR NO KEY UPDATE SKIP LOCKED
    )
    UPDATE generations AS g SET
        progress = w.progress,
        progress_at = now(),
        quiet_until = {N8N_NOW} + make_interval(secs => w.quiet[g.resumes + 1])
    FROM wanted AS w JOIN locked USING (request_id, correlation_id)
    WHERE locked.is_usual AND g.request_id = w.request_id AND g.request_id = ANY (CAST(:request_id AS uuid[]))
        AND g.state = '{State.RUNNING}' AND NOT g.is_resuming AND w.quiet[g.resumes + 1] IS NOT NULL
    RETURNING g.request_id, w.correlation_id
""")  # noqa: S608 - constants of this package


class UsualReports:
    """Writes the usual reports, by the `policy` of all generations."""

    def __init__(self, database: Database, policy: GenerationPolicy) -> None:
        self._database = database
        self._policy = policy
        job = ProviderJob(provider="", job_id="")
        self._running = [Generation(state=State.RUNNING, job=job, resumes=n) for n in range(policy.resumes + 1)]

    async def write(self, reports: Sequence[tuple[UUID, ProgressReport]]) -> list[GenerationAnswer | None]:
        """Writes the last report of each request. Returns the answers, None where it is not the usual case."""
        keys = [(request_id, report.correlation_id) for request_id, report in reports]
        last = dict(zip(keys, (report for _, report in reports), strict=True))
        parameters = {
            "request_id": [request_id for request_id, _ in last],
            "wanted": json.dumps([self._row(*key, report) for key, report in last.items()], default=str),
        }
        async with self._database.writing() as connection:
            written = {tuple(row) for row in await connection.execute(_EXTEND, parameters)}
        return [_answer(key[0]) if key in written else None for key in keys]

    def _row(self, request_id: UUID, correlation_id: UUID, report: ProgressReport) -> dict[str, Any]:
        return {
            "request_id": request_id,
            "correlation_id": correlation_id,
            "progress": from_progress(report.progress),
            "quiet": [self._quiet(generation, report) for generation in self._running],
        }

    def _quiet(self, running: Generation, report: ProgressReport) -> float | None:
        """Returns the quiet time in seconds; None if the report changes anything else."""
        outcome = rules.report_progress(running, _DISPATCHED, report, self._policy)
        if outcome.quiet is None or outcome != Outcome(generation=running, quiet=outcome.quiet):
            return None
        return outcome.quiet.total_seconds()


def _answer(request_id: UUID) -> GenerationAnswer:
    return GenerationAnswer(request_id=request_id, status=_DISPATCHED.status, wanted=is_wanted(_DISPATCHED))
