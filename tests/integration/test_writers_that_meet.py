"""Two who write to one request at the same moment: one waits for the other, neither fails, and there is one effect.

The first writer does all its work in a transaction that stays open until the second one waits for it, or is through.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.contracts.messages import Callback
from aigen_bridge.contracts.v1 import callback_event
from aigen_bridge.domain.dead_letter import EXECUTION_FAILED, N8N_REPORT, OperatorAction, RefusedCallback
from aigen_bridge.domain.errors import BridgeError, PermanentError, StoreUnavailableError, TransientError
from aigen_bridge.domain.execution import RESENDS_MAX, FailedExecution, never_started
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.outbox import (
    Advance,
    Claim,
    Complete,
    Dead,
    Delivered,
    Done,
    Fail,
    Held,
    Outcome,
    Retry,
    Settlement,
)
from aigen_bridge.domain.request import (
    NEXT_STEPS,
    AwaitedImage,
    FailureCode,
    NewRequest,
    Status,
    Step,
    Transition,
    VersionedTransition,
)
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.pipeline.callback import Examination, take_callback
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.pipeline.check import ImageCheck
from aigen_bridge.pipeline.execution import take_failed_execution
from aigen_bridge.pipeline.expire import timed_out
from aigen_bridge.pipeline.replay import Replays
from aigen_bridge.store.database import Database
from aigen_bridge.store.dead_letters import DeadLetters
from aigen_bridge.store.executions import Executions
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.quarantine import Quarantine, keep
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed
from meeting import OpenTransaction, waits_or_is_through
from stage import make_event

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
BY = OperatorAction("ops")
PERMANENT = PermanentError("http_400", "No.")
TRANSIENT = TransientError("http_503", "Not now.", http_status=503)
LATER = datetime(2100, 1, 1, tzinfo=UTC)
CRASH = "Workflow did not finish, possible out-of-memory issue"
STEP_OF = {status.value: step.value for status, step in NEXT_STEPS.items()}


@dataclass(frozen=True)
class Scene:
    """One request, what was written about it before, and what the writers bring along."""

    request_id: UUID
    events: Mapping[str, bytes]
    claim: Claim | None
    image: CheckedImage
    examine: Examination
    letters: Mapping[str, int]


Operation = tuple[str, str]
"""What an operator did, and to what, as `operations` records it."""
Writer = Callable[[Database, Scene], Awaitable[Operation | None]]
"""Returns the operation that it recorded, if it did."""


async def image_callback(database: Database, scene: Scene) -> None:
    await take_callback(
        _requests(database), scene.examine, Callback(callback_event.validate_json(scene.events["image"]))
    )


async def url_callback(database: Database, scene: Scene) -> None:
    await take_callback(_requests(database), scene.examine, Callback(callback_event.validate_json(scene.events["url"])))


async def failed_callback(database: Database, scene: Scene) -> None:
    await take_callback(
        _requests(database), scene.examine, Callback(callback_event.validate_json(scene.events["failed"]))
    )


async def quarantine_replay(database: Database, scene: Scene) -> Operation | None:
    await image_callback(database, scene)
    number = scene.letters["callback"]
    closed = await _operations(database).close_callback(number, "replayed", BY)
    return ("replay", f"callback-{number}") if closed else None


async def quarantine_discard(database: Database, scene: Scene) -> Operation | None:
    number = scene.letters["callback"]
    closed = await _operations(database).close_callback(number, "discarded", BY)
    return ("discard", f"callback-{number}") if closed else None


async def crash_replay(database: Database, scene: Scene) -> Operation | None:
    number = scene.letters["crash"]
    sent = await _operations(database).send_again(number, scene.request_id, BY)
    return ("replay", f"callback-{number}") if sent else None


async def entry_replay(database: Database, scene: Scene) -> Operation | None:
    number = scene.letters["entry"]
    handled = await _operations(database).replay_entry(number, BY)
    return ("replay", f"entry-{number}") if handled else None


async def entry_discard(database: Database, scene: Scene) -> Operation | None:
    number = scene.letters["entry"]
    handled = await _operations(database).discard_entry(number, BY)
    return ("discard", f"entry-{number}") if handled else None


async def discard_and_removal(database: Database, scene: Scene) -> Operation | None:
    """As when the last pending work of an old request is discarded, and a purge comes by."""
    discarded = await entry_discard(database, scene)
    await _execute(database, "DELETE FROM requests")
    return discarded


async def by_hand(database: Database, scene: Scene) -> Operation:
    quarantine, letters = Quarantine(database, DEADLINES), DeadLetters(database)
    replays = Replays(_operations(database), quarantine, letters, _requests(database), scene.examine)
    await replays.complete(scene.request_id, scene.image, BY)
    return "complete", "request"


async def cancelling(database: Database, scene: Scene) -> None:
    await cancel(_requests(database), scene.request_id, by="odoo")


async def crash_report(database: Database, scene: Scene) -> None:
    await _report_failed(database, scene, CRASH)


async def bug_report(database: Database, scene: Scene) -> None:
    await _report_failed(database, scene, "x is not a function")


async def expiry(database: Database, scene: Scene) -> None:
    await Sweeps(database, DEADLINES).expire(lambda request_id: timed_out(request_id, DEADLINES.callback))


async def unbegun(database: Database, scene: Scene) -> None:
    await Sweeps(database, DEADLINES).send_again(never_started, RESENDS_MAX)


async def reconciling(database: Database, scene: Scene) -> None:
    await Sweeps(database, DEADLINES).reconcile()


def purging(retention_class: RetentionClass) -> Writer:
    async def purge(database: Database, scene: Scene) -> None:
        await Retention(database, has_objects=False).purge(retention_class, timedelta(days=1))

    purge.__name__ = f"purging_{retention_class}"
    return purge


def settling(name: str, outcome: Outcome | None) -> Writer:
    """The outcome of the scene's claim; None: the image was fetched."""

    async def settle(database: Database, scene: Scene) -> None:
        assert scene.claim
        settlement = Settlement(scene.claim, outcome or Done(Complete(scene.image)), timedelta(0))
        await Outbox(database, DEADLINES, PostgresImages(database)).settle_all([settlement])

    settle.__name__ = f"settling_{name}"
    return settle


