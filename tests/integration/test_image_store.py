"""Images in an object store (a folder): what is stored where, and what happens while the store is away."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from aigen_bridge import wiring
from aigen_bridge.clients import object_store
from aigen_bridge.domain.errors import ImageDamagedError, ImageStoreAwayError, StoreUnavailableError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.outbox import Advance, Claim, Complete, Done, Settlement
from aigen_bridge.domain.request import AwaitedImage, NewRequest, Status, Step, VersionedTransition
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store import images
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.image_garbage import note
from aigen_bridge.store.images import OWNER, ObjectImages, PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.worker import lanes
from aigen_bridge.worker.purge import purge
from callbacks import completed, report
from image_stores import Folder
from outages import rows, write
from stage import REQUESTS, Stage, make_event, make_settings, staged, working

pytestmark = pytest.mark.usefixtures("untended_store")

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
IN_POSTGRESQL = "SELECT count(*) FROM images"
BACK = """UPDATE requests SET created_at = created_at - :days, completed_at = completed_at - :days,
    delivered_at = delivered_at - :days, updated_at = updated_at - :days"""


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.05)
    monkeypatch.setattr(lanes, "IMAGE_STORE_PAUSE", timedelta(seconds=0.2))


@pytest.fixture
async def stage_with_folder(folder: Folder, database_url: str) -> AsyncIterator[Stage]:
    """API and simulators without a worker; images are kept in the folder."""
    async with staged(database_url, **folder.settings) as stage:
        yield stage


async def image(stage: Stage, request: dict[str, Any]) -> httpx.Response:
    path = f"{REQUESTS}/{request['requestId']}/image"
    return await stage.api.get(path, headers=stage.as_client("ops"))


async def cancel(stage: Stage, request: dict[str, Any]) -> None:
    path = f"{REQUESTS}/{request['requestId']}/cancel"
    assert (await stage.api.post(path, headers=stage.as_client("odoo"))).status_code == 200


async def complete(stage: Stage, request: dict[str, Any], content: bytes) -> httpx.Response:
    headers = stage.as_client("ops") | {"Content-Type": "image/png"}
    path = f"/api/v1/ops/requests/{request['requestId']}/complete"
    return await stage.api.post(path, content=content, headers=headers)


async def delivered(stage: Stage, request: dict[str, Any]) -> dict[str, Any]:
    """The request once a worker has delivered it; the worker has stopped."""
    async with working(stage.settings):
        return await stage.until_delivered(request["requestId"])


async def purge_after(stage: Stage, database: Database, days: int) -> None:
    """Purges as if everything had happened that many days earlier; images are kept for 30 days, requests for 365."""
    await write(database, BACK, days=timedelta(days=days))
    async with wiring.open_retention(stage.settings) as retention:
        await purge(retention, RetentionSettings(), asyncio.Event())


async def noted(database: Database) -> set[str]:
    """The keys of the objects that are to be deleted for certain."""
    found = await rows(database, "SELECT request_id, sha256 FROM image_garbage WHERE is_certain AND due_at <= now()")
    return {ImageRef(*row).key for row in found}


# The store itself.


async def test_a_placed_image_is_found_again_and_another_is_not(
    store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder
) -> None:
    written_by_the_transition = await store.place(ref, png)

    assert written_by_the_transition is None
    assert folder.keys() == {ref.key}
    assert await store.get(ref) == png
    assert await store.get(ImageRef(uuid4(), ref.sha256)) is None


async def test_an_image_is_placed_again_without_harm_also_at_the_same_moment(
    store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder
) -> None:
    await asyncio.gather(*(store.place(ref, png) for _ in range(5)))

    assert (await store.get(ref), folder.keys()) == (png, {ref.key})


async def test_what_cannot_be_placed_is_left_to_postgresql_and_reading_says_so(
    store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder
) -> None:
    await store.place(ref, png)
    with folder.away():
        left = await store.place(ref, png)
        with pytest.raises(ImageStoreAwayError):
            await store.get(ref)
    await asyncio.sleep(0.1)

    assert left == png
    assert await store.get(ref) == png


async def test_a_folder_that_is_not_mounted_is_away_instead_of_empty(
    store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder
) -> None:
    await store.place(ref, png)
    with folder.away():
        folder.path.mkdir()
        left = [await store.place(ref, png) for _ in range(2)]
        await asyncio.sleep(0.1)
        with pytest.raises(ImageStoreAwayError) as caught:
            await store.get(ref)
        folder.path.rmdir()
    for _ in range(2):
        await asyncio.sleep(0.1)
        again = await asyncio.gather(store.get(ref), return_exceptions=True)  # notices first that it was replaced

    assert left == [png, png]
    assert "mounted" in caught.value.reason
    assert again == [png]


async def test_what_a_killed_process_has_left_half_written_is_deleted_with_its_image(
    store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder
) -> None:
    await store.place(ref, png)
    other = ImageRef(uuid4(), ref.sha256)
    for each in (ref, other):
        folder.file(each).parent.mkdir(parents=True, exist_ok=True)
        Path(f"{folder.file(each)}#1").write_bytes(png[:100])
    objects = await store.objects()
    listed = {key for name in (ref, other) for key in await objects.names(name.key[:2])}
    await objects.delete([ref.key, other.key])

    assert listed == {ref.key, other.key}
    assert folder.keys() == set()
    assert [path.name for path in folder.path.iterdir()] == [OWNER]


async def test_a_folder_is_listed_while_others_delete_from_it(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(object_store, "PAGE", 1)
    objects = folder.objects()
    for number in range(3):
        await objects.put(f"ab/{number}/image", b"image")
    pages = objects._list("ab/")
    [first] = next(pages)
    for number in range(3):
        await objects.delete([f"ab/{number}/image"])

    assert first in {f"ab/{number}/image" for number in range(3)}
    assert list(pages) == []


async def test_two_databases_do_not_share_a_store(
    store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder
) -> None:
    (folder.path / OWNER).write_text(str(uuid4()))

    assert await store.place(ref, png) == png
    assert folder.keys() == set()
    with pytest.raises(ImageStoreAwayError) as caught:
        await store.objects()
    await store.adopt()

    assert "another database" in caught.value.reason
    assert await store.place(ref, png) is None


async def test_changed_bytes_are_not_given_out(store: ObjectImages, ref: ImageRef, png: bytes, folder: Folder) -> None:
    await store.place(ref, png)
    folder.file(ref).write_bytes(png[:-1] + b"?")

    with pytest.raises(ImageDamagedError):
        await store.get(ref)


async def test_an_image_whose_object_is_about_to_be_deleted_is_left_to_postgresql(
    store: ObjectImages, ref: ImageRef, png: bytes, database: Database
) -> None:
    async with database.transaction() as connection:
        await note(connection, [ref], is_certain=False, wait=timedelta(days=1))

    assert await store.place(ref, png) == png


async def test_after_a_restore_a_running_process_leaves_its_images_to_postgresql(
    store: ObjectImages, ref: ImageRef, png: bytes, database: Database
) -> None:
    """`aigen-bridge restored` gives the database another token: the store belongs to it once it is adopted."""
    before = await store.place(ref, png)
    await write(database, "UPDATE image_store SET token = gen_random_uuid()")

    assert (before, await store.place(ref, png)) == (None, png)


async def test_while_the_store_is_drained_images_are_left_to_postgresql(
    store: ObjectImages, ref: ImageRef, png: bytes, database: Database
) -> None:
    before = await store.place(ref, png)
    await write(database, "UPDATE image_store SET is_draining = true")

    assert (before, await store.place(ref, png), await store.get(ref)) == (None, png, png)


async def test_without_postgresql_every_method_says_so(ref: ImageRef, png: bytes, folder: Folder) -> None:
    nowhere = make_settings("postgresql://nobody@127.0.0.1:9/none").database_url.get_secret_value()
    database = Database(open_engine(nowhere, pool_size=1, name="test"))
    store = folder.images(database)
    for call in (store.place(ref, png), store.get(ref), store.objects()):
        with pytest.raises(StoreUnavailableError):
            await call
    await database.close()


# The whole way.


async def test_an_image_goes_from_the_callback_to_odoo_without_postgresql(
    stage_with_folder: Stage, folder: Folder, database: Database
) -> None:
    asked = await stage_with_folder.ask()
    ended = await delivered(stage_with_folder, asked)
    content = (await image(stage_with_folder, asked)).content

    assert (ended["status"], hashlib.sha256(content).hexdigest()) == ("completed", ended["image"]["sha256"])
    assert stage_with_folder.chain.odoo.records.image(asked["requestId"]) == content
    assert folder.keys() == {_ref(ended).key}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_an_image_that_comes_as_a_url_takes_the_same_way(
    folder: Folder,
    database_url: str,
    database: Database,
) -> None:
    async with staged(database_url, n8n={"callback_style": "v1-url"}, **folder.settings) as stage:
        asked = await stage.ask()
        ended = await delivered(stage, asked)
        content = (await image(stage, asked)).content

    assert hashlib.sha256(content).hexdigest() == ended["image"]["sha256"]
    assert stage.chain.odoo.records.image(asked["requestId"]) == content
    assert folder.keys() == {_ref(ended).key}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_a_request_that_is_completed_by_hand_keeps_its_image_there(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    answer = await complete(stage_with_folder, asked, png)
    ended = await delivered(stage_with_folder, asked)

    assert answer.status_code == 200
    assert stage_with_folder.chain.odoo.records.image(asked["requestId"]) == png
    assert (await image(stage_with_folder, asked)).content == png
    assert folder.keys() == {_ref(ended).key}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_an_image_after_the_cancellation_is_kept_there_and_not_delivered(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    await cancel(stage_with_folder, asked)
    answer = await report(stage_with_folder, completed(asked, png))
    ended = await delivered(stage_with_folder, asked)

    assert (answer.json()["status"], ended["status"]) == ("cancelled", "cancelled")
    assert (await image(stage_with_folder, asked)).content == png
    assert folder.keys() == {_ref(ended).key}
    assert stage_with_folder.chain.odoo.records.image(asked["requestId"]) is None
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_the_same_result_ten_times_at_once_leaves_one_file(
    stage_with_folder: Stage, folder: Folder, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    answers = await asyncio.gather(*(report(stage_with_folder, completed(asked, png)) for _ in range(10)))

    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 9
    assert len(folder.keys()) == 1


# Purging.


async def test_a_purge_of_images_notes_the_object_and_the_request_says_so(
    stage_with_folder: Stage, folder: Folder, database: Database
) -> None:
    asked = await stage_with_folder.ask()
    await delivered(stage_with_folder, asked)
    await purge_after(stage_with_folder, database, 29)
    before = await noted(database)
    await purge_after(stage_with_folder, database, 2)

    assert (before, await noted(database)) == (set(), folder.keys())
    assert (await stage_with_folder.read(asked["requestId"]))["image"]["purgedAt"] is not None
    assert (await image(stage_with_folder, asked)).status_code == 410


async def test_a_purge_of_requests_notes_their_objects(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    """As of a request that was cancelled long ago, and whose image came a moment ago."""
    asked = await stage_with_folder.ask()
    await cancel(stage_with_folder, asked)
    await delivered(stage_with_folder, asked)
    await write(database, BACK, days=timedelta(days=366))
    await report(stage_with_folder, completed(asked, png))
    await purge_after(stage_with_folder, database, 0)

    assert await noted(database) == folder.keys() != set()
    assert await rows(database, "SELECT FROM requests") == []


async def test_a_purge_does_not_need_the_store(stage_with_folder: Stage, folder: Folder, database: Database) -> None:
    asked = await stage_with_folder.ask()
    await delivered(stage_with_folder, asked)
    with folder.away():
        await purge_after(stage_with_folder, database, 31)

    assert await noted(database) == folder.keys() != set()


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_a_late_image_of_a_cancelled_request_is_kept_from_when_it_came_in_every_store(
    folder: Folder, database_url: str, database: Database, png: bytes, *, elsewhere: bool
) -> None:
    async with staged(database_url, **(folder.settings if elsewhere else {})) as stage:
        asked = await stage.ask()
        await cancel(stage, asked)
        await delivered(stage, asked)
        await write(database, BACK, days=timedelta(days=100))
        await report(stage, completed(asked, png))
        await purge_after(stage, database, 29)
        kept = await image(stage, asked)
        await purge_after(stage, database, 2)
        gone = await image(stage, asked)

    assert (kept.status_code, kept.content) == (200, png)
    assert (gone.status_code, gone.json()["code"]) == (410, "image_purged")


async def test_a_late_image_does_not_bring_back_a_delivery_that_a_person_discarded(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    asked = await idle_stage.ask()
    await cancel(idle_stage, asked)
    await write(database, "UPDATE outbox SET state = 'cancelled', finished_at = now() WHERE step = 'deliver'")
    await report(idle_stage, completed(asked, png))
    await write(database, BACK, days=timedelta(hours=1))
    await write(database, "UPDATE outbox SET created_at = created_at - interval '1 hour'")

    assert await Sweeps(database, DEADLINES).reconcile() == []


# The store is away.


async def test_a_callback_is_accepted_and_its_image_delivered_from_postgresql(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    with folder.away():
        answer = await report(stage_with_folder, completed(asked, png))
        ended = await delivered(stage_with_folder, asked)
        read = await image(stage_with_folder, asked)

    assert (answer.status_code, ended["status"], read.content) == (202, "completed", png)
    assert stage_with_folder.chain.odoo.records.image(asked["requestId"]) == png
    assert await rows(database, IN_POSTGRESQL) == [(1,)]


async def test_completing_by_hand_and_a_late_image_are_accepted_too(
    stage_with_folder: Stage, folder: Folder, png: bytes
) -> None:
    open_, cancelled = await stage_with_folder.ask(), await stage_with_folder.ask()
    await cancel(stage_with_folder, cancelled)
    with folder.away():
        answers = [
            await complete(stage_with_folder, open_, png),
            await report(stage_with_folder, completed(cancelled, png)),
        ]
        read = [(await image(stage_with_folder, asked)).content for asked in (open_, cancelled)]

    assert [answer.status_code for answer in answers] == [200, 202]
    assert read == [png, png]


async def test_a_fetched_image_is_settled_in_its_first_attempt(
    folder: Folder, database_url: str, database: Database
) -> None:
    style = {"callback_style": "v1-url"}
    async with staged(database_url, n8n=style, **folder.settings) as stage, working(stage.settings):
        with folder.away():
            asked = await stage.ask()
            ended = await stage.until_delivered(asked["requestId"])

    assert ended["status"] == "completed"
    assert await rows(database, "SELECT number, outcome FROM attempts WHERE step = 'fetch'") == [(1, "done")]


async def test_settlements_that_share_a_commit_with_such_an_image_are_settled(
    folder: Folder, database: Database, png: bytes
) -> None:
    outbox = Outbox(database, DEADLINES, folder.images(database))
    dispatches, [fetch] = await _claims(database, outbox, Step.DISPATCH, 4), await _claims(database, outbox, Step.FETCH)
    with closing(ImageCheck()) as check:
        fetched = Settlement(fetch, Done(Complete(await check.as_found(png))), timedelta(0))
    settlements = [
        *(Settlement(claim, Done(Advance(Status.DISPATCHED)), timedelta(0)) for claim in dispatches),
        fetched,
    ]
    with folder.away():
        settled = await asyncio.gather(*(outbox.settle(settlement) for settlement in settlements))

    assert settled == [settlement.outcome for settlement in settlements]
    assert await rows(database, "SELECT status, count(*) FROM requests GROUP BY status ORDER BY status") == [
        ("completed", 1),
        ("dispatched", 4),
    ]
    assert await rows(database, IN_POSTGRESQL) == [(1,)]


async def test_a_delivery_waits_for_the_store_without_an_attempt_and_odoo_is_not_blamed(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    await report(stage_with_folder, completed(asked, png))
    async with working(stage_with_folder.settings):
        with folder.away():
            async with asyncio.timeout(20):
                while len(await rows(database, "SELECT FROM attempts WHERE step = 'deliver' AND outcome = 'held'")) < 2:
                    await asyncio.sleep(0.02)
            read = await image(stage_with_folder, asked)
        await stage_with_folder.until_delivered(asked["requestId"])

    assert (read.status_code, read.json()["code"]) == (503, "image_store_away")
    assert stage_with_folder.chain.odoo.records.image(asked["requestId"]) == png
    assert await rows(database, "SELECT failures FROM destinations WHERE name = 'odoo'") == [(0,)]
    assert await rows(database, "SELECT max(number) FROM attempts WHERE step = 'deliver'") == [(1,)]


async def test_a_damaged_image_is_a_dead_letter_and_a_problem(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    await report(stage_with_folder, completed(asked, png))
    ref = _ref(await stage_with_folder.read(asked["requestId"]))
    folder.file(ref).write_bytes(b"other bytes")
    async with working(stage_with_folder.settings):
        async with asyncio.timeout(20):
            while not (dead := await rows(database, "SELECT error_code FROM outbox WHERE state = 'dead'")):
                await asyncio.sleep(0.02)
    read = await image(stage_with_folder, asked)

    assert dead == [("image_damaged",)]
    assert (read.status_code, read.json()["code"]) == (500, "image_damaged")


async def test_an_image_that_the_store_has_lost_is_not_called_purged(
    stage_with_folder: Stage, folder: Folder, database: Database, png: bytes
) -> None:
    asked = await stage_with_folder.ask()
    await report(stage_with_folder, completed(asked, png))
    folder.clear()
    lost = await image(stage_with_folder, asked)

    assert (lost.status_code, lost.json()["code"]) == (500, "image_damaged")


async def _claims(database: Database, outbox: Outbox, step: Step, count: int = 1) -> list[Claim]:
    """Claims of new requests that are due for this step."""
    requests = Requests(database, DEADLINES, PostgresImages(database))
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(count)]
    await requests.accept_all(wanted)
    if step is Step.FETCH:
        awaited = AwaitedImage(format="png", size=1, width=1, height=1, sha256="00", url="https://example.com/i.png")
        for new in wanted:
            moved = VersionedTransition(
                request_id=new.request_id,
                version=1,
                before=frozenset({Status.QUEUED}),
                after=Status.RECEIVED,
                awaited=awaited,
            )
            assert await requests.apply_versioned(moved)
    return await outbox.claim(step, limit=count, lease=timedelta(minutes=1), owner="test")


def _ref(request: dict[str, Any]) -> ImageRef:
    return ImageRef(UUID(request["requestId"]), request["image"]["sha256"])
