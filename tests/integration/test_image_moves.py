"""Images that are moved between PostgreSQL and the object store (a folder), in both directions."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Row, text

from aigen_bridge.domain.dead_letter import OperatorAction, RefusedCallback
from aigen_bridge.domain.errors import ImageDamagedError, ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.store import image_moves, images
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_garbage import note
from aigen_bridge.store.image_moves import ImageMoves, Moved
from aigen_bridge.store.image_places import PART_MIN, ImagePlace, Target
from aigen_bridge.store.image_sweep import _CLAIM, ImageSweep
from aigen_bridge.store.images import OWNER, ObjectImages, PostgresImages
from aigen_bridge.store.quarantine import Quarantine
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.transitions import Deadlines, lock
from image_stores import Folder, days_pass, keep_completed
from meeting import waits_or_is_through
from outages import rows, write

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
MARK = """
    WITH kept AS (
        INSERT INTO original_images (request_id, sha256, content)
        SELECT request_id, encode(sha256(content), 'hex'), content FROM images WHERE request_id = :request_id
    ), marked AS (
        UPDATE requests SET image = jsonb_set(image, '{sha256}', to_jsonb(CAST(:sha256 AS text)))
        WHERE request_id = :request_id
    )
    UPDATE images SET content = :content WHERE request_id = :request_id
"""
PART_MOVED = "UPDATE quarantine SET payload = '', payload_sha256 = encode(sha256(payload), 'hex')"
OPERATOR = OperatorAction("test")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(image_moves, "SETTLING_SECONDS", 0.1)


@pytest.fixture
def moves(database: Database, store: ObjectImages) -> ImageMoves:
    """The moves with this store."""
    return ImageMoves(database, store)


async def everything(moved: AsyncIterator[Moved]) -> Moved:
    """The sum of all pages."""
    pages = [page async for page in moved]
    return image_moves._sum(pages)


async def in_postgresql(database: Database) -> int:
    [(count,)] = await rows(database, "SELECT (SELECT count(*) FROM images) + (SELECT count(*) FROM original_images)")
    return int(count)


async def test_images_and_originals_move_there_and_back(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder
) -> None:
    refs = [await keep_completed(database, f"image {number}".encode()) for number in range(9)]
    original = await keep_completed(database, b"marked", original=b"as it came")
    expected = {ref: await store.get(ref) for ref in (*refs, original)}
    there = await everything(moves.to_store())
    waiting = await moves.waiting(Target.POSTGRESQL)
    objects = folder.keys()

    await moves.start(Target.POSTGRESQL, OPERATOR)
    back = await everything(moves.to_postgresql())
    folder.clear()

    assert (there.images, waiting.images, back.images) == (11, 11, 11)
    assert len(objects) == 11
    assert {ref: await store.get(ref) for ref in expected} == expected
    assert await moves.finish()


async def test_what_cannot_be_moved_keeps_nothing_else_waiting_and_is_named(
    database: Database, moves: ImageMoves, folder: Folder
) -> None:
    damaged = await keep_completed(database, b"damaged")
    await write(database, "UPDATE images SET content = 'changed' WHERE request_id = :id", id=damaged.request_id)
    sound = [await keep_completed(database, f"image {number}".encode()) for number in range(5)]
    there = await everything(moves.to_store())

    assert there.images == 5
    assert len(there.failed) == 1
    assert str(damaged.request_id) in there.failed[0]
    assert folder.keys() == {ref.key for ref in sound}
    assert await in_postgresql(database) == 1


async def test_a_lost_object_is_named_and_does_not_end_the_move(
    database: Database, moves: ImageMoves, folder: Folder
) -> None:
    lost, kept = await keep_completed(database, b"lost"), await keep_completed(database, b"kept")
    await everything(moves.to_store())
    folder.file(lost).unlink()
    await moves.start(Target.POSTGRESQL, OPERATOR)
    back = await everything(moves.to_postgresql())

    assert back.images == 1
    assert {failure.partition(" is not in")[0] for failure in back.failed} == {
        f"the image of request {lost.request_id}"
    }
    assert await PostgresImages(database).get(kept) == b"kept"


async def test_a_move_stops_while_the_store_is_away_and_goes_on_later(
    database: Database, moves: ImageMoves, folder: Folder
) -> None:
    refs = [await keep_completed(database, f"image {number}".encode()) for number in range(9)]
    pages = moves.to_store()
    first = await anext(pages)
    with folder.away(), pytest.raises(ImageStoreAwayError):
        await anext(pages)
    await asyncio.sleep(0.1)
    rest = await everything(moves.to_store())

    assert (first.images, rest.images) == (4, 5)
    assert folder.keys() == {ref.key for ref in refs}


async def test_an_image_that_is_marked_while_it_is_moved_is_not_lost(
    database: Database, moves: ImageMoves, store: ObjectImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = await keep_completed(database, b"as it came")
    marked = ImageRef(ref.request_id, hashlib.sha256(b"marked").hexdigest())
    put = store.put

    async def put_and_mark(ref: ImageRef, content: bytes) -> bool:
        placed = await put(ref, content)
        await write(database, MARK, request_id=marked.request_id, sha256=marked.sha256, content=b"marked")
        return placed

    monkeypatch.setattr(store, "put", put_and_mark)
    moved = await moves.walk(Target.STORE).next_page()

    assert moved == Moved()
    assert await PostgresImages(database).get(marked) == b"marked"


async def test_an_image_that_moves_to_postgresql_while_it_is_read_is_found(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its object was noted before, and is deleted at once."""
    ref = await keep_completed(database, b"an image")
    await everything(moves.to_store())
    reader = folder.images(database)
    get = reader._objects.get

    async def move_then_get(key: str) -> bytes | None:
        if folder.keys() and key == ref.key:
            await moves.start(Target.POSTGRESQL, OPERATOR)
            await everything(moves.to_postgresql())
            folder.clear()
        return await get(key)

    monkeypatch.setattr(reader._objects, "get", move_then_get)

    assert await reader.get(ref) == b"an image"