TAKEN = settling("taken", Done(Advance(Status.DISPATCHED)))
REFUSED = settling("refused", Dead(PERMANENT, Fail(FailureCode.DISPATCH_FAILED, "N8N said no.")))
FETCHED = settling("fetched", None)
UNFETCHED = settling("unfetched", Dead(PERMANENT, Fail(FailureCode.IMAGE_FETCH_FAILED, "It is gone.")))
TOLD = settling("told", Done(Delivered(3)))
UNTOLD = settling("untold", Dead(PERMANENT, None))
HELD = settling("held", Held(TRANSIENT))
RETRIED = settling("retried", Retry(LATER, TRANSIENT))
REPORTS = (image_callback, url_callback, failed_callback)
PURGES = tuple(purging(retention_class) for retention_class in (RetentionClass.REQUESTS, RetentionClass.ATTEMPTS))
SCENES: Mapping[str, tuple[Writer, ...]] = {
    "a dispatch in hand": (
        *REPORTS,
        TAKEN,
        REFUSED,
        HELD,
        bug_report,
        by_hand,
        cancelling,
        quarantine_replay,
        quarantine_discard,
    ),
    "an overdue dispatch": (
        *REPORTS,
        expiry,
        unbegun,
        crash_report,
        by_hand,
        cancelling,
    ),
    "a fetch in hand": (image_callback, failed_callback, FETCHED, UNFETCHED, RETRIED, by_hand, cancelling),
    "a dead dispatch": (*REPORTS, by_hand, entry_replay, entry_discard, crash_replay),
    "a dead delivery": (*REPORTS, by_hand, entry_replay, entry_discard, discard_and_removal, crash_replay),
    "a delivery in hand": (*REPORTS, by_hand, TOLD, UNTOLD, RETRIED, crash_replay),
    "a forgotten delivery": (*REPORTS, by_hand, crash_replay, reconciling),
    "an old cancelled one": (*REPORTS, *PURGES),
    "an old failure": (*REPORTS, by_hand, *PURGES),
    "an old image": (image_callback, *PURGES, purging(RetentionClass.IMAGES)),
}


