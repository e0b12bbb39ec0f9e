"""Objects that nothing refers to: when they are noted and deleted, and when not."""

import asyncio
import hashlib
from datetime import timedelta
from uuid import uuid4

import pytest

from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.image import SHARDS, ImageRef
from aigen_bridge.store import image_sweep, images
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_garbage import QUARANTINED, note
from aigen_bridge.store.image_moves import ImageMoves
from aigen_bridge.store.image_places import Target
from aigen_bridge.store.image_sweep import ImageSweep
from aigen_bridge.store.images import OWNER, ObjectImages
from aigen_bridge.worker import images as worker
from image_stores import Folder, days_pass, find_all, keep_completed
from outages import rows, write

CONTENT = b"an image"
LETTER = """
    INSERT INTO quarantine (client, version, error_code, error_detail, headers, payload, payload_sha256, fingerprint)
    VALUES ('n8n', 'v2', 'unknown_request', 'There is none.', '{}', '', :sha256, :fingerprint)
"""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(worker, "LOOK_EVERY", 0.05)
    monkeypatch.setattr(worker, "PAUSE", 0.001)
    monkeypatch.setattr(worker, "TURN", 0.2)


@pytest.fixture
def sweep(database: Database, store: ObjectImages) -> ImageSweep:
    """The sweep of this store."""
    return ImageSweep(database, store)


def new_ref(content: bytes = CONTENT) -> ImageRef:
    return ImageRef(uuid4(), hashlib.sha256(content).hexdigest())


async def stored(database: Database, store: ObjectImages, *, original: bytes | None = None) -> ImageRef:
    """A request whose image is only in the object store."""
    ref = await keep_completed(database, CONTENT, original=original)
    async for _ in ImageMoves(database, store).to_store():
        pass
    return ref


