"""Images in PostgreSQL and in a folder: one contract, and the whole way of an image that PostgreSQL never has."""

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
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.outbox import Advance, Claim, Complete, Done, Settlement
from aigen_bridge.domain.request import AwaitedImage, NewRequest, Status, Step, VersionedTransition
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.images import ImageStore, PostgresImages
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from aigen_bridge.worker.purge import purge
from callbacks import completed, report
from image_stores import FileImages
from outages import rows, write
from stage import REQUESTS, Stage, make_event, make_settings, staged, working

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
STORES = ("postgresql", "files")
IN_POSTGRESQL = "SELECT count(*) FROM images"
BACK = """UPDATE requests SET created_at = created_at - :days, completed_at = completed_at - :days,
    delivered_at = delivered_at - :days, updated_at = updated_at - :days"""


@pytest.fixture
def files(tmp_path: Path) -> FileImages:
    """A store in a folder of its own."""
    (tmp_path / "images").mkdir()
    return FileImages(tmp_path / "images")


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest, database: Database, files: FileImages) -> ImageStore:
    """Each implementation."""
    return files if request.param == "files" else PostgresImages(database)


@pytest.fixture
async def refs(database: Database, png: bytes) -> list[ImageRef]:
    """References of requests that exist."""
    wanted = [NewRequest(uuid4(), uuid4(), make_event()) for _ in range(3)]
    await Requests(database, DEADLINES, PostgresImages(database)).accept_all(wanted)
    return [ImageRef(new.request_id, hashlib.sha256(png).hexdigest()) for new in wanted]