@pytest.fixture
async def examine() -> AsyncIterator[Examination]:
    with closing(ImageCheck()) as check:
        yield Examination(check, lambda url: url)


@pytest.mark.parametrize("name", SCENES)
async def test_each_pair_of_writers_leaves_one_effect_and_no_error(
    database: Database, examine: Examination, png: bytes, name: str
) -> None:
    image = await examine.check.as_found(png)
    waited = []
    for first, second in product(SCENES[name], repeat=2):
        scene = await set_up(database, examine, image, name)
        what = f"{name}: {first.__name__}, then {second.__name__}"
        async with asyncio.timeout(20):
            met = await meet(database, scene, first, second, what)
        waited.append(met.waited)
        await check_one_effect(database, scene, met, what)
        await forget(database)
    is_skipped = name == "an old image"  # purges skip what others hold, and the same image again writes nothing
    assert any(waited) is not is_skipped, "writers that never wait for each other have not met"


async def test_an_image_uploaded_while_the_dead_delivery_is_replayed_completes_the_request_once(
    database: Database, examine: Examination, png: bytes
) -> None:
    scene = await set_up(database, examine, await examine.check.as_found(png), "a dead delivery")
    await meet(database, scene, entry_replay, by_hand, "")
    found = await _requests(database).get(scene.request_id)

    assert found
    assert (found.status, found.version) == (Status.COMPLETED, 4)
    assert await live(database, scene.request_id) == ["deliver"]


@dataclass(frozen=True)
class Met:
    """How two writers met: whether the second one waited, and the operations that they recorded."""

    waited: bool
    operations: list[Operation]


async def meet(database: Database, scene: Scene, first: Writer, second: Writer, what: str) -> Met:
    """Both write, the second beside the first one's open transaction. What is refused has a name."""
    async with database.transaction() as connection:
        one = await _refusable(first(OpenTransaction(connection), scene), what)
        waiting = asyncio.create_task(_refusable(second(database, scene), what))
        waited = await waits_or_is_through(database, waiting)
    other = await waiting
    return Met(waited, sorted(done for done in (one, other) if done))


async def _refusable(writing: Awaitable[Operation | None], what: str) -> Operation | None:
    try:
        return await writing
    except StoreUnavailableError as error:  # a deadlock, or a lock that was not free in time
        raise AssertionError(what) from error
    except BridgeError:
        return None
    except Exception as error:
        raise AssertionError(what) from error


FOUND = text("""
    SELECT
        (SELECT to_jsonb(r) FROM requests AS r WHERE r.request_id = :id) AS request,
        (SELECT jsonb_agg(jsonb_build_array(version, status) ORDER BY version)
            FROM request_changes WHERE request_id = :id) AS changes,
        (SELECT count(*) FROM images WHERE request_id = :id) AS images,
        (SELECT jsonb_agg(jsonb_build_array(step, state)) FROM outbox WHERE request_id = :id) AS entries,
        (SELECT jsonb_agg(jsonb_build_array(entry_id, number)) FROM attempts WHERE request_id = :id) AS attempts,
        (SELECT count(*) FROM request_changes WHERE request_id = :id AND note LIKE 'N8N %sent again') AS resent,
        (SELECT count(*) FROM occurrences AS o JOIN incidents AS i ON i.id = o.incident_id
            WHERE o.request_id = :id AND i.cause = 'execution_lost') AS reported_lost,
        (SELECT jsonb_agg(jsonb_build_array(action, target)) FROM operations) AS operations
""")


