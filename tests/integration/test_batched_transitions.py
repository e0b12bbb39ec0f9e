"""Callbacks that arrive at once share reads and commits, and still each gets its own answer."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.request import FailedBy, FailureCode, NewRequest, Status, Transition, VersionedTransition
from aigen_bridge.store import transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed, report
from stage import Stage, make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


async def accept(requests: Requests, count: int) -> list[UUID]:
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(count)]
    await requests.accept_all(wanted)
    return [new.request_id for new in wanted]


def failing(request_id: UUID, why: str = "flagged") -> VersionedTransition:
    return VersionedTransition(
        request_id=request_id,
        version=1,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.N8N,
        error_message=why,
    )


async def test_of_two_transitions_of_one_request_in_a_batch_only_one_is_told_that_it_was_applied(
    requests: Requests,
) -> None:
    one, other = await accept(requests, 2)

    moved = await asyncio.gather(
        requests.apply_versioned(failing(one, "first")),
        requests.apply_versioned(failing(other)),
        requests.apply_versioned(failing(one, "second")),
    )

    found = await requests.get(one)
    assert found
    assert sorted(moved) == [False, True, True]
    assert moved[1]
    assert found.error_message == ("first" if moved[0] else "second")


async def test_results_that_contradict_each_other_at_the_same_moment_are_not_both_taken(
    idle_stage: Stage, png: bytes
) -> None:
    for _ in range(5):
        asked = await idle_stage.ask()
        events = [completed(asked, png), failed(asked), failed(asked, errorMessage="Another reason.")]
        answers = await asyncio.gather(*(report(idle_stage, event) for event in events))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409]


async def test_batches_of_several_processes_that_meet_do_not_block_each_other(database: Database) -> None:
    here, there = (Requests(database, DEADLINES, PostgresImages(database)) for _ in range(2))
    ids = await accept(here, 60)

    moved = await asyncio.gather(
        *(here.apply_versioned(failing(request_id)) for request_id in ids),
        *(there.apply_versioned(failing(request_id)) for request_id in reversed(ids)),
    )

    assert moved.count(True) == moved.count(False) == len(ids)


async def test_a_transition_that_had_to_wait_for_another_is_not_applied_on_top_of_it(
    requests: Requests, database: Database
) -> None:
    [request_id] = await accept(requests, 1)
    cancelled = Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        moving = asyncio.create_task(requests.apply_versioned(failing(request_id)))
        await somebody_waits(database)
        assert await locked.apply([cancelled], DEADLINES)

    assert await moving is False
    found = await requests.get(request_id)
    assert found
    assert (found.status, found.version) == (Status.CANCELLED, 2)


async def test_a_transition_that_had_to_wait_is_not_applied_where_all_looks_as_it_was_read(
    requests: Requests, database: Database
) -> None:
    """The request failed meanwhile and was replayed: queued again, with an entry that the transition never saw."""
    [request_id] = await accept(requests, 1)
    ours = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.DISPATCH_FAILED,
    )
    replayed = Transition(request_id=request_id, before=frozenset({Status.FAILED}), after=Status.QUEUED)
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        moving = asyncio.create_task(requests.apply_versioned(failing(request_id)))
        await somebody_waits(database)
        assert await locked.apply([ours], DEADLINES)
        assert await locked.apply([replayed], DEADLINES)

    assert await moving is False
    found = await requests.get(request_id)
    assert found
    assert (found.status, found.version) == (Status.QUEUED, 3)


async def test_a_transition_that_was_decided_on_an_older_version_is_not_applied_where_all_looks_as_it_was_read(
    requests: Requests,
) -> None:
    """As above, but all was over before it came: it waits for nobody."""
    [request_id] = await accept(requests, 1)
    ours = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.DISPATCH_FAILED,
    )
    replayed = Transition(request_id=request_id, before=frozenset({Status.FAILED}), after=Status.QUEUED)
    assert await requests.apply(ours)
    assert await requests.apply(replayed)

    assert await requests.apply_versioned(failing(request_id)) is False


async def test_a_transition_whose_next_step_others_just_enqueued_is_decided_again(
    requests: Requests, database: Database
) -> None:
    """As when an operator replays a delivery while a late callback waits: the version stays, the entry is new."""
    [request_id] = await accept(requests, 1)
    async with database.transaction() as connection:
        await transitions.lock(connection, [request_id])
        moving = asyncio.create_task(requests.apply_versioned(failing(request_id)))
        await somebody_waits(database)
        await connection.execute(
            text("INSERT INTO outbox (request_id, step) VALUES (:id, 'deliver')"), {"id": request_id}
        )

    assert await moving is False
    assert await requests.apply_versioned(failing(request_id))
    async with database.reading() as connection:
        live = await connection.execute(text("SELECT step FROM outbox WHERE state = 'pending'"))
        assert live.scalars().all() == ["deliver"]


async def test_a_transition_that_had_to_wait_for_nothing_is_applied(requests: Requests, database: Database) -> None:
    [request_id] = await accept(requests, 1)
    async with database.transaction() as connection:
        await transitions.lock(connection, [request_id])
        moving = asyncio.create_task(requests.apply_versioned(failing(request_id)))
        await somebody_waits(database)

    assert await moving is True


async def test_a_transition_is_refused_for_a_request_that_the_transaction_has_not_locked(
    requests: Requests, database: Database
) -> None:
    one, other = await accept(requests, 2)
    cancelled = Transition(request_id=other, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [one])
        with pytest.raises(ValueError, match=f"not locked by this transaction: {other}"):
            await locked.apply([cancelled], DEADLINES)


async def test_a_failure_of_the_bridge_cannot_go_without_a_lock(requests: Requests) -> None:
    [request_id] = await accept(requests, 1)
    with pytest.raises(ValueError, match="locked"):
        replace(failing(request_id), failed_by=FailedBy.BRIDGE)


async def somebody_waits(database: Database) -> None:
    """For a lock that another transaction holds."""
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(10), database.reading() as connection:
        while not await connection.scalar(query):
            await asyncio.sleep(0.01)


async def test_each_caller_gets_the_request_that_it_asked_for(requests: Requests) -> None:
    ids = await accept(requests, 20)

    found = await asyncio.gather(*(requests.get(request_id) for request_id in [uuid4(), *ids]))

    assert [request.request_id if request else None for request in found] == [None, *ids]