@pytest.fixture
async def stage_with_files(
    files: FileImages, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """API and simulators without a worker; images are kept in files."""
    monkeypatch.setattr(wiring, "image_store", lambda _: files)
    async with staged(database_url) as stage:
        yield stage


@pytest.fixture(params=STORES)
async def stage_with_each(
    request: pytest.FixtureRequest, files: FileImages, database_url: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Stage]:
    """The same with each implementation."""
    if request.param == "files":
        monkeypatch.setattr(wiring, "image_store", lambda _: files)
    async with staged(database_url) as stage:
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


# The contract.


async def test_what_was_put_is_found_again(store: ImageStore, refs: list[ImageRef], png: bytes) -> None:
    await store.put(refs[0], png)

    assert await store.get(refs[0]) == png
    assert await store.exists(refs[0])


async def test_what_was_never_put_is_not_there(store: ImageStore, refs: list[ImageRef], png: bytes) -> None:
    await store.put(refs[0], png)

    for unknown in (refs[1], ImageRef(uuid4(), refs[0].sha256)):
        assert await store.get(unknown) is None
        assert not await store.exists(unknown)


async def test_an_image_is_put_again_without_harm_also_at_the_same_moment(
    store: ImageStore, refs: list[ImageRef], png: bytes
) -> None:
    await store.put(refs[0], png)
    await asyncio.gather(*(store.put(ref, png) for ref in refs * 5))

    assert [await store.get(ref) for ref in refs] == [png] * 3


async def test_an_image_is_deleted_again_without_harm_and_the_others_stay(
    store: ImageStore, refs: list[ImageRef], png: bytes
) -> None:
    for ref in refs:
        await store.put(ref, png)
    for _ in range(2):
        await store.delete([*refs[:2], ImageRef(uuid4(), refs[0].sha256)])
    await store.delete([])

    assert [await store.exists(ref) for ref in refs] == [False, False, True]
    assert await store.get(refs[0]) is None


async def test_a_deleted_image_can_be_put_again(store: ImageStore, refs: list[ImageRef], png: bytes) -> None:
    await store.put(refs[0], png)
    await store.delete(refs[:1])
    await store.put(refs[0], png)

    assert await store.get(refs[0]) == png


@pytest.mark.parametrize("name", STORES)
async def test_every_method_of_a_store_that_is_away_says_so(name: str, tmp_path: Path, png: bytes) -> None:
    nowhere = make_settings("postgresql://nobody@127.0.0.1:9/none").database_url.get_secret_value()
    database = Database(open_engine(nowhere, pool_size=1, name="test"))
    store: ImageStore = FileImages(tmp_path / "none") if name == "files" else PostgresImages(database)
    ref = ImageRef(uuid4(), "00")
    for call in (store.put(ref, png), store.get(ref), store.delete([ref]), store.exists(ref)):
        with pytest.raises(StoreUnavailableError):
            await call
    await database.close()


# The whole way with images in files.


async def test_an_image_goes_from_the_callback_to_odoo_without_postgresql(
    stage_with_files: Stage, files: FileImages, database: Database
) -> None:
    asked = await stage_with_files.ask()
    ended = await delivered(stage_with_files, asked)
    content = (await image(stage_with_files, asked)).content

    assert (ended["status"], hashlib.sha256(content).hexdigest()) == ("completed", ended["image"]["sha256"])
    assert stage_with_files.chain.odoo.records.image(asked["requestId"]) == content
    assert files.names() == {files.name(_ref(ended))}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_an_image_that_comes_as_a_url_takes_the_same_way(
    files: FileImages, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "image_store", lambda _: files)
    async with staged(database_url, n8n={"callback_style": "v1-url"}) as stage:
        asked = await stage.ask()
        ended = await delivered(stage, asked)
        content = (await image(stage, asked)).content

    assert hashlib.sha256(content).hexdigest() == ended["image"]["sha256"]
    assert stage.chain.odoo.records.image(asked["requestId"]) == content
    assert files.names() == {files.name(_ref(ended))}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_a_request_that_is_completed_by_hand_keeps_its_image_there(
    stage_with_files: Stage, files: FileImages, database: Database, png: bytes
) -> None:
    asked = await stage_with_files.ask()
    answer = await complete(stage_with_files, asked, png)
    ended = await delivered(stage_with_files, asked)

    assert answer.status_code == 200
    assert stage_with_files.chain.odoo.records.image(asked["requestId"]) == png
    assert (await image(stage_with_files, asked)).content == png
    assert files.names() == {files.name(_ref(ended))}
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_an_image_after_the_cancellation_is_kept_there_and_not_delivered(
    stage_with_files: Stage, files: FileImages, database: Database, png: bytes
) -> None:
    asked = await stage_with_files.ask()
    await cancel(stage_with_files, asked)
    answer = await report(stage_with_files, completed(asked, png))
    ended = await delivered(stage_with_files, asked)

    assert (answer.json()["status"], ended["status"]) == ("cancelled", "cancelled")
    assert (await image(stage_with_files, asked)).content == png
    assert files.names() == {files.name(_ref(ended))}
    assert stage_with_files.chain.odoo.records.image(asked["requestId"]) is None
    assert await rows(database, IN_POSTGRESQL) == [(0,)]


async def test_the_same_result_ten_times_at_once_leaves_one_file(
    stage_with_files: Stage, files: FileImages, png: bytes
) -> None:
    asked = await stage_with_files.ask()
    answers = await asyncio.gather(*(report(stage_with_files, completed(asked, png)) for _ in range(10)))

    assert sorted(answer.json()["duplicate"] for answer in answers) == [False] + [True] * 9
    assert len(files.names()) == 1


# Purging.


async def test_a_purge_of_images_deletes_the_file_and_the_request_says_so(
    stage_with_files: Stage, files: FileImages, database: Database
) -> None:
    asked = await stage_with_files.ask()
    await delivered(stage_with_files, asked)
    await purge_after(stage_with_files, database, 29)
    before = files.names()
    await purge_after(stage_with_files, database, 2)

    assert (len(before), files.names()) == (1, set())
    assert (await stage_with_files.read(asked["requestId"]))["image"]["purgedAt"] is not None
    assert (await image(stage_with_files, asked)).status_code == 410


async def test_a_purge_of_requests_deletes_their_files(
    stage_with_files: Stage, files: FileImages, database: Database, png: bytes
) -> None:
    """As of a request that was cancelled long ago, and whose image came a moment ago."""
    asked = await stage_with_files.ask()
    await cancel(stage_with_files, asked)
    await delivered(stage_with_files, asked)
    await write(database, BACK, days=timedelta(days=366))
    await report(stage_with_files, completed(asked, png))
    before = files.names()
    await purge_after(stage_with_files, database, 0)

    assert (len(before), files.names()) == (1, set())
    assert await rows(database, "SELECT FROM requests") == []


async def test_while_the_store_is_away_a_purge_changes_nothing_and_the_next_one_deletes(
    stage_with_files: Stage, files: FileImages, database: Database
) -> None:
    asked = await stage_with_files.ask()
    await delivered(stage_with_files, asked)
    with files.away(), pytest.raises(StoreUnavailableError):
        await purge_after(stage_with_files, database, 31)
    marked = await rows(database, "SELECT FROM requests WHERE image_purged_at IS NOT NULL")
    before = files.names()
    await purge_after(stage_with_files, database, 0)

    assert (marked, len(before), files.names()) == ([], 1, set())


async def test_a_late_image_of_a_cancelled_request_is_kept_from_when_it_came_in_every_store(
    stage_with_each: Stage, database: Database, png: bytes
) -> None:
    stage = stage_with_each
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


async def test_a_callback_is_a_503_and_nothing_is_recorded_until_it_is_sent_again(
    stage_with_files: Stage, files: FileImages, database: Database, png: bytes
) -> None:
    asked = await stage_with_files.ask()
    before = await stage_with_files.read(asked["requestId"])
    with files.away():
        refused = await report(stage_with_files, completed(asked, png))
    after = await stage_with_files.read(asked["requestId"])
    traces = [await rows(database, f"SELECT FROM {table}") for table in ("quarantine", "request_changes")]
    again = await report(stage_with_files, completed(asked, png))

    assert (refused.status_code, after) == (503, before)
    assert "retry-after" in refused.headers
    assert traces == [[], []]
    assert (again.status_code, again.json()["duplicate"]) == (202, False)
    assert (await image(stage_with_files, asked)).content == png


async def test_completing_by_hand_and_a_late_image_are_a_503_and_change_nothing(
    stage_with_files: Stage, files: FileImages, database: Database, png: bytes
) -> None:
    open_, cancelled = await stage_with_files.ask(), await stage_with_files.ask()
    await cancel(stage_with_files, cancelled)
    with files.away():
        answers = [
            await complete(stage_with_files, open_, png),
            await report(stage_with_files, completed(cancelled, png)),
        ]

    assert [answer.status_code for answer in answers] == [503, 503]
    assert (await stage_with_files.read(open_["requestId"]))["status"] == "queued"
    assert (await stage_with_files.read(cancelled["requestId"]))["image"] is None
    assert await rows(database, "SELECT FROM operations") == []


async def test_a_fetched_image_is_settled_within_its_lease_once_the_store_is_back(
    files: FileImages, database_url: str, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wiring, "image_store", lambda _: files)
    async with staged(database_url, n8n={"callback_style": "v1-url"}) as stage, working(stage.settings):
        with files.away():
            asked = await stage.ask()
            async with asyncio.timeout(20):
                while not files.refusals:
                    await asyncio.sleep(0.02)
            waiting = await stage.read(asked["requestId"])
            attempts = await rows(database, "SELECT FROM attempts WHERE step = 'fetch'")
            fetched = len(stage.chain.flux.calls.to("image"))
        ended = await stage.until_delivered(asked["requestId"])

    assert (waiting["status"], attempts, ended["status"]) == ("received", [], "completed")
    assert len(stage.chain.flux.calls.to("image")) == fetched
    assert await rows(database, "SELECT number, outcome FROM attempts WHERE step = 'fetch'") == [(1, "done")]
    assert await rows(database, "SELECT leases_lost FROM outbox WHERE step = 'fetch'") == [(0,)]


async def test_only_the_settlement_with_an_image_waits_for_the_store(
    files: FileImages, database: Database, png: bytes
) -> None:
    """Settlements share commits; N8N must not be called again because an image store is away."""
    outbox = Outbox(database, DEADLINES, files)
    dispatches, [fetch] = await _claims(database, outbox, Step.DISPATCH, 4), await _claims(database, outbox, Step.FETCH)
    with closing(ImageCheck()) as check:
        fetched = Settlement(fetch, Done(Complete(await check.as_found(png))), timedelta(0))
    taken = [Settlement(claim, Done(Advance(Status.DISPATCHED)), timedelta(0)) for claim in dispatches]
    with files.away():
        first, refused, *rest = await asyncio.gather(
            *(outbox.settle(settlement) for settlement in (taken[0], fetched, *taken[1:])), return_exceptions=True
        )
    later = await outbox.settle(fetched)

    assert isinstance(refused, StoreUnavailableError)
    assert [first, *rest] == [settlement.outcome for settlement in taken]
    assert later == fetched.outcome
    assert await rows(database, "SELECT status, count(*) FROM requests GROUP BY status ORDER BY status") == [
        ("completed", 1),
        ("dispatched", 4),
    ]


async def test_a_delivery_waits_for_the_store_and_odoo_is_not_blamed(
    stage_with_files: Stage, files: FileImages, database: Database, png: bytes
) -> None:
    asked = await stage_with_files.ask()
    await report(stage_with_files, completed(asked, png))
    async with working(stage_with_files.settings):
        with files.away():
            async with asyncio.timeout(20):
                while not await rows(database, "SELECT FROM attempts WHERE step = 'deliver' AND outcome = 'retry'"):
                    await asyncio.sleep(0.02)
        await stage_with_files.until_delivered(asked["requestId"])

    assert stage_with_files.chain.odoo.records.image(asked["requestId"]) == png
    assert await rows(database, "SELECT failures FROM destinations WHERE name = 'odoo'") == [(0,)]


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