async def test_what_nothing_refers_to_is_deleted_after_a_day_and_the_rest_stays(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    kept = await stored(database, store, original=b"as it came")
    before = folder.keys()
    unreferenced = new_ref()
    await store.place(unreferenced, CONTENT)
    noted = await find_all(database, sweep, folder), await find_all(database, sweep, folder)
    await days_pass(database, 0.99)
    early = await sweep.delete()
    await days_pass(database, 0.02)
    late = await sweep.delete()

    assert (noted, early, late) == ((1, 0), 0, 1)
    assert folder.keys() == before
    assert len(before) == 2
    assert await store.get(kept) == CONTENT


async def test_the_note_stays_for_a_day_after_the_deletion(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    ref = new_ref()
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=True)
    await sweep.delete()
    spilled = await store.place(ref, CONTENT)
    await days_pass(database, 1.01)
    await sweep.delete()

    assert spilled == CONTENT
    assert await store.place(ref, CONTENT) is None
    assert await rows(database, "SELECT FROM image_garbage") == []


async def test_an_object_that_something_refers_to_by_then_is_kept(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    ref = await stored(database, store)
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=False)

    assert await sweep.delete() == 0
    assert await rows(database, "SELECT FROM image_garbage") == []
    assert await store.get(ref) == CONTENT


async def test_what_is_certain_is_deleted_at_once(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    ref = await stored(database, store)
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=True)

    assert await sweep.delete() == 1
    assert folder.keys() == set()


async def test_a_deleted_object_that_comes_late_is_deleted_again_when_it_is_certain(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    ref, deleted = await stored(database, store), []
    for is_certain in (True, False, True):
        async with database.transaction() as connection:
            await note(connection, [ref], is_certain=is_certain)
        deleted.append(await sweep.delete())
        late = folder.keys()
        await folder.objects().put(ref.key, CONTENT)

    assert deleted == [1, 0, 1]
    assert late == set()


async def test_a_forgotten_original_is_found_again_if_its_object_comes_late(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    """As after a worker that was fenced and then went on."""
    ref = await stored(database, store, original=b"as it came")
    await write(database, "UPDATE requests SET provenance = provenance || '{\"original_is_forgotten\": true}'")

    assert await find_all(database, sweep, folder) == 1
    await days_pass(database, 1)
    await sweep.delete()
    assert folder.keys() == {ref.key}


async def test_a_deletion_that_a_killed_worker_began_is_repeated_after_an_hour(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    ref = await stored(database, store)
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=True)
    await sweep._claim()
    soon = await sweep.delete()
    await days_pass(database, 1.1 / 24)
    later = await sweep.delete()

    assert (soon, later) == (0, 1)
    assert folder.keys() == set()


async def test_an_object_that_was_claimed_stays_noted_although_something_refers_to_it_by_then(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    """The worker that claimed it may still delete it. The writer has seen the note and stored the bytes here."""
    ref = await keep_completed(database, CONTENT)
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=False)
    await write(database, "UPDATE requests SET image_purged_at = now()")
    claimed = await sweep._claim()
    await write(database, "UPDATE requests SET image_purged_at = NULL")
    await days_pass(database, 1.1 / 24)
    again = await sweep._claim()
    await sweep._delete(folder.objects(), claimed)
    slow = await rows(database, "SELECT deleted_at IS NULL FROM image_garbage")
    await sweep._delete(folder.objects(), again)

    assert (len(claimed), len(again), slow) == (1, 1, [(True,)])
    assert await rows(database, "SELECT deleted_at IS NULL FROM image_garbage") == [(False,)]
    assert await store.place(ref, CONTENT) == CONTENT


async def test_parts_of_quarantined_callbacks_that_share_an_object_keep_it_until_the_last_one(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    ref = ImageRef(QUARANTINED, hashlib.sha256(CONTENT).hexdigest())
    await store.place(ref, CONTENT)
    for fingerprint in (b"1", b"2"):
        await write(database, LETTER, sha256=ref.sha256, fingerprint=fingerprint)
    counts = []
    for fingerprint in (b"1", b"2"):
        await write(database, "DELETE FROM quarantine WHERE fingerprint = :fingerprint", fingerprint=fingerprint)
        async with database.transaction() as connection:
            await note(connection, [ref], is_certain=False, wait=timedelta(days=1))
        await days_pass(database, 1.01)
        counts.append(await sweep.delete())

    assert counts == [0, 1]
    assert folder.keys() == set()


async def test_the_store_of_another_database_and_foreign_objects_are_left_alone(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    ref, foreign = new_ref(), folder.path / "00" / "photo.png"
    await store.place(ref, CONTENT)
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(CONTENT)
    await find_all(database, sweep, folder)
    await days_pass(database, 2)
    (folder.path / OWNER).write_text(str(uuid4()))
    for call in (sweep.find, sweep.delete):
        with pytest.raises(ImageStoreAwayError):
            await call()
    assert len(folder.keys()) == 2
    await store.adopt()
    await asyncio.sleep(0.1)
    await sweep.delete()

    assert folder.keys() == {"00/photo.png"}


async def test_all_parts_are_looked_through_in_a_day_by_any_number_of_workers(
    database: Database, sweep: ImageSweep, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = await asyncio.gather(*(sweep.find() for _ in range(3)))
    [(interval,)] = await rows(database, "SELECT shard_due_at - now() FROM image_store")

    assert sorted(together, key=str) == [0, None, None]
    assert interval <= timedelta(days=1) / SHARDS


async def test_several_workers_delete_each_object_once(
    database: Database, store: ObjectImages, folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_sweep, "LOOKED_UP", 3)
    refs = [new_ref() for _ in range(20)]
    for ref in refs:
        await store.place(ref, CONTENT)
    await find_all(database, ImageSweep(database, store), folder)
    await days_pass(database, 1)
    deleted = await asyncio.gather(*(ImageSweep(database, store).delete() for _ in range(4)))

    assert sum(deleted) == len(refs)
    assert folder.keys() == set()


async def test_a_worker_moves_spilled_images_and_deletes_once_the_store_is_back(
    database: Database, store: ObjectImages, sweep: ImageSweep, folder: Folder
) -> None:
    garbage = await stored(database, store)
    async with database.transaction() as connection:
        await note(connection, [garbage], is_certain=True)
    await write(database, "DELETE FROM requests")
    spilled = [await keep_completed(database, f"image {number}".encode()) for number in range(5)]
    moves, stop = ImageMoves(database, store), asyncio.Event()
    with folder.away():
        tending = asyncio.create_task(worker.tend_images(sweep, moves, stop))
        await asyncio.sleep(0.2)
    async with asyncio.timeout(20):
        while folder.keys() != {ref.key for ref in spilled}:
            await asyncio.sleep(0.02)
    stop.set()
    await tending

    assert (await moves.waiting(Target.STORE)).images == 0
