"""Executions, people and sweeps that meet at one generation: one start, the first job, and no deadlock."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest

from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.generation import Ask, Decision, GenerationAnswer, GenerationPolicy, NamedJob, ProviderJob
from aigen_bridge.domain.outbox import Advance, Done, Settlement
from aigen_bridge.domain.request import NewRequest, Status, Step
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.store.database import Database
from aigen_bridge.store.generations import Generations
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from meeting import OpenTransaction, waits_or_is_through
from outages import rows, write

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
REQUEST, CORRELATION = UUID(int=1, version=4), UUID(int=2, version=4)
AT_ONCE = 20
GENERATION = """
    SELECT r.status, g.state, g.execution_id, g.job->>'job_id', g.doubts, g.resumes, g.is_resuming,
        (SELECT array_agg(status ORDER BY version) FROM request_changes),
        (SELECT array_agg(step ORDER BY id) FROM outbox WHERE state = 'pending' AND request_id = r.request_id),
        (SELECT array_agg(job_id || '/' || is_other ORDER BY job_id) FROM provider_jobs)
    FROM requests AS r LEFT JOIN generations AS g USING (request_id)
"""
Writer = Callable[[Database], Awaitable[Any]]


async def ask(database: Database, execution: str = "second", key: str | None = None) -> GenerationAnswer:
    asked = Ask(correlation_id=CORRELATION, execution_id=execution, key=key)
    return await Generations(database, DEADLINES, GenerationPolicy()).ask(REQUEST, asked)


async def name(database: Database, execution: str = "first") -> GenerationAnswer:
    """The job has the name of its execution."""
    job = ProviderJob(provider="fal", job_id=execution)
    named = NamedJob(correlation_id=CORRELATION, execution_id=execution, job=job)
    return await Generations(database, DEADLINES, GenerationPolicy()).name_job(REQUEST, named)


async def name_another(database: Database) -> None:
    await name(database, "second")


async def silence(database: Database) -> None:
    await Generations(database, DEADLINES, GenerationPolicy()).end_quiet()


async def cancelling(database: Database) -> None:
    with suppress(ContradictionError):  # it was cancelled before
        await cancel(Requests(database, DEADLINES, PostgresImages(database)), REQUEST, by="odoo")


WRITERS: tuple[Writer, ...] = (ask, name, name_another, silence, cancelling)


async def begin(database: Database) -> None:
    """A request that N8N has taken, and nothing else."""
    await write(database, "DELETE FROM requests")
    new = NewRequest(REQUEST, CORRELATION, {"prompt": "a lighthouse"})
    await Requests(database, DEADLINES, PostgresImages(database)).accept(new)
    outbox = Outbox(database, DEADLINES, PostgresImages(database))
    [claim] = await outbox.claim(Step.DISPATCH, limit=1, lease=timedelta(minutes=1), owner=str(uuid4()))
    await outbox.settle(Settlement(claim, Done(Advance(Status.DISPATCHED, speaks=True)), timedelta(0)))


async def begin_with_a_silent_grant(database: Database) -> None:
    await begin(database)
    await ask(database, "first")
    await write(database, "UPDATE generations SET quiet_until = now() - interval '1 second'")
    await Generations(database, DEADLINES, GenerationPolicy()).beat()
    await write(database, "UPDATE api_beats SET since = now() - interval '1 hour'")


async def one_after_the_other(database: Database, first: Writer, second: Writer) -> list[tuple[Any, ...]]:
    await begin_with_a_silent_grant(database)
    await first(database)
    await second(database)
    return await rows(database, GENERATION)


async def at_once(database: Database, first: Writer, second: Writer) -> list[tuple[Any, ...]]:
    """The second one meets the open transaction of the first."""
    await begin_with_a_silent_grant(database)
    async with database.transaction() as connection:
        await first(OpenTransaction(connection))
        meeting = asyncio.ensure_future(second(database))
        await waits_or_is_through(database, meeting)
    await meeting
    return await rows(database, GENERATION)


@pytest.mark.parametrize("first", WRITERS, ids=lambda writer: writer.__name__)
async def test_who_meets_another_writer_does_what_he_would_have_done_before_or_after_him(
    database: Database, first: Writer
) -> None:
    for second in WRITERS:
        async with asyncio.timeout(20):
            found = await at_once(database, first, second)
            orders = [await one_after_the_other(database, first, second)]
        if second is silence:  # a sweep passes over what is locked, and comes again
            async with asyncio.timeout(20):
                await begin_with_a_silent_grant(database)
                await first(database)
                orders.append(await rows(database, GENERATION))
        assert found in orders, f"{first.__name__}, then {second.__name__}"


async def test_of_many_executions_that_ask_at_once_one_starts_and_the_others_wait(database: Database) -> None:
    await begin(database)
    asks = [ask(database, f"execution {number}", "key") for number in range(AT_ONCE)]
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*asks)

    decisions = [answer.decision for answer in answers]
    assert sorted(decisions) == [Decision.START, *[Decision.WAIT] * (AT_ONCE - 1)]
    [holder] = await rows(database, "SELECT execution_id FROM generations")
    assert holder == (f"execution {decisions.index(Decision.START)}",)


async def test_of_many_jobs_that_are_named_at_once_one_is_the_first_for_all_of_them(database: Database) -> None:
    await begin(database)
    async with asyncio.timeout(20):
        answers = await asyncio.gather(*(name(database, f"execution {number}") for number in range(AT_ONCE)))

    assert sum(answer.is_other_job for answer in answers) == AT_ONCE - 1
    [(first,)] = await rows(database, "SELECT job->>'job_id' FROM generations")
    assert {answer.job.job_id for answer in answers if answer.job} == {first}
    [counted] = await rows(database, "SELECT count(*), count(*) FILTER (WHERE is_other) FROM provider_jobs")
    assert counted == (AT_ONCE, AT_ONCE - 1)


async def test_asks_jobs_sweeps_and_a_person_who_meet_all_at_once_leave_one_grant_and_one_job(
    database: Database,
) -> None:
    for with_jobs, with_cancel in product([False, True], repeat=2):
        await begin_with_a_silent_grant(database)
        asks = [ask(database, f"execution {number}") for number in range(AT_ONCE // 2)]
        others = [silence(database) for _ in range(4)]
        others += [name(database, f"execution {number}") for number in range(4 * with_jobs)]
        others += [cancelling(database) for _ in range(with_cancel)]
        async with asyncio.timeout(20):
            answers = (await asyncio.gather(*asks, *others))[: len(asks)]

        starts = [answer for answer in answers if answer.decision is Decision.START]
        assert len(starts) <= 1
        [(status, state, *_)] = await rows(database, GENERATION)
        assert (status == "cancelled") == with_cancel
        if with_jobs:
            assert state == "running"
            assert await rows(database, "SELECT count(*) FROM provider_jobs WHERE NOT is_other") == [(1,)]
