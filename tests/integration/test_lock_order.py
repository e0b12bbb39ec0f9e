"""Writers that meet on several rows at once: none waits in a circle, and none overlooks what another has just written.

The order is: requests by id, then destinations by name, then entries, then Odoos, then incidents. Each test holds one
lock of its own until both writers wait, so that they meet every time.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import N8N, ODOO, BreakerConfig
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.outbox import Advance, Claim, Dead, Delivered, Done, Fail, Outcome, Retry, Settlement
from aigen_bridge.domain.request import (
    AwaitedImage,
    FailedBy,
    FailureCode,
    NewRequest,
    Status,
    Step,
    Transition,
    VersionedTransition,
)
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.store import transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from outages import rows, write
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
LEASE = timedelta(minutes=5)
FRAGILE = BreakerConfig(failures=1, probe_every=timedelta(seconds=60))
AWAY = Retry(datetime.now(UTC), TransientError("http_503", "It answered 503.", http_status=503))
GAVE_UP = Fail(FailureCode.DISPATCH_FAILED, "N8N said no.")
REFUSED = Dead(PermanentError("http_400", "No."), None)
WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'")
INCIDENTS = "SELECT pg_advisory_xact_lock(hashtext('aigen-bridge incidents'))"
PENDING = "SELECT step FROM outbox WHERE state = 'pending' AND request_id IS NOT NULL ORDER BY step"
SENTENCE = "A lighthouse."


@pytest.fixture
def requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


@pytest.fixture
def outbox(database: Database) -> Outbox:
    return Outbox(database, DEADLINES, PostgresImages(database))


async def accept(requests: Requests, count: int) -> list[UUID]:
    """As many new requests, in the order of their ids and of their entries."""
    ids = sorted(uuid4() for _ in range(count))
    await requests.accept_all([NewRequest(request_id, uuid4(), make_event()) for request_id in ids])
    return ids


async def claim(outbox: Outbox, step: Step = Step.DISPATCH) -> list[Claim]:
    claims = await outbox.claim(step, limit=10, lease=LEASE, owner="test")
    return sorted(claims, key=lambda each: each.entry_id)


async def settle(outbox: Outbox, *settled: tuple[Claim, Outcome]) -> list[Outcome | None]:
    return await outbox.settle_all([Settlement(held, outcome, timedelta(0)) for held, outcome in settled])


async def waiters(database: Database, count: int) -> None:
    """Waits until so many transactions wait for locks."""
    async with asyncio.timeout(10), database.reading() as connection:
        while await connection.scalar(WAITING) < count:
            await asyncio.sleep(0.01)


@asynccontextmanager
async def locking(database: Database, statement: str, **values: Any) -> AsyncIterator[None]:
    async with database.transaction() as connection:
        await connection.execute(text(statement), values)
        yield


def failing(request_id: UUID, status: Status = Status.QUEUED, version: int = 1) -> VersionedTransition:
    """As when N8N reports a failure."""
    return VersionedTransition(
        request_id=request_id,
        version=version,
        before=frozenset({status}),
        after=Status.FAILED,
        failed_by=FailedBy.N8N,
        error_message=SENTENCE,
    )


def awaiting(request_id: UUID, status: Status, version: int) -> VersionedTransition:
    """As when N8N reports a temporary URL."""
    awaited = described(url="https://images.example.com/1.png")
    return VersionedTransition(
        request_id=request_id, version=version, before=frozenset({status}), after=Status.RECEIVED, awaited=awaited
    )


def described(url: str, sha256: str = "a" * 64) -> AwaitedImage:
    return AwaitedImage(format="png", size=1, width=64, height=64, sha256=sha256, url=url)


async def fail(requests: Requests, request_id: UUID) -> None:
    """As when the bridge gives up: version 2, with a delivery."""
    gave_up = Transition(
        request_id=request_id,
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.DISPATCH_FAILED,
        error_message=SENTENCE,
    )
    assert await requests.apply(gave_up)


@pytest.mark.parametrize("what", ["extend", "release"])
async def test_a_worker_that_extends_or_releases_leases_never_blocks_the_one_who_settles_them(
    database: Database, requests: Requests, outbox: Outbox, what: str
) -> None:
    await accept(requests, 3)
    one, two, three = await claim(outbox)
    leased = [two, three, one]
    for held in leased:  # the order of the rows in the table, and so the order in which an UPDATE locks them
        await write(database, "UPDATE outbox SET due_at = due_at + interval '1 s' WHERE id = :id", id=held.entry_id)
    async with locking(database, "SELECT FROM outbox WHERE id = :id FOR UPDATE", id=three.entry_id):
        extending = outbox.extend(leased, LEASE) if what == "extend" else outbox.release(leased)
        first = asyncio.create_task(extending)
        await waits_or_is_done(database, first, 1)
        settling = asyncio.create_task(settle(outbox, (one, REFUSED), (two, REFUSED)))
        await waits_or_is_done(database, settling, 2)
    await first
    await settling


async def waits_or_is_done(database: Database, task: asyncio.Task[Any], count: int) -> None:
    async with asyncio.timeout(10), database.reading() as connection:
        while not task.done() and await connection.scalar(WAITING) < count:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("what", ["replay", "settle"])
async def test_who_ends_an_entry_has_locked_its_request_before_as_a_callback_has(
    database: Database, requests: Requests, outbox: Outbox, what: str
) -> None:
    """Both want the request and the entry; in another order, each would hold one of them."""
    [request_id] = await accept(requests, 1)
    [dispatch] = await claim(outbox)
    if what == "replay":
        await settle(outbox, (dispatch, replace(REFUSED, effect=GAVE_UP)))
        version, status = 2, Status.FAILED
    else:
        version, status = 1, Status.QUEUED
    operations = Operations(database, DEADLINES, PostgresImages(database))
    async with locking(database, "SELECT FROM outbox WHERE id = :id FOR UPDATE", id=dispatch.entry_id):
        ending: asyncio.Task[Any] = asyncio.create_task(
            operations.replay_entry(dispatch.entry_id, OperatorAction("ops"))
            if what == "replay"
            else settle(outbox, (dispatch, Done(Advance(Status.DISPATCHED))))
        )
        await waiters(database, 1)
        moving = asyncio.create_task(requests.apply_versioned(awaiting(request_id, status, version)))
        await waiters(database, 2)

    assert await ending
    assert await moving is False


async def test_two_workers_that_learn_the_uuid_of_a_database_at_once_do_not_block_each_other(
    database: Database, requests: Requests, outbox: Outbox
) -> None:
    ids = await accept(requests, 4)
    for request_id in ids[1:]:
        await fail(requests, request_id)
    [dispatch] = await claim(outbox)
    ours, theirs, refused = await claim(outbox, Step.DELIVER)
    told = Done(Delivered(2, "uuid"))
    async with locking(database, INCIDENTS):
        first = asyncio.create_task(settle(outbox, (dispatch, replace(REFUSED, effect=GAVE_UP)), (ours, told)))
        await waiters(database, 1)
        second = asyncio.create_task(settle(outbox, (theirs, told), (refused, REFUSED)))
        await waiters(database, 2)

    await first
    await second
    assert await rows(database, "SELECT name, database_uuid FROM odoos") == [("default", "uuid")]


async def test_two_workers_that_find_both_destinations_away_do_not_block_each_other(
    database: Database, requests: Requests
) -> None:
    breakers = {N8N: FRAGILE, ODOO: FRAGILE}
    here, there = (Outbox(database, DEADLINES, PostgresImages(database), breakers) for _ in range(2))
    ids = await accept(requests, 3)
    for request_id in ids[1:]:
        await fail(requests, request_id)
    dispatch, *_ = await claim(here)
    ours, theirs = await claim(here, Step.DELIVER)
    async with locking(database, INCIDENTS):
        first = asyncio.create_task(settle(here, (dispatch, AWAY), (ours, AWAY)))
        await waiters(database, 1)
        second = asyncio.create_task(settle(there, (theirs, AWAY)))
        await waiters(database, 2)
    await first
    await second

    found = await rows(database, "SELECT cause, times FROM incidents WHERE cause LIKE '%_down' ORDER BY cause")
    assert found == [("n8n_down", 1), ("odoo_down", 1)]


async def test_the_reconciliation_does_not_block_callbacks_for_several_requests(
    database: Database, requests: Requests
) -> None:
    far, *others = await accept(requests, 4)
    before, without, after = others
    for request_id in others:
        lost = (
            "UPDATE requests SET status = 'dispatched', updated_at = now() - interval '1 hour' WHERE request_id = :id"
        )
        await write(database, lost, id=request_id)
    await write(database, "UPDATE outbox SET due_at = now() + interval '9 years' WHERE request_id = :id", id=far)
    callbacks = [failing(far), failing(without, Status.DISPATCHED)]
    locked = "SELECT FROM requests WHERE request_id IN (:one, :other) FOR UPDATE"
    async with locking(database, locked, one=before, other=after):
        reconciling = asyncio.create_task(Sweeps(database, DEADLINES).reconcile())
        await waits_or_is_done(database, reconciling, 1)
        moving = asyncio.create_task(apply_together(database, callbacks))
        await waits_or_is_done(database, moving, 2)
    await reconciling

    assert await moving == {far, without}


async def apply_together(database: Database, callbacks: Sequence[VersionedTransition]) -> set[UUID]:
    async with database.writing() as connection:
        return await transitions.apply_versioned(connection, callbacks, DEADLINES)


async def test_a_late_result_sees_the_delivery_that_was_replayed_while_it_waited(
    database: Database, requests: Requests, outbox: Outbox
) -> None:
    """Otherwise Odoo would be told of a state that is not the end."""
    [request_id] = await accept(requests, 1)
    await fail(requests, request_id)
    [delivery] = await claim(outbox, Step.DELIVER)
    await settle(outbox, (delivery, REFUSED))
    operations = Operations(database, DEADLINES, PostgresImages(database))
    async with locking(database, "SELECT FROM requests FOR UPDATE"):
        replaying = asyncio.create_task(operations.replay_entry(delivery.entry_id, OperatorAction("ops")))
        await waiters(database, 1)
        moving = asyncio.create_task(requests.apply_versioned(awaiting(request_id, Status.FAILED, 2)))
        await waiters(database, 2)
    await replaying

    if not await moving:
        assert await requests.apply_versioned(awaiting(request_id, Status.FAILED, 2))
    assert await rows(database, PENDING) == [("fetch",)]


async def test_an_upload_that_waits_for_a_replayed_delivery_completes_the_request_without_being_sent_again(
    database: Database, requests: Requests, outbox: Outbox, png: bytes
) -> None:
    with closing(ImageCheck()) as check:
        image = await check.as_found(png)
    [request_id] = await accept(requests, 1)
    await fail(requests, request_id)
    [delivery] = await claim(outbox, Step.DELIVER)
    await settle(outbox, (delivery, REFUSED))
    operations = Operations(database, DEADLINES, PostgresImages(database))
    by = OperatorAction("ops")
    uploaded = VersionedTransition(
        request_id=request_id,
        version=2,
        before=frozenset({Status.FAILED}),
        after=Status.COMPLETED,
        image=image.described,
    )
    async with locking(database, "SELECT FROM requests FOR UPDATE"):
        replaying = asyncio.create_task(operations.replay_entry(delivery.entry_id, by))
        await waiters(database, 1)
        uploading = asyncio.create_task(operations.complete(uploaded, image, by))
        await waiters(database, 2)
    await replaying

    assert await uploading is True
    assert await rows(database, PENDING) == [("deliver",)]


@pytest.mark.parametrize("status", [Status.QUEUED, Status.RECEIVED, Status.FAILED])
async def test_a_callback_sees_what_the_reconciliation_enqueued_while_it_waited(
    database: Database, requests: Requests, status: Status
) -> None:
    [request_id] = await accept(requests, 1)
    version = await forget(database, requests, request_id, status)
    late = status is Status.FAILED
    callback = awaiting(request_id, status, version) if late else failing(request_id, status, version)
    async with locking(database, INCIDENTS):
        reconciling = asyncio.create_task(Sweeps(database, DEADLINES).reconcile())
        await waiters(database, 1)
        moving = asyncio.create_task(requests.apply_versioned(callback))
        await waits_or_is_done(database, moving, 2)
    await reconciling

    if not await moving:
        assert await requests.apply_versioned(callback)
    found = await requests.get(request_id)
    assert found
    assert await rows(database, PENDING) == [({"received": "fetch"}.get(found.status, "deliver"),)]


async def forget(database: Database, requests: Requests, request_id: UUID, status: Status) -> int:
    """A bug: nothing would carry the request on. Returns its version."""
    if status is Status.RECEIVED:
        assert await requests.apply_versioned(awaiting(request_id, Status.QUEUED, 1))
    if status is Status.FAILED:
        await fail(requests, request_id)
    await write(database, "DELETE FROM outbox")
    await write(database, "UPDATE requests SET updated_at = now() - interval '1 hour'")
    await write(database, "UPDATE requests SET completed_at = now() - interval '1 hour' WHERE status = 'failed'")
    return 1 if status is Status.QUEUED else 2


async def test_the_reconciliation_enqueues_nothing_for_a_state_that_the_request_has_just_left(
    database: Database, requests: Requests
) -> None:
    """It waits for an entry of another request, and has found both before."""
    leaving, other = await accept(requests, 2)
    await forget(database, requests, leaving, Status.QUEUED)
    async with locking(database, "INSERT INTO outbox (request_id, step) VALUES (:id, 'dispatch')", id=other):
        reconciling = asyncio.create_task(Sweeps(database, DEADLINES).reconcile())
        await waiters(database, 1)
        moving = asyncio.create_task(requests.apply_versioned(failing(leaving)))
        await waits_or_is_done(database, moving, 2)
    await reconciling

    if not await moving:
        assert await requests.apply_versioned(failing(leaving))
    assert await rows(database, PENDING) == [("deliver",), ("dispatch",)]


async def test_an_image_and_another_ones_url_that_come_after_a_cancellation_are_not_both_kept(
    database: Database, requests: Requests, png: bytes
) -> None:
    """Both read the request before either was kept."""
    with closing(ImageCheck()) as check:
        image = await check.as_found(png)
    for first in ("image", "url"):
        [request_id] = await accept(requests, 1)
        assert await requests.apply(
            Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
        )
        other = described("https://images.example.com/other.png")
        kept = {
            "image": lambda request_id=request_id: requests.keep_image(request_id, image),
            "url": lambda request_id=request_id, other=other: requests.keep_awaited(request_id, other),
        }
        second = "url" if first == "image" else "image"
        assert [await kept[first](), await kept[second]()] == [True, False]


async def test_an_image_is_kept_beside_its_own_url(database: Database, requests: Requests, png: bytes) -> None:
    with closing(ImageCheck()) as check:
        image = await check.as_found(png)
    [request_id] = await accept(requests, 1)
    assert await requests.apply(
        Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    )
    own = described("https://images.example.com/own.png", image.described.sha256)

    assert await requests.keep_awaited(request_id, own)
    assert await requests.keep_image(request_id, image)


async def test_a_settlement_that_waits_for_a_purge_records_nothing(
    database: Database, requests: Requests, outbox: Outbox
) -> None:
    """A worker was paused for longer than the request was kept; another one had delivered it."""
    [request_id] = await accept(requests, 1)
    await fail(requests, request_id)
    [stale] = await claim(outbox, Step.DELIVER)
    await write(database, "UPDATE outbox SET due_at = now() - interval '1 s' WHERE state = 'pending'")
    [current] = await claim(outbox, Step.DELIVER)
    await settle(outbox, (current, Done(Delivered(2))))
    for column in ("created_at", "completed_at", "delivered_at"):
        await write(database, f"UPDATE requests SET {column} = now() - interval '400 days'")  # noqa: S608 - names of ours
    purges = Retention(database, has_objects=False)
    async with locking(database, "SELECT FROM outbox WHERE step = 'deliver' FOR UPDATE"):
        purging = asyncio.create_task(purges.purge(RetentionClass.REQUESTS, timedelta(days=1)))
        await waiters(database, 1)
        settling = asyncio.create_task(settle(outbox, (stale, Done(Delivered(2)))))
        await waiters(database, 2)

    assert (await purging).deleted == 1
    assert await settling == [None]
    assert await rows(database, "SELECT FROM attempts") == []


@pytest.mark.parametrize("mirrored", [False, True], ids=["same order", "other order"])
async def test_two_batches_of_the_same_requests_settle_one_after_the_other(
    database: Database, requests: Requests, outbox: Outbox, *, mirrored: bool
) -> None:
    """One of them is the second sending of a settlement whose answer was lost."""
    await accept(requests, 3)
    claims = await claim(outbox)
    dispatched: Sequence[tuple[Claim, Outcome]] = [(held, Done(Advance(Status.DISPATCHED))) for held in claims]
    middle = "SELECT FROM requests WHERE request_id = :id FOR UPDATE"
    async with locking(database, middle, id=claims[1].request.request_id):
        one = asyncio.create_task(settle(outbox, *dispatched))
        other = asyncio.create_task(settle(outbox, *(dispatched[::-1] if mirrored else dispatched)))
        await waiters(database, 2)
    answers = await one + await other

    assert sum(answer is not None for answer in answers) == len(claims)
    assert await rows(database, "SELECT count(*) FROM attempts") == [(len(claims),)]
    assert await rows(database, "SELECT count(*), max(version) FROM requests") == [(len(claims), 2)]


async def test_a_callback_whose_caller_has_gone_is_written_with_its_batch(requests: Requests) -> None:
    """The client closed the connection while an earlier batch was being written."""
    one, other, third = await accept(requests, 3)
    first = asyncio.create_task(requests.apply_versioned(failing(one)))
    await asyncio.sleep(0)
    gone = asyncio.create_task(requests.apply_versioned(failing(other)))
    last = asyncio.create_task(requests.apply_versioned(failing(third)))
    await asyncio.sleep(0)
    gone.cancel()

    assert await asyncio.gather(first, last) == [True, True]
    assert gone.cancelled()
    found = [await requests.get(request_id) for request_id in (one, other, third)]
    assert [request and request.status for request in found] == [Status.FAILED] * 3
