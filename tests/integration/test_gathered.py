"""Callbacks that come at once share reads and commits, and still each gets its own answer."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.request import Change, FailedBy, Status
from aigen_bridge.store import changes
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.gathered import GatheredRequests
from aigen_bridge.store.requests import NewRequest, Requests
from callbacks import completed, failed, report
from stage import Stage, make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES)


async def accept(requests: Requests, count: int) -> list[UUID]:
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(count)]
    await requests.accept(wanted)
    return [new.request_id for new in wanted]


def failing(request_id: UUID, why: str = "flagged") -> Change:
    before = frozenset({Status.QUEUED})
    return Change(
        request_id=request_id,
        before=before,
        after=Status.FAILED,
        version=1,
        failed_by=FailedBy.N8N,
        error_message=why,
    )


async def test_of_two_moves_of_one_request_in_a_group_only_one_is_told_that_it_was_made(requests: Requests) -> None:
    one, other = await accept(requests, 2)
    gathered = GatheredRequests(requests)

    versions = await asyncio.gather(
        gathered.move(failing(one, "first")), gathered.move(failing(other)), gathered.move(failing(one, "second"))
    )

    found = await requests.get(one)
    assert found
    assert sorted(versions, key=str) == [2, 2, None]
    assert versions[1] == 2
    assert found.error_message == ("first" if versions[0] else "second")


async def test_results_that_contradict_each_other_at_the_same_moment_are_not_both_taken(
    idle_stage: Stage, png: bytes
) -> None:
    for _ in range(5):
        asked = await idle_stage.ask()
        events = [completed(asked, png), failed(asked), failed(asked, errorMessage="Another reason.")]
        answers = await asyncio.gather(*(report(idle_stage, event) for event in events))
        assert sorted(answer.status_code for answer in answers) == [202, 409, 409]


async def test_groups_of_several_processes_that_meet_do_not_block_each_other(requests: Requests) -> None:
    ids = await accept(requests, 60)
    here, there = GatheredRequests(requests), GatheredRequests(requests)

    versions = await asyncio.gather(
        *(here.move(failing(request_id)) for request_id in ids),
        *(there.move(failing(request_id)) for request_id in reversed(ids)),
    )

    assert versions.count(2) == versions.count(None) == len(ids)


async def test_a_move_that_had_to_wait_for_another_is_not_made_on_top_of_it(
    requests: Requests, database: Database
) -> None:
    [request_id] = await accept(requests, 1)
    cancelled = Change(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    async with database.transaction() as connection:
        await changes.lock(connection, [request_id])
        moving = asyncio.create_task(requests.move_as_read([failing(request_id)]))
        await somebody_waits(database)
        await changes.make(connection, [cancelled], DEADLINES)

    assert await moving == [None]
    found = await requests.get(request_id)
    assert found
    assert (found.status, found.version) == (Status.CANCELLED, 2)


async def test_a_move_that_had_to_wait_is_not_made_where_all_looks_as_it_was_read(
    requests: Requests, database: Database
) -> None:
    """The request failed meanwhile and was replayed: queued again, with an entry that the move never saw."""
    [request_id] = await accept(requests, 1)
    ours = replace(failing(request_id), failed_by=FailedBy.BRIDGE, error_code="timed_out")
    replayed = Change(request_id=request_id, before=frozenset({Status.FAILED}), after=Status.QUEUED)
    async with database.transaction() as connection:
        await changes.lock(connection, [request_id])
        moving = asyncio.create_task(requests.move_as_read([failing(request_id)]))
        await somebody_waits(database)
        await changes.make(connection, [ours], DEADLINES)
        await changes.make(connection, [replayed], DEADLINES)

    assert await moving == [None]
    found = await requests.get(request_id)
    assert found
    assert (found.status, found.version) == (Status.QUEUED, 3)


async def test_a_move_that_owes_what_was_just_owed_by_somebody_else_looks_again(
    requests: Requests, database: Database
) -> None:
    """As when an operator replays a delivery while a late callback waits: the version stays, the entry is new."""
    [request_id] = await accept(requests, 1)
    async with database.transaction() as connection:
        await changes.lock(connection, [request_id])
        moving = asyncio.create_task(requests.move_as_read([failing(request_id)]))
        await somebody_waits(database)
        await connection.execute(
            text("INSERT INTO outbox (request_id, step) VALUES (:id, 'deliver')"), {"id": request_id}
        )

    assert await moving == [None]
    assert await requests.move_as_read([failing(request_id)]) == [2]
    async with database.reading() as connection:
        live = await connection.execute(text("SELECT step FROM outbox WHERE state = 'pending'"))
        assert live.scalars().all() == ["deliver"]


async def test_a_move_that_had_to_wait_for_nothing_is_made(requests: Requests, database: Database) -> None:
    [request_id] = await accept(requests, 1)
    async with database.transaction() as connection:
        await changes.lock(connection, [request_id])
        moving = asyncio.create_task(requests.move_as_read([failing(request_id)]))
        await somebody_waits(database)

    assert await moving == [2]


async def test_a_move_that_commits_itself_must_name_the_version_that_it_read(requests: Requests) -> None:
    [request_id] = await accept(requests, 1)
    with pytest.raises(ValueError, match="version"):
        await requests.move_as_read([replace(failing(request_id), version=None)])


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
    gathered, unknown = GatheredRequests(requests), uuid4()

    found = await asyncio.gather(*(gathered.get(request_id) for request_id in [unknown, *ids]))

    assert [request.request_id if request else None for request in found] == [None, *ids]
