"""Records which N8N execution works on which request, and applies N8N's reports of failed executions."""

from collections.abc import Callable
from dataclasses import replace
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import RefusedCallback
from aigen_bridge.domain.execution import Reported, Standing, Verdict
from aigen_bridge.domain.generation import lose_holder
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.request import FailureCode, ImageRequest, Status, Transition
from aigen_bridge.store import generation_rows, incidents, quarantine, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.generation_rows import LockedGeneration
from aigen_bridge.store.transitions import Deadlines, LockedRequests

_NOTE = text("""
    INSERT INTO executions AS e (execution_id, request_id, version)
    SELECT :execution_id, request_id, version FROM requests WHERE request_id = :request_id
    ON CONFLICT (execution_id) DO UPDATE SET
        request_id = excluded.request_id,
        version = excluded.version,
        letter = CASE WHEN e.request_id = excluded.request_id THEN e.letter END,
        noted_at = now()
""")

_FIND = text("SELECT request_id, letter FROM executions WHERE execution_id = :execution_id")

_LAST_QUEUED = """
    SELECT coalesce(max(version), 1) FROM request_changes AS c WHERE c.request_id = r.request_id AND c.status = 'queued'
"""
NO_EXECUTION = f"""
    NOT EXISTS (SELECT FROM executions AS e WHERE e.request_id = r.request_id AND e.version >= ({_LAST_QUEUED}))
"""
"""SQL: no execution has asked about `requests AS r` since it was last queued."""
RESEND_COUNT = """(
    SELECT count(*) FROM request_changes AS q
    JOIN request_changes AS d ON d.request_id = q.request_id AND d.version = q.version - 1
    WHERE q.request_id = r.request_id AND q.status = 'queued' AND d.status = 'dispatched' AND q.version > (
        SELECT coalesce(max(version), 0) FROM request_changes AS f
        WHERE f.request_id = r.request_id AND f.status = 'failed'
    )
)"""
"""SQL for how often `requests AS r` was sent again since it was accepted or, after a failure, replayed."""

_STANDING = text(f"""
    SELECT (
        SELECT e.execution_id FROM executions AS e
        WHERE e.request_id = r.request_id AND e.version >= ({_LAST_QUEUED})
        ORDER BY e.noted_at DESC, e.execution_id DESC LIMIT 1
    ) AS latest, {RESEND_COUNT} AS resends
    FROM requests AS r WHERE r.request_id = :request_id
""")  # noqa: S608 - constants of this module

_COUNT_REPEAT = text("""
    UPDATE quarantine SET times_seen = times_seen + 1, seen_at = now() WHERE id = :letter RETURNING id
""")

_LINK_REPORT = text("""
    UPDATE executions SET letter = :letter WHERE execution_id = :execution_id AND request_id = :request_id
""")

Judge = Callable[[ImageRequest, Standing], Verdict]


class Executions:
    """N8N executions in PostgreSQL."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def note(self, execution_id: str, request_id: UUID) -> None:
        """Records which request an execution works on. If the id is known, the new request replaces the old one."""
        async with self._database.writing() as connection:
            await note(connection, execution_id, request_id)

    async def request_of(self, execution_id: str) -> UUID | None:
        """The request that an execution works on, as far as it was noted."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND, {"execution_id": execution_id})).one_or_none()
        return row.request_id if row else None

    async def report(self, report: RefusedCallback, execution_id: str, judge: Judge) -> Reported:
        """Stores N8N's report of a failed execution and applies what `judge` decides, in one transaction.

        A repeated report only increments a counter.
        """
        async with self._database.transaction() as connection:
            execution = (await connection.execute(_FIND, {"execution_id": execution_id})).one_or_none()
            request_id = report.request_id or (execution.request_id if execution else None)
            report = replace(report, request_id=request_id)
            if request_id is None:
                return await self._keep(connection, None, report, None)
            locked = await transitions.lock(connection, [request_id])
            execution = (await connection.execute(_FIND, {"execution_id": execution_id})).one_or_none()
            if known := await _count_repeat(connection, execution, request_id):
                return Reported(known, request_id, is_open=False, is_repeat=True)
            found = (await generation_rows.read(connection, [request_id])).get(request_id)
            verdict = await _judge(connection, found, execution_id, execution, judge) if found else None
            if found and verdict and verdict.ends_quiet:
                silent = {request_id: lose_holder(found.generation)}
                await generation_rows.write(connection, {request_id: found}, silent)
            kept = await self._keep(connection, locked, report, verdict)
            link = {"letter": kept.letter, "execution_id": execution_id, "request_id": request_id}
            await connection.execute(_LINK_REPORT, link)
            return kept

    async def _keep(
        self,
        connection: AsyncConnection,
        locked: LockedRequests | None,
        report: RefusedCallback,
        verdict: Verdict | None,
    ) -> Reported:
        transition = verdict.transition if verdict else None
        if locked and transition:  # decided while the request was locked, so it applies
            await locked.apply([transition], self._deadlines, records_incidents=False)
        is_open = verdict is None or verdict.needs_person
        state = "open" if is_open else "discarded" if transition is None else "replayed"
        letter = await quarantine.keep(connection, report, state)
        if is_open or transition:
            occurrence = _occurrence(report, letter, transition)
            await incidents.record(connection, [occurrence], self._deadlines.alert_window)
        return Reported(letter, report.request_id, is_open, transition)


async def note(connection: AsyncConnection, execution_id: str, request_id: UUID) -> None:
    """Records in this transaction which request an execution works on."""
    await connection.execute(_NOTE, {"execution_id": execution_id, "request_id": request_id})


async def _count_repeat(
    connection: AsyncConnection, execution: Row[tuple[UUID, int]] | None, request_id: UUID
) -> int | None:
    """Counts a repeated report and returns its number in quarantine; None if the report is the first."""
    if execution is None or execution.letter is None or execution.request_id != request_id:
        return None
    letter: int | None = await connection.scalar(_COUNT_REPEAT, {"letter": execution.letter})
    return letter


async def _judge(
    connection: AsyncConnection,
    found: LockedGeneration,
    execution_id: str,
    execution: Row[tuple[UUID, int]] | None,
    judge: Judge,
) -> Verdict:
    request_id, holder = found.request.request_id, found.generation.holder
    facts = (await connection.execute(_STANDING, {"request_id": request_id})).one()
    is_known = execution is not None and execution.request_id == request_id
    # An execution that never asked (an older workflow) but names the request is the latest unless another has asked.
    is_latest = facts.latest == execution_id if is_known else execution is None and facts.latest is None
    if holder is not None:  # others that asked only wait
        is_latest = execution_id == holder
    standing = Standing(is_known, is_latest, facts.resends, holds_generation=execution_id == holder)
    return judge(found.request, standing)


def _occurrence(report: RefusedCallback, letter: int, transition: Transition | None) -> Occurrence:
    if transition is None or transition.error_code == FailureCode.WORKFLOW_FAILED:
        return quarantine.occurrence(report, letter)
    detail = transition.note if transition.after is Status.QUEUED else f"callback-{letter}: {transition.error_message}"
    return Occurrence(Cause.EXECUTION_LOST, detail or "", transition.request_id)
