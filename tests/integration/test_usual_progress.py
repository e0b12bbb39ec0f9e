"""Progress reports that share a statement: they write what the way with a lock writes, and wait for nobody."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.generation import GenerationAnswer, GenerationPolicy, Progress, ProgressReport, Stage
from aigen_bridge.domain.request import Status
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.store import progress, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.generations import Generations
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.progress import UsualReports
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from meeting import OpenTransaction, waits_or_is_through
from outages import rows, write

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
POLICY = GenerationPolicy(resumes=2)
CORRELATION = uuid4()
IMAGE = {"format": "png", "size": 1, "width": 64, "height": 64, "sha256": "a" * 64}
AWAITED = {"url": "https://image.test/1.png", "sha256": "a" * 64, "metadata": {}, "expires_at": None}
JOB = {"provider": "fal", "job_id": "1", "status_url": None, "response_url": None, "cancel_url": None}
REQUESTS: tuple[dict[str, Any], ...] = (
    {"status": "queued"},
    {"status": "dispatched"},
    {"status": "dispatched", "image": IMAGE},
    {"status": "received", "awaited": AWAITED},
    {"status": "completed", "image": IMAGE},
    {"status": "failed", "failed_by": "bridge"},
    {"status": "failed", "failed_by": "n8n"},
    {"status": "cancelled"},
)
STATES: tuple[dict[str, Any] | None, ...] = (
    None,
    {"state": "none"},
    {"state": "granted", "execution_id": "first"},
    {"state": "running", "execution_id": "first", "job": JOB},
    {"state": "doubtful", "doubts": 1},
)
INSERT = """
    WITH wanted AS (SELECT * FROM json_to_recordset(CAST(:wanted AS json)) AS wanted (
        request_id uuid, status text, failed_by text, image jsonb, awaited jsonb, state text, execution_id text,
        job jsonb, doubts int, resumes int, is_resuming bool
    )), inserted AS (
        INSERT INTO requests (request_id, correlation_id, event, version, status, failed_by, image, awaited,
            completed_at)
        SELECT request_id, :correlation_id, '{"prompt": "a lighthouse"}', 2, status, failed_by, image, awaited,
            CASE WHEN status IN ('completed', 'failed', 'cancelled') THEN now() END
        FROM wanted
    )
    INSERT INTO generations (request_id, state, execution_id, job, doubts, resumes, is_resuming, quiet_until)
    SELECT request_id, state, execution_id, job, coalesce(doubts, 0), resumes, is_resuming,
        CAST('2020-01-01Z' AS timestamptz)
    FROM wanted WHERE state IS NOT NULL
"""
STORED = """
    SELECT r.request_id, r.status, r.version, g.state, g.execution_id, g.job, g.doubts, g.resumes, g.is_resuming,
        g.is_suspended, g.progress, g.quiet_until - coalesce(g.progress_at, '2020-01-01Z'),
        (SELECT array_agg(status || coalesce(note, '') ORDER BY version) FROM request_changes AS c
            WHERE c.request_id = r.request_id),
        (SELECT count(*) FROM generation_changes AS c WHERE c.request_id = r.request_id)
    FROM requests AS r LEFT JOIN generations AS g USING (request_id)