async def check_one_effect(database: Database, scene: Scene, met: Met, what: str) -> None:
    """Each transition is recorded once, nothing is enqueued or tried twice, and operations are what succeeded."""
    async with database.reading() as connection:
        found = (await connection.execute(FOUND, {"id": scene.request_id})).one()
    assert sorted(tuple(row) for row in found.operations or []) == met.operations, what
    if found.request is None:
        assert (found.changes, found.images, found.entries, found.attempts) == (None, 0, None, None), what
        return
    request, changes = found.request, found.changes or []
    assert [version for version, _ in changes] == list(range(2, request["version"] + 1)), what
    assert [status for _, status in changes].count("completed") <= 1, what
    assert not changes or changes[-1][1] == request["status"], what
    assert found.reported_lost == found.resent, what
    purged = request["image_purged_at"] is not None
    assert bool(found.images) == (request["image"] is not None and not purged), what
    _check_entries(request, found.entries or [], what)
    attempts = [tuple(attempt) for attempt in found.attempts or []]
    assert len(attempts) == len(set(attempts)), what


def _check_entries(request: Mapping[str, Any], entries: list[list[str]], what: str) -> None:
    """Pending is the step of the request's state, once, or nothing when it is done, dead or discarded."""
    pending = [step for step, state in entries if state == "pending"]
    step = STEP_OF.get(request["status"])
    assert pending in ([], [step]), f"{what}: {request['status']} with {pending}"
    if request["status"] in {"queued", "received"}:
        assert pending, what
    elif request["status"] != "dispatched" and request["delivered_at"] is None:
        states = {state for entry, state in entries if entry == "deliver"}
        assert states & {"pending", "dead", "cancelled"} or what.startswith("a forgotten"), what
    elif request["status"] == "dispatched":
        assert request["callback_deadline_at"], what


async def live(database: Database, request_id: UUID) -> list[str]:
    async with database.reading() as connection:
        rows = await connection.execute(
            text("SELECT step FROM outbox WHERE request_id = :id AND state = 'pending'"), {"id": request_id}
        )
        return list(rows.scalars())


async def set_up(database: Database, examine: Examination, image: CheckedImage, name: str) -> Scene:
    """A request in the state that the scene is about; the version is 3 where it has ended."""
    png = image.content
    requests, outbox = _requests(database), Outbox(database, DEADLINES, PostgresImages(database))
    asked = make_event()
    request_id = UUID(asked["requestId"])
    await requests.accept_all([NewRequest(request_id, UUID(asked["correlationId"]), asked)])
    url = {"imageData": None, "imageUrl": "https://images.example.com/1.png"}
    reported = {"image": completed(asked, png), "url": completed(asked, png, **url), "failed": failed(asked)}
    events = {name: json.dumps(event).encode() for name, event in reported.items()}
    number, crash = await _keep(database, _refused(request_id, events["image"]), _crashed(request_id))
    claim, entry = await _bring_to(database, outbox, requests, request_id, image, name)
    return Scene(request_id, events, claim, image, examine, {"callback": number, "crash": crash, "entry": entry})