async def test_what_others_change_before_it_is_read_is_not_taken_for_damaged(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker marks the image, and another moves the callback's payload."""
    ref, marked = await keep_completed(database, b"as it came"), hashlib.sha256(b"marked").hexdigest()
    with folder.away():
        await Quarantine(database, DEADLINES, store).keep(refused(b"p" * PART_MIN, None))
    await asyncio.sleep(0.1)
    walk = moves.walk(Target.STORE)
    select, changed = walk._rows, []

    async def select_then_change(place: ImagePlace) -> Sequence[Row[Any]]:
        if (found := await select(place)) and place.called not in changed:
            changed.append(place.called)
            if place.called.startswith("the image of request"):
                await write(database, MARK, request_id=ref.request_id, sha256=marked, content=b"marked")
            if place.called.startswith("the payload"):
                await write(database, PART_MOVED)
        return found

    monkeypatch.setattr(walk, "_rows", select_then_change)
    failed: list[str] = []
    while page := await walk.next_page():
        failed += page.failed

    assert len(changed) == 3
    assert failed == []


async def test_a_slow_move_does_not_undo_what_faster_ones_did(
    database: Database, moves: ImageMoves, store: ObjectImages, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since it put the object, others have moved the image there and back, and noted the object."""
    ref = await keep_completed(database, b"an image")
    put = store.put

    async def put_slowly(ref: ImageRef, content: bytes) -> bool:
        placed = await put(ref, content)
        monkeypatch.setattr(store, "put", put)
        await everything(moves.to_store())
        await moves.start(Target.POSTGRESQL, OPERATOR)
        await everything(moves.to_postgresql())
        return placed

    monkeypatch.setattr(store, "put", put_slowly)
    await moves.walk(Target.STORE).next_page()
    await days_pass(database, 2)

    assert await ImageSweep(database, store).delete() == 1
    assert await store.get(ref) == b"an image"


async def test_a_move_back_and_forth_needs_no_day(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder
) -> None:
    ref = await keep_completed(database, b"an image")
    for _ in range(2):
        await moves.start(Target.STORE, OPERATOR)
        await everything(moves.to_store())
        there = await in_postgresql(database), folder.keys()
        await moves.start(Target.POSTGRESQL, OPERATOR)
        await everything(moves.to_postgresql())

        assert there == (0, {ref.key})
        assert await in_postgresql(database) == 1
    await moves.start(Target.STORE, OPERATOR)
    assert not await moves.finish()


async def test_of_several_workers_one_moves_images_at_a_time(database: Database, moves: ImageMoves) -> None:
    assert [await moves.take_turn(60), await moves.take_turn(60)] == [True, False]
    await write(database, "UPDATE image_store SET move_due_at = now(), is_draining = true")
    assert not await moves.take_turn(60)


async def test_large_parts_of_quarantined_callbacks_are_objects_and_move_back(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder
) -> None:
    quarantine = Quarantine(database, DEADLINES, store)
    payload, image = b"p" * PART_MIN, b"i" * PART_MIN
    placed = await quarantine.keep(refused(payload, image))
    with folder.away():
        spilled = await quarantine.keep(refused(payload[:-1], image + b"."))
    await asyncio.sleep(0.1)
    before = folder.keys()
    await everything(moves.to_store())
    there = [await quarantine.get(number) for number in (placed, spilled)]
    after = folder.keys()
    await moves.start(Target.POSTGRESQL, OPERATOR)
    await everything(moves.to_postgresql())
    folder.clear()
    back = [await quarantine.get(number) for number in (placed, spilled)]

    assert (len(before), len(after)) == (2, 3)
    assert [(kept.payload, kept.image) for kept in there if kept] == [(payload, image), (payload[:-1], image + b".")]
    assert back == there


async def test_a_part_that_moves_to_postgresql_while_it_is_read_is_found(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    quarantine = Quarantine(database, DEADLINES, store)
    number = await quarantine.keep(refused(b"p" * PART_MIN, None))
    get = store.get

    async def move_then_get(ref: ImageRef) -> bytes | None:
        monkeypatch.setattr(store, "get", get)
        await moves.start(Target.POSTGRESQL, OPERATOR)
        await everything(moves.to_postgresql())
        folder.clear()
        return await get(ref)

    monkeypatch.setattr(store, "get", move_then_get)
    kept = await quarantine.get(number)

    assert kept
    assert kept.payload == b"p" * PART_MIN


async def test_a_damaged_part_of_a_callback_is_named(database: Database, store: ObjectImages, folder: Folder) -> None:
    quarantine = Quarantine(database, DEADLINES, store)
    number = await quarantine.keep(refused(b"p" * PART_MIN, None))
    folder.clear()

    with pytest.raises(ImageDamagedError, match=f"the payload of callback-{number} "):
        await quarantine.get(number)


def refused(payload: bytes, image: bytes | None) -> RefusedCallback:
    """A callback that cannot be used."""
    return RefusedCallback(
        client="n8n",
        version="v2",
        request_id=None,
        error_code="unknown_request",
        error_detail="There is no such request.",
        headers={},
        payload=payload,
        image=image,
    )


async def test_an_image_whose_object_is_being_deleted_stays_in_postgresql(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder
) -> None:
    ref, sweep = await keep_completed(database, b"an image"), ImageSweep(database, store)
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=True)
    await store.objects()
    claimed = await sweep._claim()
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=True)  # somebody else notes it again meanwhile
    moved = await everything(moves.to_store())
    await sweep._delete(folder.objects(), claimed)

    assert moved.images == 0
    assert await store.get(ref) == b"an image"


async def test_a_note_that_is_claimed_while_a_page_is_selected_stays(
    database: Database, moves: ImageMoves, store: ObjectImages
) -> None:
    ref = await keep_completed(database, b"an image")
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=True)
    async with database.transaction() as connection:
        await connection.execute(_CLAIM)
        moving = asyncio.create_task(moves.walk(Target.STORE).next_page())
        waited = await waits_or_is_through(database, moving)

    assert waited
    assert await moving == Moved()
    assert await rows(database, "SELECT claimed_at IS NULL FROM image_garbage") == [(False,)]
    assert await PostgresImages(database).get(ref) == b"an image"


async def test_a_move_to_postgresql_waits_for_a_mark_and_leaves_no_old_bytes(
    database: Database, moves: ImageMoves, store: ObjectImages
) -> None:
    ref = await keep_completed(database, b"as it came")
    await everything(moves.to_store())
    async with database.transaction() as connection:
        await lock(connection, [ref.request_id])
        await connection.execute(text("UPDATE requests SET image = jsonb_set(image, '{sha256}', to_jsonb('00'::text))"))
        moving = asyncio.create_task(moves.walk(Target.POSTGRESQL).next_page())
        waited = await waits_or_is_through(database, moving)

    assert waited
    assert await moving == Moved()
    assert await in_postgresql(database) == 0


async def test_a_move_to_postgresql_waits_for_writers_that_placed_an_object_before(
    database: Database, moves: ImageMoves, monkeypatch: pytest.MonkeyPatch
) -> None:
    await keep_completed(database, b"an image")
    await everything(moves.to_store())
    await write(database, "UPDATE requests SET image_purged_at = now()")  # as if nothing referred to it yet
    walk = moves.walk(Target.POSTGRESQL)
    next_page = walk.next_page

    async def next_page_then_commit() -> Moved | None:
        page = await next_page()
        await write(database, "UPDATE requests SET image_purged_at = NULL")
        return page

    monkeypatch.setattr(walk, "next_page", next_page_then_commit)
    monkeypatch.setattr(moves, "walk", lambda _: walk)

    assert (await everything(moves.to_postgresql())).images == 1


async def test_a_shared_part_stays_in_the_store_if_only_one_of_its_callbacks_was_moved(
    database: Database, moves: ImageMoves, store: ObjectImages
) -> None:
    quarantine, payload = Quarantine(database, DEADLINES, store), b"p" * PART_MIN
    numbers = [await quarantine.keep(refused(payload, image)) for image in (b"1", b"2")]
    await moves.start(Target.POSTGRESQL, OPERATOR)
    await moves.walk(Target.POSTGRESQL, page=1).next_page()
    await days_pass(database, 2)
    await ImageSweep(database, store).delete()

    assert [kept.payload for number in numbers if (kept := await quarantine.get(number))] == [payload] * 2


async def test_the_parts_of_a_purged_callback_are_deleted_a_day_later(database: Database, store: ObjectImages) -> None:
    """A callback with the same parts may be placed at the moment of the purge, and commit later."""
    await Quarantine(database, DEADLINES, store).keep(refused(b"p" * PART_MIN, b"i" * PART_MIN))
    await write(database, "UPDATE quarantine SET state = 'discarded', handled_at = now() - interval '40 days'")
    await Retention(database, has_objects=True).purge(RetentionClass.QUARANTINE, timedelta(days=30))
    noted = await rows(database, "SELECT is_certain, due_at > now() + interval '23 hours' FROM image_garbage")

    assert noted == [(False, True)] * 2


async def test_once_everything_is_in_postgresql_the_settings_may_be_removed(
    database: Database, moves: ImageMoves, store: ObjectImages, folder: Folder
) -> None:
    ref = await keep_completed(database, b"an image")
    await everything(moves.to_store())
    await moves.start(Target.POSTGRESQL, OPERATOR)
    await everything(moves.to_postgresql())
    finished = await moves.finish()
    for _ in range(2):  # with its objects, and once the bucket is empty
        spilled = await folder.images(database).place(ref, b"an image")
        [(location,)] = await rows(database, "SELECT location FROM image_store")
        assert (finished, spilled, location) == (True, b"an image", None)
        folder.clear()
        (folder.path / OWNER).unlink(missing_ok=True)
    await moves.start(Target.STORE, OPERATOR)
    await write(database, "DELETE FROM image_garbage")

    assert await folder.images(database).place(ref, b"an image") is None


async def test_a_store_that_was_given_up_and_belongs_to_another_database_now_is_left_alone(
    database: Database, moves: ImageMoves, folder: Folder
) -> None:
    ref = await keep_completed(database, b"an image")
    await everything(moves.to_store())
    await moves.start(Target.POSTGRESQL, OPERATOR)
    await everything(moves.to_postgresql())
    await moves.finish()
    (folder.path / OWNER).write_text("another database")
    sweep = ImageSweep(database, folder.images(database))
    await days_pass(database, 2)
    for call in (sweep.find, sweep.delete):
        with pytest.raises(ImageStoreAwayError):
            await call()

    assert folder.keys() == {ref.key}
    assert await folder.images(database).get(ref) == b"an image"