"""

PERCENT = "SELECT request_id, CAST(progress->>'percent' AS float8) FROM generations"


def report(
    *, quiet_for: float | None = None, correlation_id: UUID = CORRELATION, percent: float = 40
) -> ProgressReport:
    return ProgressReport(
        correlation_id=correlation_id,
        execution_id="first",
        progress=Progress(stage=Stage.GENERATING, percent=percent),
        quiet_for=timedelta(seconds=quiet_for) if quiet_for else None,
    )


async def insert(database: Database, *wanted: dict[str, Any]) -> None:
    await write(database, INSERT, wanted=json.dumps(wanted, default=str), correlation_id=CORRELATION)


async def running(database: Database, **changed: Any) -> UUID:
    """Inserts a request whose job is running."""
    request_id = uuid4()
    usual = REQUESTS[1] | (STATES[3] or {}) | {"resumes": 0, "is_resuming": False}
    await insert(database, {"request_id": request_id} | usual | changed)
    return request_id


def generations(database: Database) -> Generations:
    return Generations(database, DEADLINES, POLICY)


def situations() -> Iterator[dict[str, Any]]:
    """Yields every kind of request with every kind of generation."""
    for request, state, resumes, is_resuming in product(REQUESTS, STATES, (0, 2, 3), (False, True)):
        yield request | (state or {}) | {"resumes": resumes, "is_resuming": is_resuming}


def is_usual(situation: dict[str, Any]) -> bool:
    known = (situation["status"], situation.get("state"), situation["is_resuming"], situation.get("image"))
    return known == ("dispatched", "running", False, None) and situation["resumes"] <= POLICY.resumes


async def test_what_shares_a_statement_writes_and_answers_what_a_lock_writes_and_answers(database: Database) -> None:
    locking, usual = generations(database), [each for each in situations() if is_usual(each)]
    for situation, quiet_for in product(usual, (None, 1, 100)):
        shared, locked = uuid4(), uuid4()
        await insert(database, *({"request_id": each} | situation for each in (shared, locked)))
        told = report(quiet_for=quiet_for)

        [answer] = await UsualReports(database, POLICY).write([(shared, told)])
        by_lock = await locking._report_locked(locked, told)

        assert answer == replace(by_lock, request_id=shared)
        stored = {row[0]: row[1:] for row in await rows(database, STORED)}
        assert stored[shared] == stored[locked], situation


async def test_what_is_not_usual_is_left_to_the_lock(database: Database) -> None:
    unusual = {uuid4(): each for each in situations() if not is_usual(each)}
    await insert(database, *({"request_id": request_id} | each for request_id, each in unusual.items()))
    before = await rows(database, STORED)

    answers = await UsualReports(database, POLICY).write([(request_id, report()) for request_id in unusual])

    assert answers == [None] * len(unusual)
    assert await rows(database, STORED) == before


async def test_reports_that_arrive_at_once_count_in_their_order_and_each_is_checked(database: Database) -> None:
    first, second = await running(database), await running(database)
    reporting = generations(database)
    calls = [
        reporting.report_progress(first, report(percent=10)),  # alone in the first statement
        reporting.report_progress(first, report(percent=20)),
        reporting.report_progress(second, report(percent=30)),
        reporting.report_progress(first, report(percent=40)),
        reporting.report_progress(first, report(percent=50, correlation_id=uuid4())),
    ]
    *answers, refused = await asyncio.gather(*calls, return_exceptions=True)

    assert [answer.wanted for answer in answers if isinstance(answer, GenerationAnswer)] == [True] * 4
    assert isinstance(refused, ContradictionError)
    assert dict(await rows(database, PERCENT)) == {first: 40, second: 30}


async def test_a_report_for_a_locked_request_delays_no_other(database: Database) -> None:
    held, free = await running(database), await running(database)
    reporting = generations(database)
    async with asyncio.timeout(20):
        async with database.transaction() as connection:
            await transitions.lock(connection, [held])
            waiting = asyncio.create_task(reporting.report_progress(held, report()))
            assert await waits_or_is_through(database, waiting)
            assert (await reporting.report_progress(free, report())).wanted
        assert (await waiting).wanted


async def cancelling(database: Database, request_id: UUID) -> None:
    await cancel(Requests(database, DEADLINES, PostgresImages(database)), request_id, by="odoo")


async def falling_silent(database: Database, request_id: UUID) -> None:
    change = "UPDATE generations SET quiet_until = now() - interval '1 second' WHERE request_id = :request_id"
    await write(database, change, request_id=request_id)
    await generations(database).end_quiet()


@pytest.mark.parametrize(("other", "wanted"), [(cancelling, False), (falling_silent, True)])
async def test_a_report_that_meets_a_cancel_or_a_sweep_comes_after_it(
    database: Database, other: Callable[[Database, UUID], Awaitable[None]], *, wanted: bool
) -> None:
    await generations(database).beat()
    await write(database, "UPDATE api_beats SET since = now() - interval '1 hour'")
    request_id = await running(database)
    async with asyncio.timeout(20):
        async with database.transaction() as connection:
            await other(OpenTransaction(connection), request_id)
            waiting = asyncio.create_task(generations(database).report_progress(request_id, report()))
            assert await waits_or_is_through(database, waiting)
        answer = await waiting

    [(status, is_resuming)] = await rows(
        database, "SELECT status, is_resuming FROM requests JOIN generations USING (request_id)"
    )
    assert (answer.wanted, is_resuming) == (wanted, False)
    assert status == (Status.DISPATCHED if wanted else Status.CANCELLED)


@pytest.mark.parametrize("other", [cancelling, falling_silent])
async def test_a_statement_that_began_before_the_commit_of_a_cancel_or_a_sweep_writes_nothing(
    database: Database, monkeypatch: pytest.MonkeyPatch, other: Callable[[Database, UUID], Awaitable[None]]
) -> None:
    """The statement waits for the test after it has taken its snapshot, and before it locks the request."""
    locks, waits = "FROM requests AS r WHERE", "(SELECT pg_advisory_xact_lock_shared(17)) IS NOT NULL AND"
    waiting_statement = str(progress._EXTEND).replace(locks, f"{locks} {waits}")
    assert waits in waiting_statement
    monkeypatch.setattr(progress, "_EXTEND", text(waiting_statement))
    await generations(database).beat()
    await write(database, "UPDATE api_beats SET since = now() - interval '1 hour'")
    request_id = await running(database)
    async with asyncio.timeout(20):
        async with database.transaction() as connection:
            await connection.execute(text("SELECT pg_advisory_xact_lock(17)"))
            writing = asyncio.create_task(UsualReports(database, POLICY).write([(request_id, report())]))
            assert await waits_or_is_through(database, writing)
            await other(database, request_id)
        assert await writing == [None]

    assert await rows(database, "SELECT progress FROM generations") == [(None,)]