async def _bring_to(  # noqa: PLR0911 - one for each scene
    database: Database, outbox: Outbox, requests: Requests, request_id: UUID, image: CheckedImage, name: str
) -> tuple[Claim | None, int]:
    """The claim that is in hand, and the number of the entry that is dead."""
    claim = await _claim(outbox, Step.DISPATCH)
    if name == "a dispatch in hand":
        return claim, 0
    if name == "a fetch in hand":
        awaited = AwaitedImage(**asdict(image.described), url="https://images.example.com/1.png")
        await requests.apply(
            Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=Status.RECEIVED, awaited=awaited)
        )
        return await _claim(outbox, Step.FETCH), 0
    if name == "a dead dispatch":
        await _settle(outbox, claim, Dead(PERMANENT, Fail(FailureCode.DISPATCH_FAILED, "x")))
        return None, claim.entry_id
    await _settle(outbox, claim, Done(Advance(Status.DISPATCHED)))
    if name == "an overdue dispatch":
        await _execute(database, *OVERDUE_AND_UNBEGUN)
        return None, 0
    if name == "an old cancelled one":
        await cancel(requests, request_id, by="odoo")
    elif name == "an old image":
        await requests.apply_versioned(_completed(request_id, image), image)
    else:
        await requests.apply(timed_out(request_id, DEADLINES.callback))
    claim = await _claim(outbox, Step.DELIVER)
    if name == "a delivery in hand":
        return claim, 0
    if name == "a forgotten delivery":
        await _execute(database, "DELETE FROM outbox", "UPDATE requests SET completed_at = now() - interval '1 h'")
        return None, 0
    await _settle(outbox, claim, Dead(PERMANENT, None) if name == "a dead delivery" else Done(Delivered(3)))
    if name.startswith("an old"):
        await _execute(database, *OLD)
    return None, claim.entry_id


OVERDUE_AND_UNBEGUN = (
    """UPDATE requests SET callback_deadline_at = now() - interval '1 s', dispatched_at = now() - interval '2 min'""",
    """INSERT INTO requests (request_id, correlation_id, event, status, dispatched_at, callback_deadline_at)
        VALUES (gen_random_uuid(), gen_random_uuid(), '{}', 'dispatched', now() - interval '1 min',
            now() + interval '1 h')""",
    """INSERT INTO executions (execution_id, request_id, version, noted_at)
        SELECT at, request_id, 1, now() - CAST(at AS interval)
        FROM requests, unnest(ARRAY['3 min', '30 s']) AS at WHERE callback_deadline_at > now()""",
    """INSERT INTO incidents (cause, times) VALUES ('n8n_down', 1)""",
)
"""N8N went away after it took the request, and has long begun one that it took later."""
OLD = (
    """DELETE FROM quarantine""",
    """UPDATE requests SET created_at = now() - interval '400 days', completed_at = now() - interval '400 days',
        delivered_at = now() - interval '400 days'""",
    """UPDATE images SET created_at = now() - interval '400 days'""",
)


def _completed(request_id: UUID, image: CheckedImage) -> VersionedTransition:
    before = frozenset({Status.DISPATCHED})
    return VersionedTransition(
        request_id=request_id, version=2, before=before, after=Status.COMPLETED, image=image.described
    )


async def _keep(database: Database, *refused: RefusedCallback) -> list[int]:
    async with database.transaction() as connection:
        return [await keep(connection, each) for each in refused]


async def _settle(outbox: Outbox, claim: Claim, outcome: Outcome) -> None:
    await outbox.settle_all([Settlement(claim, outcome, timedelta(0))])


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


def _crashed(request_id: UUID) -> RefusedCallback:
    return replace(_refused(request_id, b""), version=N8N_REPORT, error_code=EXECUTION_FAILED)


async def _report_failed(database: Database, scene: Scene, message: str) -> None:
    failed = FailedExecution("an older workflow's", message)
    await take_failed_execution(Executions(database, DEADLINES), failed, _crashed(scene.request_id))


def _requests(database: Database) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database))


def _operations(database: Database) -> Operations:
    return Operations(database, DEADLINES, PostgresImages(database))


async def forget(database: Database) -> None:
    tables = ("requests", "quarantine", "incidents", "operations")
    await _execute(database, *(f"DELETE FROM {table}" for table in tables))  # noqa: S608 - names of ours


async def _execute(database: Database, *statements: str) -> None:
    async with database.transaction() as connection:
        for statement in statements:
            await connection.execute(text(statement))
