"""The image store as operators see it: the incident, readiness, metrics and the doctor."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from aigen_bridge.clients.object_store import ObjectStore
from aigen_bridge.clients.object_store_errors import advise
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.finding import Mark
from aigen_bridge.doctor.image_store import look_at_image_store
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store import image_watch, images
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_state import read_state
from aigen_bridge.store.image_watch import ImageStoreWatch
from aigen_bridge.store.images import OWNER, ObjectImages, PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.worker import image_store
from image_stores import Folder
from outages import rows, write
from s3_server import serving
from scrape import scrape
from stage import make_event, make_settings, staged, working

WINDOW = timedelta(minutes=15)
INCIDENTS = "SELECT times, recovered_at IS NOT NULL AS over FROM incidents WHERE cause = 'image_store_down' ORDER BY id"
GARBAGE = """INSERT INTO image_garbage (request_id, sha256, is_certain, due_at)
    SELECT gen_random_uuid(), 'some', true, now() + CAST(due AS interval)
    FROM unnest(ARRAY['-90 minutes', '1 day']) AS of (due)"""
Look = Callable[..., Awaitable[list[tuple[Mark, str, str]]]]


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.0)


@pytest.fixture
def look(database_url: str, folder: Folder) -> Look:
    """Returns what the doctor finds."""

    async def look(*, write: bool = False, **section: Any) -> list[tuple[Mark, str, str]]:
        subject = Subject.of(make_settings(database_url, image_store=section or {"url": folder.url}))
        findings = await examine(replace(subject, may_write=write), [Check("image store", look_at_image_store)])
        return [(each.mark, each.found, each.advice) for each in findings]

    return look


async def test_one_incident_lasts_while_the_store_is_away(
    store: ObjectImages, folder: Folder, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = ImageStoreWatch(database, store, WINDOW)
    assert await watch.look() is None
    assert await rows(database, INCIDENTS) == []
    with folder.away():
        for _ in range(3):
            assert "No such file or directory" in str(await watch.look())
        assert await rows(database, INCIDENTS) == [(1, False)]
        state = await read_state(database)
        assert state.away_since is not None
        assert "No such file or directory" in str(state.away_reason)
        folder.path.mkdir()
        assert "the folder was replaced" in str(await watch.look())
        assert "is the folder mounted?" in str(await watch.look())
        assert "is the folder mounted?" in str((await read_state(database)).away_reason), "the reason is the latest"
        assert await rows(database, INCIDENTS) == [(1, False)]
        folder.clear()
        folder.path.rmdir()
    assert "the folder was replaced" in str(await watch.look())
    assert await watch.look() is None
    assert await rows(database, INCIDENTS) == [(1, False)], "another worker may see it away"
    monkeypatch.setattr(image_watch, "QUIET", timedelta(0))
    assert await watch.look() is None
    assert await rows(database, INCIDENTS) == [(1, True)]
    with folder.away():
        await watch.look()
    assert await rows(database, INCIDENTS) == [(2, False)], "the incident goes on"
    again = await read_state(database)
    assert again.away_since is not None
    assert again.away_since > state.away_since, "it was back in between"


async def test_a_worker_tells_within_seconds_that_the_store_is_away_and_that_it_is_back(
    folder: Folder, database: Database, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(image_watch, "QUIET", timedelta(0))
    monkeypatch.setattr(image_store, "EVERY", 0.1)

    async def until(expected: list[tuple[int, bool]]) -> None:
        async with asyncio.timeout(20):
            while await rows(database, INCIDENTS) != expected:
                await asyncio.sleep(0.05)

    async with working(make_settings(database_url, **folder.settings)):
        async with asyncio.timeout(20):
            while not (folder.path / OWNER).exists():
                await asyncio.sleep(0.05)
        with folder.away():
            await until([(1, False)])
        await until([(1, True)])


async def test_images_left_behind_in_a_store_are_an_incident_and_do_not_seem_to_be_missing(
    store: ObjectImages, ref: ImageRef, png: bytes, database: Database
) -> None:
    await store.place(ref, png)
    without = PostgresImages(database)
    assert "AIGEN_IMAGE_STORE__URL is not set" in str(await ImageStoreWatch(database, without, WINDOW).look())
    with pytest.raises(ImageStoreAwayError):
        await without.get(ref)


async def test_readiness_and_metrics_show_the_store(
    store: ObjectImages, folder: Folder, ref: ImageRef, png: bytes, database: Database, database_url: str
) -> None:
    async with staged(database_url, **folder.settings) as stage:
        assert (await stage.api.get("/health/ready")).json()["imageStore"] is None
    await store.place(ref, png)
    with folder.away():
        await ImageStoreWatch(database, store, WINDOW).look()
        async with staged(database_url, **folder.settings) as stage:
            shown = (await stage.api.get("/health/ready")).json()
            found = await scrape(stage.api)
    assert (shown["status"], shown["imageStore"]["state"], shown["imageStore"]["waiting"]) == ("ok", "out", 0)
    assert shown["imageStore"]["since"]
    assert found.value("aigen_image_store_away") == 1


async def test_the_metrics_count_what_waits_and_what_is_to_be_deleted(
    store: ObjectImages, folder: Folder, ref: ImageRef, png: bytes, database: Database, database_url: str
) -> None:
    await store.place(ref, png)
    await write(database, GARBAGE)
    async with staged(database_url, **folder.settings) as stage:
        found = await scrape(stage.api)
    assert (found.value("aigen_image_store_away"), found.value("aigen_image_objects_due")) == (0, 1)
    assert 5400 <= found.value("aigen_image_objects_due_seconds") < 5500


async def test_the_doctor_says_where_images_are(
    look: Look, folder: Folder, store: ObjectImages, ref: ImageRef, png: bytes
) -> None:
    assert await look(url=None) == [(Mark.OK, "Images are kept in PostgreSQL.", "")]
    [(mark, found, _)] = await look()
    assert (mark, "It holds no images yet" in found) == (Mark.OK, True)
    assert not list(folder.path.iterdir()), "it wrote without --write"
    await store.place(ref, png)
    [(mark, found, advice)] = await look(url=None)
    assert (mark, folder.url in found, "images move --to postgresql" in advice) == (Mark.WRONG, True, True)


async def test_the_doctor_writes_only_when_told_to_and_leaves_nothing(look: Look, folder: Folder) -> None:
    [(mark, found, _)] = await look(write=True)
    assert (mark, "an object was written, read, and deleted" in found) == (Mark.OK, True)
    assert not [path for path in folder.path.rglob("*") if path.is_file()]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_the_doctor_finds_a_folder_that_is_not_the_bridges(look: Look, folder: Folder) -> None:
    folder.path.chmod(0o500)
    [(mark, _, advice)] = await look(write=True)
    assert (mark, "user that runs the bridge" in advice) == (Mark.WRONG, True)


@pytest.mark.parametrize(
    ("reason", "todo"),
    [
        ("GenericError: Unable to create dir /images/probe: Permission denied (os error 13)", "read and write"),
        ("GenericError: Unable to create dir /images/probe: Read-only file system (os error 30)", "ReadWritePaths="),
        ("OSError: [Errno 28] No space left on device", "Free some space"),
        ("GenericError: Unable to open file /images/owner: Not a directory (os error 20)", "name a folder"),
        ("GenericError: GCP credential error: Unable to decode service account file", "the key"),
        ("GenericError: error sending request (dns error)", "AIGEN_IMAGE_STORE__ENDPOINT"),
    ],
)
def test_the_advice_fits_what_the_operating_system_says(reason: str, todo: str) -> None:
    assert todo in advise(ImageStoreAwayError(reason))


async def test_the_doctor_says_what_to_do_about_a_store_that_is_away(
    look: Look, folder: Folder, store: ObjectImages, ref: ImageRef, png: bytes
) -> None:
    await store.place(ref, png)
    with folder.away():
        [(mark, found, advice)] = await look()
        assert (mark, "No such file or directory" in found, "mount it" in advice) == (Mark.WRONG, True, True)
    (folder.path / OWNER).unlink()
    [(mark, found, _)] = await look()
    assert (mark, "is the folder mounted?" in found, "images adopt" in found) == (Mark.WRONG, True, True)
    (folder.path / OWNER).write_text(str(uuid4()))
    [(mark, found, _)] = await look()
    assert (mark, "belong to another database" in found) == (Mark.WRONG, True)


@pytest.mark.parametrize(
    ("wrong", "said", "todo"),
    [
        ({}, "an object was written, read, and deleted", ""),
        ({"secret_access_key": "another"}, "PermissionDenied", "may list the bucket, and get, put and delete"),
        ({"url": "s3://no-such-bucket"}, "NoSuchBucket", "Create the bucket"),
    ],
)
async def test_the_doctor_tries_s3(
    look: Look, tmp_path: Path, wrong: dict[str, str], said: str, todo: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.lower().endswith("_proxy") or name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    with serving(tmp_path / "s3") as server:
        [(mark, found, advice)] = await look(write=True, **server.settings["image_store"] | wrong)
    assert (mark, said in found, todo in advice) == (Mark.WRONG if wrong else Mark.OK, True, True), (found, advice)


async def test_the_doctor_finds_a_server_that_is_no_object_store(look: Look) -> None:
    [(mark, found, advice)] = await look(
        url="s3://bucket", endpoint="http://127.0.0.1:9", access_key_id="id", secret_access_key="not-to-be-shown"
    )
    assert (mark, "not-to-be-shown" in found + advice) == (Mark.WRONG, False)
    assert "AIGEN_IMAGE_STORE__ENDPOINT" in advice


async def test_the_doctor_finds_a_store_that_does_not_delete(look: Look, monkeypatch: pytest.MonkeyPatch) -> None:
    async def keep(*_: object) -> None:
        return None

    monkeypatch.setattr(ObjectStore, "delete", keep)
    [(mark, found, _)] = await look(write=True)
    assert (mark, "does not carry them out" in found) == (Mark.WRONG, True)


async def test_the_doctor_points_at_what_waits_and_at_a_store_that_is_given_up(
    look: Look, store: ObjectImages, ref: ImageRef, png: bytes, database: Database
) -> None:
    await store.place(ref, png)
    requests = Requests(database, Deadlines(WINDOW, WINDOW), PostgresImages(database))
    await requests.accept_all([NewRequest(uuid4(), uuid4(), make_event())])
    await write(database, "INSERT INTO images (request_id, content) SELECT request_id, 'x' FROM requests")
    assert [(mark, found) for mark, found, _ in await look()][1:] == [
        (Mark.WARNING, "Images that wait in PostgreSQL to be moved to the store: 1.")
    ]
    await write(database, "UPDATE image_store SET is_draining = true")
    assert ["being moved to PostgreSQL" in found for _, found, _ in await look()] == [False, True]
