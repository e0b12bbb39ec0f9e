"""Two who write to one request at the same moment: one waits for the other, neither fails, and there is one effect.

The first writer does all its work in a transaction that stays open until the second one waits for it, or is through.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.contracts.v1 import callback_event
from aigen_bridge.domain.dead_letter import OperatorAction, RefusedCallback
from aigen_bridge.domain.errors import BridgeError, PermanentError, StoreUnavailableError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.outbox import Claim, Settlement
from aigen_bridge.domain.outcome import Advance, Dead, Delivered, Done, Fail, Outcome
from aigen_bridge.domain.request import FailureCode, NewRequest, Status, Step
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.pipeline.callback import Examination, take_callback
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.pipeline.replay import Replays
from aigen_bridge.store.database import Database
from aigen_bridge.store.dead_letters import DeadLetters
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.quarantine import Quarantine
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
BY = OperatorAction("ops")
PERMANENT = PermanentError("http_400", "No.")


class Held(Database):
    """The database as one writer sees it whose transaction somebody else ends."""

    def __init__(self, connection: AsyncConnection) -> None:
        self._connection = connection
        self.timeout = timedelta(seconds=10)

    @asynccontextmanager
    async def transaction(self, **_how: bool) -> AsyncIterator[AsyncConnection]:
        yield self._connection

    reading = writing = transaction


@dataclass(frozen=True)
class Scene:
    """One request, what was written about it before, and what the writers bring along."""

    request_id: UUID
    events: Mapping[str, bytes]
    claim: Claim | None
    image: CheckedImage
    examine: Examination
    letters: Mapping[str, int]


Writer = Callable[[Database, Scene], Awaitable[object]]


async def image_callback(database: Database, scene: Scene) -> object:
    return await take_callback(_requests(database), scene.examine, callback_event.validate_json(scene.events["image"]))


async def url_callback(database: Database, scene: Scene) -> object:
    return await take_callback(_requests(database), scene.examine, callback_event.validate_json(scene.events["url"]))


async def failed_callback(database: Database, scene: Scene) -> object:
    return await take_callback(_requests(database), scene.examine, callback_event.validate_json(scene.events["failed"]))


async def quarantine_replay(database: Database, scene: Scene) -> object:
    await image_callback(database, scene)
    return await Operations(database, DEADLINES, PostgresImages(database)).close_callback(
        scene.letters["callback"], "replayed", BY
    )


async def quarantine_discard(database: Database, scene: Scene) -> object:
    return await Operations(database, DEADLINES, PostgresImages(database)).close_callback(
        scene.letters["callback"], "discarded", BY
    )


async def entry_replay(database: Database, scene: Scene) -> object:
    return await Operations(database, DEADLINES, PostgresImages(database)).replay_entry(scene.letters["entry"], BY)


async def entry_discard(database: Database, scene: Scene) -> object:
    return await Operations(database, DEADLINES, PostgresImages(database)).discard_entry(scene.letters["entry"], BY)


async def discard_and_removal(database: Database, scene: Scene) -> object:
    """As when the last thing that is owed for an old request is discarded, and a purge comes by."""
    await entry_discard(database, scene)
    await _execute(database, "DELETE FROM requests")
    return None


async def by_hand(database: Database, scene: Scene) -> object:
    operations = Operations(database, DEADLINES, PostgresImages(database))
    quarantine, letters = Quarantine(database, DEADLINES), DeadLetters(database)
    replays = Replays(operations, quarantine, letters, _requests(database), scene.examine)
    return await replays.complete(scene.request_id, scene.image, BY)


async def cancelling(database: Database, scene: Scene) -> object:
    return await cancel(_requests(database), scene.request_id, by="odoo")


async def expiry(database: Database, scene: Scene) -> object:
    return await Sweeps(database, DEADLINES).expire(lambda request_id: timed_out(request_id, DEADLINES.callback))


async def reconciling(database: Database, scene: Scene) -> object:
    return await Sweeps(database, DEADLINES).reconcile()


async def purging(database: Database, scene: Scene) -> object:
    return await Retention(database, PostgresImages(database)).purge(RetentionClass.REQUESTS, timedelta(days=1))


def settling(outcome: Outcome) -> Writer:
    async def settle(database: Database, scene: Scene) -> object:
        assert scene.claim
        return await Outbox(database, DEADLINES, PostgresImages(database)).settle_all(
            [Settlement(scene.claim, outcome, timedelta(0))]
        )

    settle.__name__ = f"settling_{type(outcome).__name__}"
    return settle


TAKEN = settling(Done(Advance(Status.DISPATCHED)))
REFUSED = settling(Dead(PERMANENT, Fail(FailureCode.DISPATCH_FAILED, "N8N said no.")))
TOLD = settling(Done(Delivered(3)))
REPORTS = (image_callback, url_callback, failed_callback)
SCENES: Mapping[str, tuple[Writer, ...]] = {
    "a dispatch in hand": (*REPORTS, TAKEN, REFUSED, by_hand, cancelling, quarantine_replay, quarantine_discard),
    "an overdue dispatch": (*REPORTS, expiry, by_hand, cancelling, quarantine_replay, reconciling),
    "a dead dispatch": (*REPORTS, by_hand, entry_replay, entry_discard, quarantine_replay, reconciling),
    "a dead delivery": (
        *REPORTS,
        by_hand,
        entry_replay,
        entry_discard,
        discard_and_removal,
        quarantine_replay,
        cancelling,
        reconciling,
    ),
    "a delivery in hand": (*REPORTS, by_hand, TOLD, quarantine_replay, reconciling),
    "an old cancelled one": (*REPORTS, by_hand, purging, cancelling, reconciling),
    "an old failure": (*REPORTS, by_hand, purging, cancelling, reconciling),
}
PAIRS = [(scene, first, second) for scene, writers in SCENES.items() for first in writers for second in writers]


@pytest.fixture
async def examine() -> AsyncIterator[Examination]:
    with closing(ImageCheck()) as check:
        yield Examination(check, lambda url: url)


@pytest.mark.parametrize("name", SCENES)
async def test_each_pair_of_writers_leaves_one_effect_and_no_error(
    database: Database, examine: Examination, png: bytes, name: str
) -> None:
    for first, second in ((first, second) for scene, first, second in PAIRS if scene == name):
        scene = await set_up(database, examine, png, name)
        what = f"{name}: {first.__name__}, then {second.__name__}"
        async with asyncio.timeout(20):
            await meet(database, scene, first, second, what)
        await check_one_effect(database, scene, what)
        await forget(database)


async def test_an_image_uploaded_while_the_dead_delivery_is_replayed_completes_the_request_once(
    database: Database, examine: Examination, png: bytes
) -> None:
    scene = await set_up(database, examine, png, "a dead delivery")
    await meet(database, scene, entry_replay, by_hand, "")
    found = await _requests(database).get(scene.request_id)

    assert found
    assert (found.status, found.version) == (Status.COMPLETED, 4)
    assert await live(database, scene.request_id) == ["deliver"]


async def meet(database: Database, scene: Scene, first: Writer, second: Writer, what: str) -> None:
    """Both write, the second beside the first one's open transaction. What is refused has a name."""
    async with database.transaction() as connection:
        await _refusable(first(Held(connection), scene), what)
        waiting = asyncio.create_task(_refusable(second(database, scene), what))
        await waits_or_is_through(database, waiting)
    await waiting


