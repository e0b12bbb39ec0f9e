"""`aigen-bridge images`: where the images are, moving them both ways, and taking over a store."""

import asyncio
import hashlib
import json
import os
import re
import signal
from asyncio.subprocess import PIPE
from collections.abc import Awaitable, Callable
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from click.testing import Result
from typer.testing import CliRunner

from aigen_bridge.cli import app
from aigen_bridge.cli.images import _is_set_within
from aigen_bridge.cli.restored import own_images
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store import image_moves, images
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_watch import ImageStoreWatch
from aigen_bridge.store.images import OWNER, PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.restoration import Restoration
from aigen_bridge.store.transitions import Deadlines
from chaos.storage import unmounted
from image_stores import Folder
from outages import rows, write
from processes import COMMAND
from stage import make_event

WINDOW = timedelta(minutes=15)
Run = Callable[..., Awaitable[Result]]
IMAGE = """'{"format": "png", "size": 1, "width": 64, "height": 64, "sha256": "%s"}'"""
OPERATIONS = "SELECT action, after FROM operations ORDER BY id"


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.0)
    monkeypatch.setattr(image_moves, "SETTLING_SECONDS", 0.0)


@pytest.fixture
def run(configured: dict[str, str], folder: Folder, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs `aigen-bridge images` in this process."""
    monkeypatch.setattr("aigen_bridge.logs.configure", lambda *_: None)  # the tests keep their own log
    # Signals belong to the main thread, in which the tests run.
    monkeypatch.setattr("aigen_bridge.cli.images.until_stopped", lambda work: asyncio.run(work(asyncio.Event())))

    async def run(*arguments: str, url: str | None = folder.url) -> Result:
        environment = configured | {"COLUMNS": "200"} | ({"AIGEN_IMAGE_STORE__URL": url} if url else {})
        return await asyncio.to_thread(CliRunner().invoke, app, ["images", *arguments], env=environment)

    return run


async def planted(database: Database, contents: list[bytes]) -> list[ImageRef]:
    """Plants requests whose images are in PostgreSQL."""
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in contents]
    await Requests(database, Deadlines(WINDOW, WINDOW), PostgresImages(database)).accept_all(wanted)
    refs = []
    for new, content in zip(wanted, contents, strict=True):
        sha256 = hashlib.sha256(content).hexdigest()
        image = IMAGE % sha256
        done = f"UPDATE requests SET status = 'completed', completed_at = now(), image = {image} WHERE request_id = :id"  # noqa: S608 - of these tests
        await write(database, done, id=new.request_id)
        await write(database, "INSERT INTO images VALUES (:id, :content)", id=new.request_id, content=content)
        refs.append(ImageRef(new.request_id, sha256))
    return refs


async def in_postgresql(database: Database) -> set[UUID]:
    return {request_id for (request_id,) in await rows(database, "SELECT request_id FROM images")}


async def test_images_move_to_the_store_and_back(run: Run, folder: Folder, database: Database) -> None:
    refs = await planted(database, [b"one", b"two", b"three"])
    tried = await run("move", "--to", "store", "--dry-run")
    assert (tried.exit_code, "Would move 3 images, 11 B to the image store" in tried.output) == (0, True), tried.output
    assert not folder.keys()

    moved = await run("move", "--to", "store", "--reason", "the disk is full")
    assert (moved.exit_code, "Moved 3 images to the image store." in moved.output) == (0, True), moved.output
    assert "All images are in the image store." in moved.output
    assert folder.keys() == {ref.key for ref in refs}
    assert await in_postgresql(database) == set()
    shown = await run("status")
    assert f"{folder.url} (new ones, too)" in shown.output

    back = await run("move", "--to", "postgresql", "--max-per-second", "1000")
    assert (back.exit_code, "All images are in PostgreSQL" in back.output) == (0, True), back.output
    assert await in_postgresql(database) == {ref.request_id for ref in refs}
    assert [tuple(row) for row in await rows(database, OPERATIONS)] == [
        ("move", {"to": "store"}),
        ("move", {"to": "postgresql"}),
    ]
    # The setting may be removed: everything can be read, and nothing claims the store again.
    await folder.images(database).check()
    without = PostgresImages(database)
    await without.check()
    assert [await without.get(ref) for ref in refs] == [b"one", b"two", b"three"]


async def test_a_move_that_is_stopped_goes_on_where_it_was(
    configured: dict[str, str], folder: Folder, database: Database
) -> None:
    contents = [bytes([number]) for number in range(12)]
    refs = await planted(database, contents)
    environment = os.environ | configured | {"AIGEN_IMAGE_STORE__URL": folder.url}
    command = [*COMMAND, "images", "move", "--to", "store"]
    async with asyncio.timeout(60):
        process = await asyncio.create_subprocess_exec(
            *command, "--max-per-second", "4", env=environment, stdout=PIPE, stderr=PIPE
        )
        while not folder.keys():
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        said, complaint = (text.decode() for text in await process.communicate())
        assert (process.returncode, "Stopped before the end. Run it again to go on." in complaint) == (1, True), said
        assert folder.keys() < {ref.key for ref in refs}
        process = await asyncio.create_subprocess_exec(*command, env=environment, stdout=PIPE, stderr=PIPE)
        said, complaint = (text.decode() for text in await process.communicate())
    assert (process.returncode, "All images are in the image store." in said) == (0, True), complaint
    assert folder.keys() == {ref.key for ref in refs}
    assert await in_postgresql(database) == set()


async def test_a_damaged_or_missing_image_is_named_and_the_store_is_not_given_up(
    run: Run, folder: Folder, database: Database
) -> None:
    damaged, missing, _ = await planted(database, [b"one", b"two", b"three"])
    await run("move", "--to", "store")
    folder.file(damaged).write_bytes(b"changed")
    folder.file(missing).unlink()
    moved = await run("move", "--to", "postgresql")
    assert (moved.exit_code, "Moved 1 image to PostgreSQL." in moved.output) == (1, True), moved.output
    for said in (damaged.sha256, missing.key, "2 images could not be moved."):
        assert said in moved.output, said
    assert (await rows(database, "SELECT location FROM image_store"))[0][0] == folder.url


async def test_an_image_that_is_damaged_in_postgresql_is_named_and_stays(
    run: Run, folder: Folder, database: Database
) -> None:
    damaged, _ = await planted(database, [b"one", b"two"])
    await write(database, "UPDATE images SET content = 'changed' WHERE request_id = :id", id=damaged.request_id)
    moved = await run("move", "--to", "store")
    assert (moved.exit_code, "Moved 1 image to the image store." in moved.output) == (1, True), moved.output
    assert "Restore them in PostgreSQL from a backup" in moved.output
    assert await in_postgresql(database) == {damaged.request_id}


async def test_an_image_whose_earlier_object_is_being_deleted_stays_for_now(
    run: Run, folder: Folder, database: Database
) -> None:
    ref, _ = await planted(database, [b"one", b"two"])
    claimed = """INSERT INTO image_garbage (request_id, sha256, is_certain, due_at, claimed_at)
        VALUES (:id, :sha256, true, now(), now())"""
    await write(database, claimed, id=ref.request_id, sha256=ref.sha256)
    moved = await run("move", "--to", "store")
    assert (moved.exit_code, "Still in PostgreSQL: 1 image," in moved.output) == (0, True), moved.output
    assert "All images are in the image store." not in moved.output
    assert await in_postgresql(database) == {ref.request_id}


async def test_a_move_can_be_stopped_while_it_finds_nothing_to_move(
    configured: dict[str, str], folder: Folder, database: Database
) -> None:
    await folder.images(database).check()
    environment = os.environ | configured | {"AIGEN_IMAGE_STORE__URL": folder.url}
    async with asyncio.timeout(40):  # less than SETTLING_SECONDS
        process = await asyncio.create_subprocess_exec(
            *COMMAND, "images", "move", "--to", "postgresql", env=environment, stdout=PIPE, stderr=PIPE
        )
        while not (await rows(database, "SELECT is_draining FROM image_store"))[0][0]:
            await asyncio.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        _, complaint = await process.communicate()
    assert (process.returncode, b"Run it again to go on." in complaint) == (1, True), complaint


async def test_a_stop_is_noticed_after_a_page_of_which_nothing_could_be_moved() -> None:
    stop = asyncio.Event()
    assert not await _is_set_within(stop, timedelta(0))
    stop.set()
    assert await _is_set_within(stop, timedelta(0))


async def test_status_says_when_the_setting_is_missing(run: Run, folder: Folder, database: Database) -> None:
    assert "none: images are kept in PostgreSQL" in (await run("status", url=None)).output
    await folder.images(database).check()
    shown = (await run("status", url=None)).output
    assert ("AIGEN_IMAGE_STORE__URL is not set" in shown, folder.url in shown) == (True, True)


async def test_without_a_store_that_answers_a_move_says_so_and_loses_nothing(
    run: Run, folder: Folder, database: Database
) -> None:
    [ref] = await planted(database, [b"one"])
    await folder.images(database).check()
    with folder.away():
        moved = await run("move", "--to", "store")
        assert (moved.exit_code, "the image store is away" in moved.output) == (1, True), moved.output
        await ImageStoreWatch(database, folder.images(database), WINDOW).look()
        shown = (await run("status")).output
        assert re.search("^away +since .* ago: FileNotFoundError", shown, re.MULTILINE), shown
    assert await in_postgresql(database) == {ref.request_id}
    refused = await run("move", "--to", "store", url=None)
    assert (refused.exit_code, "AIGEN_IMAGE_STORE__URL is not set" in refused.output) == (2, True)


async def test_status_as_json_has_no_token(run: Run, folder: Folder, database: Database) -> None:
    await folder.images(database).check()
    shown = json.loads((await run("status", "--json")).output)
    assert (shown["location"], shown["setting"], shown["waiting"], shown["due"]) == (folder.url, folder.url, 0, 0)
    assert "token" not in shown


async def test_a_store_is_adopted_only_when_somebody_says_so(run: Run, folder: Folder, database: Database) -> None:
    store = folder.images(database)
    await store.check()
    (folder.path / OWNER).write_text(str(uuid4()))
    with pytest.raises(ImageStoreAwayError):
        await store.check()
    asked = await run("adopt")
    assert asked.exit_code == 1
    with pytest.raises(ImageStoreAwayError):
        await store.check()
    adopted = await run("adopt", "--yes", "--reason", "the original is gone")
    assert (adopted.exit_code, "belongs to this database now" in adopted.output) == (0, True), adopted.output
    await store.check()
    assert [tuple(row) for row in await rows(database, OPERATIONS)] == [("adopt", {"location": folder.url})]


async def test_a_restored_database_takes_the_store_from_the_one_that_it_replaces(
    folder: Folder, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await folder.images(database).check()
    before = (folder.path / OWNER).read_text()
    await Restoration(database, Deadlines(WINDOW, WINDOW)).begin(OperatorAction("ops"))
    with folder.away(), pytest.raises(SystemExit):
        await own_images(folder.images(database))
    assert "aigen-bridge images adopt" in capsys.readouterr().err
    with pytest.raises(ImageStoreAwayError):
        await folder.images(database).check()
    await own_images(folder.images(database))
    await folder.images(database).check()
    assert (folder.path / OWNER).read_text() != before


async def test_after_a_restore_without_the_setting_an_operator_learns_that_the_store_is_not_taken_over(
    folder: Folder, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    await own_images(PostgresImages(database))  # there is none
    assert capsys.readouterr() == ("", "")
    await folder.images(database).check()
    with pytest.raises(SystemExit):
        await own_images(PostgresImages(database))
    said = capsys.readouterr().err
    assert ("AIGEN_IMAGE_STORE__URL is not set" in said, "aigen-bridge images adopt" in said) == (True, True)


@pytest.mark.parametrize("url", ["that of the store", None], ids=["unmounted", "without the setting"])
async def test_a_restored_database_takes_no_other_store_than_the_one_that_holds_its_images(
    url: str | None, folder: Folder, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    """On a new machine, the folder may not be mounted yet, or the settings may not be complete."""
    await folder.images(database).check()
    await Restoration(database, Deadlines(WINDOW, WINDOW)).begin(OperatorAction("ops"))
    with unmounted(folder):
        with pytest.raises(SystemExit):
            await own_images(folder.images(database) if url else PostgresImages(database))
        assert not folder.keys()
        assert not (folder.path / OWNER).exists()
    said = capsys.readouterr().err
    assert ("is the folder mounted?" if url else "AIGEN_IMAGE_STORE__URL is not set") in said
    await own_images(folder.images(database))
    await folder.images(database).check()


async def test_a_restored_database_that_never_had_a_store_begins_one_or_needs_none(
    folder: Folder, database: Database
) -> None:
    await Restoration(database, Deadlines(WINDOW, WINDOW)).begin(OperatorAction("ops"))
    await own_images(PostgresImages(database))
    await own_images(folder.images(database))
    await folder.images(database).check()