async def _refusable(writing: Awaitable[object], what: str) -> None:
    try:
        await writing
    except StoreUnavailableError as error:  # a deadlock, or a lock that was not free in time
        raise AssertionError(what) from error
    except BridgeError:
        pass
    except Exception as error:
        raise AssertionError(what) from error


async def waits_or_is_through(database: Database, task: asyncio.Task[None]) -> None:
    query = text(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with database.reading() as connection:
        while not task.done() and not await connection.scalar(query):
            await asyncio.sleep(0.002)


async def check_one_effect(database: Database, scene: Scene, what: str) -> None:
    """Each move is recorded once, nothing is owed twice, and an image is there exactly when the request says so."""
    found = await _requests(database).get(scene.request_id)
    key = {"id": scene.request_id}
    async with database.reading() as connection:
        moves = (
            await connection.execute(
                text("SELECT version, status FROM request_changes WHERE request_id = :id ORDER BY version"), key
            )
        ).all()
        images = await connection.scalar(text("SELECT count(*) FROM images WHERE request_id = :id"), key)
    if found is None:
        assert (moves, images) == ([], 0), what
        return
    assert [row.version for row in moves] == list(range(2, found.version + 1)), what
    assert [row.status for row in moves].count("completed") <= 1, what
    assert bool(images) == (found.image is not None), what
    pending = await live(database, scene.request_id)
    assert len(pending) == len(set(pending)), what


async def live(database: Database, request_id: UUID) -> list[str]:
    async with database.reading() as connection:
        rows = await connection.execute(
            text("SELECT step FROM outbox WHERE request_id = :id AND state = 'pending'"), {"id": request_id}
        )
        return list(rows.scalars())


async def set_up(database: Database, examine: Examination, png: bytes, name: str) -> Scene:
    """A request in the state that the scene is about; the version is 3 where it has ended."""
    requests, outbox = _requests(database), Outbox(database, DEADLINES, PostgresImages(database))
    asked = make_event()
    request_id = UUID(asked["requestId"])
    await requests.accept_all([NewRequest(request_id, UUID(asked["correlationId"]), asked)])
    url = {"imageData": None, "imageUrl": "https://images.example.com/1.png"}
    reported = {"image": completed(asked, png), "url": completed(asked, png, **url), "failed": failed(asked)}
    events = {name: json.dumps(event).encode() for name, event in reported.items()}
    number = await Quarantine(database, DEADLINES).keep(_refused(request_id, events["image"]))
    claim, entry = await _bring_to(database, outbox, requests, request_id, name)
    image = await examine.check.as_found(png)
    return Scene(request_id, events, claim, image, examine, {"callback": number, "entry": entry})


async def _bring_to(
    database: Database, outbox: Outbox, requests: Requests, request_id: UUID, name: str
) -> tuple[Claim | None, int]:
    claim = await _claim(outbox, Step.DISPATCH)
    if name == "a dispatch in hand":
        return claim, 0
    if name == "a dead dispatch":
        await outbox.settle_all(
            [Settlement(claim, Dead(PERMANENT, Fail(FailureCode.DISPATCH_FAILED, "x")), timedelta(0))]
        )
        return None, claim.entry_id
    await outbox.settle_all([Settlement(claim, Done(Advance(Status.DISPATCHED)), timedelta(0))])
    if name == "an overdue dispatch":
        await _execute(database, "UPDATE requests SET callback_deadline_at = now() - interval '1 s'")
        return None, 0
    if name == "an old cancelled one":
        await cancel(requests, request_id, by="odoo")
    else:
        await requests.apply(timed_out(request_id, DEADLINES.callback))
    claim = await _claim(outbox, Step.DELIVER)
    if name == "a delivery in hand":
        return claim, 0
    outcome: Outcome = Dead(PERMANENT, None) if name == "a dead delivery" else Done(Delivered(3))
    await outbox.settle_all([Settlement(claim, outcome, timedelta(0))])
    if name.startswith("an old"):
        await _execute(database, "DELETE FROM quarantine")
        for column in ("created_at", "completed_at", "delivered_at"):
            await _execute(database, f"UPDATE requests SET {column} = now() - interval '400 days'")  # noqa: S608 - names of ours
    return None, claim.entry_id


async def _claim(outbox: Outbox, step: Step) -> Claim:
    [claim] = await outbox.claim(step, limit=10, lease=timedelta(minutes=5), owner="test")
    return claim


def _refused(request_id: UUID, event: bytes) -> RefusedCallback:
    return RefusedCallback(
        client="n8n",
        version="v1",
        request_id=request_id,
        error_code="internal",
        error_detail="x",
        headers={},
        payload=event + uuid4().bytes,
    )


def _requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


async def forget(database: Database) -> None:
    await _execute(database, "TRUNCATE requests, outbox, quarantine, incidents CASCADE")


async def _execute(database: Database, statement: str) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement))
