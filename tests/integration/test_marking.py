"""An image is marked once, between its checks and its delivery, whichever way it came. It is never lost."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, closing, nullcontext
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from aigen_bridge import wiring
from aigen_bridge.clients.credentials import SOFTWARE, is_valid, validate
from aigen_bridge.clients.marking import Marker
from aigen_bridge.clients.signing_certificate import make_test_certificate
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.image import ImageRef, StoredImage
from aigen_bridge.domain.marks import find_marks, with_metadata
from aigen_bridge.domain.provenance import Mark as FoundMark
from aigen_bridge.domain.provenance import MarkingMode, OnFailure, Origin, Provenance
from aigen_bridge.domain.retry import Policy
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store import images, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.marking import Marking
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.worker.purge import purge
from callbacks import completed, picture_of, report, report_v2
from image_files import encoded
from image_stores import Folder
from outages import rows, write
from stage import REQUESTS, Stage, staged, working

pytestmark = pytest.mark.usefixtures("untended_store")

METADATA = {"mode": "metadata"}
NOW = datetime(2026, 1, 1, tzinfo=UTC)
OPS = "/api/v1/ops"
USER = "5b0c7d5e-9a0f-4c1b-8f43-0c6c0c1f2a11"
EVERYTHING = "SELECT r.*, o.step, o.state FROM requests AS r JOIN outbox AS o USING (request_id) ORDER BY o.id"


@pytest.fixture
def signing(tmp_path: Path) -> dict[str, Any]:
    """Settings that sign with a test certificate."""
    certificate, key = make_test_certificate(tmp_path / "certificate", datetime.now(UTC))
    return {"mode": "c2pa", "certificate": certificate, "key": key}


@asynccontextmanager
async def marking(
    database_url: str, sections: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Stage]:
    """API, simulators and a worker that mark images. N8N reports nothing by itself."""
    async with staged(database_url, marking=settings, **(sections or {})) as stage, working(stage.settings):
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        yield stage


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tries a mark 4 times within a moment, probes every 0.2 s, and delivers without a mark after 1 s."""
    quick = Policy(waits=(timedelta(milliseconds=20),) * 4, then_every=timedelta(milliseconds=200))
    build, breakers = wiring._mark, wiring._breakers

    def impatient_breakers(settings: Any) -> Any:
        return {
            each: replace(config, probe_every=timedelta(milliseconds=200)) if each.name == "marking" else config
            for each, config in breakers(settings).items()
        }

    monkeypatch.setattr(wiring, "_mark", lambda *parts: replace(build(*parts), policy=quick))
    monkeypatch.setattr(wiring, "_breakers", impatient_breakers)
    monkeypatch.setitem(wiring.MARKING_HELD, OnFailure.DELIVER, timedelta(seconds=1))


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


async def image_of(stage: Stage, request_id: str, **query: Any) -> Any:
    return await stage.api.get(f"{REQUESTS}/{request_id}/image", params=query, headers=stage.as_client("ops"))


async def send(stage: Stage, way: str, png: bytes) -> tuple[dict[str, Any], bytes]:
    """Asks for an image, and brings it to the bridge. Returns the resource and the bytes as they came."""
    asked = await stage.ask()
    if way == "by hand":
        answer = await stage.api.post(
            f"{OPS}/requests/{asked['requestId']}/complete",
            content=png,
            headers=stage.as_client("ops") | {"Content-Type": "image/png"},
        )
        assert answer.status_code == 200, answer.text
    elif way == "url":
        event = await picture_of(stage, asked)
        png = (await stage.api.get(event["imageUrl"])).content
        assert (await report(stage, event)).json()["status"] == "received"
    elif way == "v1":
        assert (await report(stage, completed(asked, png))).json()["status"] == "received"
    else:
        assert (await report_v2(stage, completed(asked, png, imageData=None), png)).json()["status"] == "received"
    return asked, png


@pytest.mark.parametrize("way", ["v1", "v2", "url", "by hand"])
async def test_whichever_way_an_image_comes_it_arrives_marked(database_url: str, png: bytes, way: str) -> None:
    async with marking(database_url, **METADATA) as stage:
        asked, original = await send(stage, way, png)
        ended = await stage.until_delivered(asked["requestId"])
        record = stage.chain.odoo.records[asked["requestId"]]
        delivered = stage.chain.odoo.records.image(asked["requestId"])
        again = await report(stage, completed(asked, original))
        other = await report(stage, completed(asked, with_metadata(png, "png", Origin(generated_at=NOW), "other")))
        kept = await image_of(stage, asked["requestId"], original=True)

    assert delivered is not None
    assert find_marks(delivered, "png") == (FoundMark.DIGITAL_SOURCE_TYPE,)
    assert ended["image"]["sha256"] == record.sha256 == sha256(delivered) != sha256(original)
    assert ended["provenance"] == {
        "found": [],
        "valid": None,
        "marked": "metadata",
        "originalSha256": sha256(original),
    }
    assert (record.original_sha256, record.versions) == (sha256(original), (ended["version"],))
    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    assert (other.status_code, other.json()["code"]) == (409, "callback_contradicts")
    assert (kept.content, kept.headers["etag"]) == (original, f'"{sha256(original)}"')


@pytest.mark.parametrize("include", [set(), {"include_prompt"}, {"include_user"}], ids=str)
async def test_a_manifest_names_the_prompt_and_the_person_only_if_the_settings_say_so(
    database_url: str, png: bytes, signing: dict[str, Any], include: set[str]
) -> None:
    async with marking(database_url, **signing, **dict.fromkeys(include, True)) as stage:
        asked = await stage.ask(prompt="a-secret-campaign", userId=USER)
        await report(stage, completed(asked, png))
        await stage.until_delivered(asked["requestId"])
        delivered = stage.chain.odoo.records.image(asked["requestId"]) or b""

    assert is_valid(delivered, "png")
    assert (b"a-secret-campaign" in delivered) == ("include_prompt" in include)
    assert (USER.encode() in delivered) == ("include_user" in include)


async def test_a_signed_manifest_says_that_it_was_generated(
    database_url: str, png: bytes, signing: dict[str, Any]
) -> None:
    async with marking(database_url, **signing) as stage:
        asked, _ = await send(stage, "v2", png)
        ended = await stage.until_delivered(asked["requestId"])
        delivered = stage.chain.odoo.records.image(asked["requestId"]) or b""
        notes = [entry.get("note") for entry in await stage.timeline(asked["requestId"])]

    validation = validate(delivered, "png")
    assert validation is not None
    assert (validation.valid, validation.says_generated) == (True, True)
    assert ended["provenance"]["marked"] == "c2pa"
    assert any("signed C2PA manifest" in (note or "") for note in notes)


@pytest.fixture
async def from_the_service(png: bytes, signing: dict[str, Any]) -> bytes:
    """An image that the AI service has signed."""
    with closing(Marker(**signing, timestamp_url=None, timeout=timedelta(seconds=10))) as marker:
        marked = await marker.mark(png, "png", Origin(generated_at=NOW))
    assert marked is not None
    return marked[0]


async def test_an_image_that_is_already_signed_keeps_its_manifest(
    database_url: str, from_the_service: bytes, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    validated = []
    monkeypatch.setattr(wiring, "is_valid", lambda *image: validated.append(sha256(image[0])) or is_valid(*image))
    async with marking(database_url, **signing) as stage:
        asked, _ = await send(stage, "v2", from_the_service)
        ended = await stage.until_delivered(asked["requestId"])
        validation = validate(stage.chain.odoo.records.image(asked["requestId"]) or b"", "png")

    assert validation is not None
    assert (validation.valid, len(validation.chain)) == (True, 2)
    assert (ended["provenance"]["found"], ended["provenance"]["valid"]) == (["c2pa", "digitalSourceType"], True)
    assert validated == [sha256(from_the_service)], "each validation costs as much as a signature"


SPOILT: dict[str, Callable[[bytes], bytes]] = {
    "bytes behind the end": lambda content: content + b"PK",
    "The mark changed the image": lambda _: encoded("PNG"),
}


@pytest.mark.parametrize(("reason", "spoilt"), SPOILT.items(), ids=SPOILT)
async def test_what_the_checks_would_refuse_is_not_delivered_as_a_marked_image(
    database_url: str,
    database: Database,
    png: bytes,
    monkeypatch: pytest.MonkeyPatch,
    reason: str,
    spoilt: Callable[[bytes], bytes],
) -> None:
    async def spoil(_marker: Marker, content: bytes, *_: object) -> tuple[bytes, MarkingMode]:
        return spoilt(content), MarkingMode.METADATA

    monkeypatch.setattr(Marker, "mark", spoil)
    async with marking(database_url, **METADATA) as stage:
        asked, _ = await send(stage, "v1", png)
        await stage.until_delivered(asked["requestId"])
        notes = [entry.get("note") or "" for entry in await stage.timeline(asked["requestId"])]

    assert stage.chain.odoo.records.image(asked["requestId"]) == png
    assert any("delivered without a mark" in note and reason in note for note in notes)
    assert await rows(database, "SELECT number, error_code FROM attempts WHERE step = 'mark'") == [(1, "cannot_mark")]


async def test_metadata_is_not_written_into_a_signed_image(database_url: str, from_the_service: bytes) -> None:
    async with marking(database_url, **METADATA) as stage:
        asked, _ = await send(stage, "v2", from_the_service)
        ended = await stage.until_delivered(asked["requestId"])

    assert stage.chain.odoo.records.image(asked["requestId"]) == from_the_service
    assert (ended["provenance"]["marked"], ended["provenance"]["valid"]) == (None, True)


async def test_the_verified_original_is_committed_before_it_is_marked(
    database_url: str, database: Database, png: bytes
) -> None:
    async with staged(database_url, marking=METADATA) as stage:
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked, _ = await send(stage, "v1", png)
        received = await stage.read(asked["requestId"])
        image = await image_of(stage, asked["requestId"])
        stored = await rows(database, "SELECT sha256(content) FROM images")
        async with working(stage.settings):
            ended = await stage.until_delivered(asked["requestId"])

    assert (received["status"], received["image"]) == ("received", None)
    assert received["provenance"]["originalSha256"] == sha256(png)
    assert (image.status_code, image.json()["code"]) == (404, "image_missing")
    assert [bytes(digest).hex() for (digest,) in stored] == [sha256(png)]
    assert ended["status"] == "completed"


async def test_an_image_that_arrives_before_it_is_fetched_is_marked_and_its_url_is_forgotten(
    database_url: str, database: Database
) -> None:
    async with staged(database_url, marking=METADATA) as stage:
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked, content = await send(stage, "url", b"")
        again = await report(stage, completed(asked, content))

    assert (again.json()["status"], again.json()["duplicate"]) == ("received", False)
    assert await rows(database, "SELECT awaited FROM requests") == [(None,)]
    assert await rows(database, "SELECT step FROM outbox WHERE state = 'pending'") == [("mark",)]


@pytest.mark.usefixtures("impatient")
async def test_without_a_certificate_images_arrive_unmarked_and_operators_are_alerted(
    database_url: str, database: Database, png: bytes, signing: dict[str, Any]
) -> None:
    async with marking(database_url, **signing) as stage:
        signing["certificate"].unlink()
        asked, _ = await send(stage, "v1", png)
        ended = await stage.until_delivered(asked["requestId"])
        notes = [entry.get("note") for entry in await stage.timeline(asked["requestId"])]
    incidents = dict(await rows(database, "SELECT cause, times FROM incidents"))

    assert stage.chain.odoo.records.image(asked["requestId"]) == png
    assert (ended["status"], ended["provenance"]["marked"]) == ("completed", None)
    assert any("delivered without a mark: No image could be marked" in (note or "") for note in notes)
    assert (incidents["image_unmarked"], incidents["marking_down"]) == (1, 1)
    assert await rows(database, "SELECT FROM outbox WHERE state = 'dead'") == []


@pytest.mark.usefixtures("impatient")
async def test_hold_keeps_images_until_the_certificate_is_back(
    database_url: str, database: Database, png: bytes, signing: dict[str, Any]
) -> None:
    certificate = signing["certificate"].read_bytes()
    async with marking(database_url, **signing, on_failure="hold") as stage:
        signing["certificate"].write_bytes(b"no certificate")
        asked, _ = await send(stage, "v1", png)
        held = await stage.until(asked["requestId"], lambda resource: resource["held"] is not None)
        signing["certificate"].write_bytes(certificate)
        ended = await stage.until_delivered(asked["requestId"])
    deadlines = await rows(database, "SELECT FROM requests WHERE callback_deadline_at IS NOT NULL")

    assert (held["status"], held["held"]["destination"], held["image"]) == ("received", "marking", None)
    assert deadlines == []
    assert (ended["status"], ended["provenance"]["marked"]) == ("completed", "c2pa")


@pytest.mark.usefixtures("impatient")
async def test_an_image_that_was_held_too_long_is_kept_until_an_operator_replays_it(
    database_url: str, database: Database, png: bytes, signing: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(wiring.MARKING_HELD, OnFailure.HOLD, timedelta(seconds=1))
    certificate = signing["certificate"].read_bytes()
    async with marking(database_url, **signing, on_failure="hold") as stage:
        signing["certificate"].write_bytes(b"no certificate")
        asked, _ = await send(stage, "v1", png)
        await _until_a_mark_is_dead(database)
        kept = await stage.read(asked["requestId"])
        signing["certificate"].write_bytes(certificate)
        path = f"{OPS}/requests/{asked['requestId']}/replay"
        replayed = await stage.api.post(path, headers=stage.as_client("ops"))
        ended = await stage.until_delivered(asked["requestId"])

    assert (kept["status"], kept["deliveredAt"]) == ("received", None)
    assert replayed.status_code == 200, replayed.text
    assert (ended["status"], ended["provenance"]["marked"]) == ("completed", "c2pa")


async def test_switched_off_images_that_wait_are_delivered_without_a_mark(database_url: str, png: bytes) -> None:
    async with staged(database_url, marking=METADATA) as stage:
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked, _ = await send(stage, "v1", png)
        off = stage.settings.marking.model_copy(update={"mode": MarkingMode.OFF})
        async with working(stage.settings.model_copy(update={"marking": off})):
            ended = await stage.until_delivered(asked["requestId"])
        notes = [entry.get("note") for entry in await stage.timeline(asked["requestId"])]

    assert (ended["status"], ended["provenance"]["marked"]) == ("completed", None)
    assert "not marked: marking is off" in notes


async def test_an_image_that_cannot_be_marked_waits_for_an_operator(
    database_url: str, database: Database, png: bytes
) -> None:
    async with marking(database_url, **METADATA, on_failure="hold") as stage:
        asked, _ = await send(stage, "v1", png)
        await stage.until_delivered(asked["requestId"])
        broken, _ = await _with_a_damaged_image(stage, database, png)
        letters = f"{OPS}/dead-letters"
        [letter] = (await stage.api.get(letters, headers=stage.as_client("ops"))).json()["items"]
        discarded = await stage.api.post(
            f"{letters}/{letter['id']}/discard", json={"reason": "no"}, headers=stage.as_client("ops")
        )
        waiting = await stage.read(broken["requestId"])
        await write(
            database, "UPDATE images SET content = :png WHERE request_id = :id", png=png, id=broken["requestId"]
        )
        await stage.api.post(f"{letters}/{letter['id']}/replay", headers=stage.as_client("ops"))
        ended = await stage.until_delivered(broken["requestId"])

    assert (letter["kind"], letter["errorCode"]) == ("mark", "image_damaged")
    assert (discarded.status_code, discarded.json()["code"]) == (409, "mark_pending")
    assert (waiting["status"], waiting["deliveredAt"]) == ("received", None)
    assert ended["provenance"]["marked"] == "metadata"
    assert ("image_unmarked", 1) in await rows(database, "SELECT cause, times FROM incidents")


async def _with_a_damaged_image(stage: Stage, database: Database, png: bytes) -> tuple[dict[str, Any], bytes]:
    """Pauses marking until the stored image is damaged, and waits for the dead letter."""
    pause, resume = (f"{OPS}/destinations/marking/{verb}" for verb in ("pause", "resume"))
    answer = await stage.api.post(pause, json={"reason": "to damage an image"}, headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    sent = await send(stage, "v1", png)
    await write(database, "UPDATE images SET content = 'damaged' WHERE request_id = :id", id=sent[0]["requestId"])
    await stage.api.post(resume, json={"reason": "done"}, headers=stage.as_client("ops"))
    await _until_a_mark_is_dead(database)
    return sent


async def _until_a_mark_is_dead(database: Database) -> None:
    async with asyncio.timeout(20):
        while not await rows(database, "SELECT FROM outbox WHERE step = 'mark' AND state = 'dead'"):
            await asyncio.sleep(0.05)


async def test_a_mark_that_was_forgotten_is_enqueued_again(database_url: str, database: Database, png: bytes) -> None:
    async with staged(database_url, marking=METADATA) as stage:
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked, _ = await send(stage, "v1", png)
        await write(database, "DELETE FROM outbox")
        await write(database, "UPDATE requests SET updated_at = now() - interval '2 minutes'")
        deadlines = wiring._deadlines(stage.settings)
        repairs = await Sweeps(database, deadlines).reconcile()
        async with working(stage.settings):
            ended = await stage.until_delivered(asked["requestId"])

    assert [repair.what for repair in repairs] == ["mark"]
    assert ended["provenance"]["marked"] == "metadata"


async def test_a_version_before_that_would_fetch_the_image_has_it_marked(
    database_url: str, database: Database, png: bytes
) -> None:
    """Its reconciliation takes a request that is `received` for one whose image must be fetched."""
    repair = "INSERT INTO outbox (request_id, step) SELECT request_id, 'fetch' FROM requests ON CONFLICT DO NOTHING"
    async with staged(database_url, marking=METADATA) as stage:
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked, _ = await send(stage, "v1", png)
        await write(database, repair)
        before = await rows(database, "SELECT step, state FROM outbox WHERE state = 'pending'")
        await write(database, "UPDATE outbox SET state = 'dead', finished_at = now() WHERE step = 'mark'")
        await write(database, repair)
        dead = await rows(database, "SELECT step, state FROM outbox WHERE step <> 'dispatch'")
        await write(database, "DELETE FROM outbox")
        await write(database, repair)
        after = await rows(database, "SELECT step, state FROM outbox")
        async with working(stage.settings):
            ended = await stage.until_delivered(asked["requestId"])

    assert before == after == [("mark", "pending")]
    assert dead == [("mark", "dead")]
    assert ended["provenance"]["marked"] == "metadata"


@pytest.mark.parametrize("keeps", [True, False])
async def test_where_images_are_kept_elsewhere_originals_are_kept_or_deleted_there(
    database_url: str, database: Database, png: bytes, tmp_path: Path, *, keeps: bool
) -> None:
    folder = Folder(tmp_path / "images")
    async with marking(database_url, folder.settings, **METADATA, keep_original=keeps) as stage:
        asked, _ = await send(stage, "v1", png)
        ended = await stage.until_delivered(asked["requestId"])
        kept = await image_of(stage, asked["requestId"], original=True)
        forgotten = await rows(database, "SELECT sha256, due_at > now() + interval '23 hours' FROM image_garbage")
        flagged = await rows(database, "SELECT provenance ? 'original_is_forgotten' FROM requests")
        await write(database, "UPDATE requests SET delivered_at = now() - interval '40 days'")
        await write(database, "UPDATE requests SET updated_at = delivered_at")
        await purge(Retention(database, has_objects=True), stage.settings.retention, asyncio.Event())

    digests = ended["image"]["sha256"], sha256(png)
    assert folder.keys() == {ImageRef(UUID(asked["requestId"]), digest).key for digest in digests}
    assert forgotten == ([] if keeps else [(sha256(png), True)])
    assert flagged == [(not keeps,)]
    assert await rows(database, "SELECT count(*) FROM image_garbage") == [(2,)]
    assert kept.status_code == 200


@pytest.mark.parametrize("away", ["original", "marked"])
@pytest.mark.parametrize("keeps", [True, False])
async def test_an_image_and_its_original_may_be_in_different_places(
    database_url: str,
    database: Database,
    png: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    away: str,
    *,
    keeps: bool,
) -> None:
    """The object store is away while one of them is stored."""
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.0)
    folder = Folder(tmp_path / "images")
    sections = folder.settings | {"marking": METADATA | {"keep_original": keeps}}
    async with staged(database_url, **sections) as stage:
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked = await stage.ask()
        with folder.away() if away == "original" else nullcontext():
            await report(stage, completed(asked, png))
        if away == "marked":
            await write(database, "UPDATE image_store SET is_draining = true")
        async with working(stage.settings):
            ended = await stage.until_delivered(asked["requestId"])
        answers = [await image_of(stage, asked["requestId"], original=original) for original in (False, True)]
        delivered = stage.chain.odoo.records.image(asked["requestId"])

    counts = "SELECT (SELECT count(*) FROM images), (SELECT count(*) FROM original_images)"
    assert sha256(delivered) == ended["image"]["sha256"] == sha256(answers[0].content) != sha256(png)
    assert await rows(database, counts) == [(int(away == "marked"), int(away == "original" and keeps))]
    if keeps:
        assert answers[1].content == png


@pytest.mark.parametrize("elsewhere", [True, False])
async def test_an_image_that_has_the_mark_already_is_stored_once(
    database_url: str, database: Database, png: bytes, tmp_path: Path, *, elsewhere: bool
) -> None:
    """Marking it changes no byte, so the original is the image that is delivered."""
    sections = Folder(tmp_path / "images").settings if elsewhere else {}
    has_mark = with_metadata(png, "png", Origin(generated_at=NOW, model="a model"), SOFTWARE)
    async with marking(database_url, sections, **METADATA, keep_original=not elsewhere) as stage:
        asked, _ = await send(stage, "v1", has_mark)
        ended = await stage.until_delivered(asked["requestId"])
        delivered = stage.chain.odoo.records.image(asked["requestId"])
        kept = [(await image_of(stage, asked["requestId"], original=original)).content for original in (False, True)]

    assert ended["provenance"]["marked"] == "metadata"
    assert delivered == has_mark
    assert kept == [has_mark, has_mark]
    assert await rows(database, "SELECT FROM original_images") == []


@pytest.mark.parametrize("keeps", [True, False])
async def test_the_original_is_kept_as_long_as_the_image_or_not_at_all(
    database_url: str, database: Database, png: bytes, *, keeps: bool
) -> None:
    async with marking(database_url, **METADATA, keep_original=keeps) as stage:
        asked, _ = await send(stage, "v1", png)
        await stage.until_delivered(asked["requestId"])
        kept = await image_of(stage, asked["requestId"], original=True)
        await write(
            database, "UPDATE requests SET delivered_at = now() - interval '40 days', updated_at = delivered_at"
        )
        await write(database, "UPDATE requests SET updated_at = delivered_at")
        retention = Retention(database, has_objects=False)
        stored = await rows(database, "SELECT sha256 FROM original_images")
        await purge(retention, stage.settings.retention, asyncio.Event())
        gone = await image_of(stage, asked["requestId"])

    assert stored == ([(sha256(png),)] if keeps else [])
    assert kept.status_code == (200 if keeps else 404)
    assert gone.status_code == 410
    assert await rows(database, "SELECT FROM images UNION ALL SELECT FROM original_images") == []


async def test_stored_images_are_marked_later_in_place(database_url: str, database: Database, png: bytes) -> None:
    async with staged(database_url) as stage:
        ids = await _delivered_unmarked(stage, png)
        await write(database, "UPDATE requests SET image_purged_at = now() WHERE request_id = :id", id=ids[2])
        await write(database, "UPDATE requests SET provenance = NULL WHERE request_id = :id", id=ids[1])
        times = "SELECT request_id, status, completed_at, delivered_at, updated_at FROM requests ORDER BY request_id"
        before, records = await rows(database, times), {each.request_id: each for each in stage.chain.odoo.records}
        settings = stage.settings.model_copy(
            update={"marking": stage.settings.marking.model_copy(update={"mode": MarkingMode.METADATA})}
        )
        odoo, enqueued = stage.chain.odoo, [await enqueue(database), await enqueue(database)]
        async with working(settings):
            for request_id in ids[:2]:
                await stage.until(request_id, lambda r: (r["provenance"] or {}).get("marked") == "metadata")
                await stage.until(request_id, lambda r: odoo.records[r["requestId"]].version == r["version"])
        assert await rows(database, times) == before
        after = {each.request_id: each for each in stage.chain.odoo.records}
        again = await report(stage, completed(await stage.read(ids[0]), png))

    assert enqueued == [2, 0]
    assert await enqueue(database) == 0
    for request_id in ids[:2]:
        assert after[request_id].attachment_id == records[request_id].attachment_id
        assert after[request_id].original_sha256 == sha256(png)
        assert after[request_id].version == records[request_id].version + 1
    assert after[ids[2]] == records[ids[2]]
    assert again.json()["duplicate"]


OVERTAKEN = {
    "purged": "UPDATE requests SET image_purged_at = now()",
    "replaced": "UPDATE requests SET image = jsonb_set(image, '{sha256}', '\"another\"')",
    "not completed": "UPDATE requests SET status = 'cancelled'",
}


@pytest.mark.parametrize("change", OVERTAKEN.values(), ids=OVERTAKEN)
async def test_a_later_mark_that_was_overtaken_changes_nothing(
    idle_stage: Stage, database: Database, png: bytes, change: str
) -> None:
    request_id = UUID((asked := await idle_stage.ask())["requestId"])
    await report(idle_stage, completed(asked, png))
    await write(database, change)
    before = await rows(database, EVERYTHING)
    image = StoredImage("png", len(png), 8, 8, sha256=sha256(b"marked"))
    provenance = Provenance((), None, MarkingMode.METADATA, sha256(png))
    async with database.transaction() as connection:
        locked = await transitions.lock(connection, [request_id])
        replaced = await locked.replace_completed(request_id, sha256(png), image, provenance, "marked")

    assert not replaced
    assert await rows(database, EVERYTHING) == before


async def test_a_mark_that_is_pending_or_dead_is_not_enqueued_again(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    await report(idle_stage, completed(await idle_stage.ask(), png))
    enqueued = [await enqueue(database), await enqueue(database)]
    await write(database, "UPDATE outbox SET state = 'dead', finished_at = now() WHERE step = 'mark'")
    assert [*enqueued, await enqueue(database)] == [1, 0, 0]


NOT_NEEDED = {
    "marked": "UPDATE requests SET provenance = jsonb_set(provenance, '{marked}', '\"metadata\"')",
    "purged": "UPDATE requests SET image_purged_at = now()",
}


@pytest.mark.parametrize("change", NOT_NEEDED.values(), ids=NOT_NEEDED)
async def test_an_image_that_was_marked_or_purged_since_it_was_listed_is_not_enqueued(
    idle_stage: Stage, database: Database, png: bytes, change: str
) -> None:
    await report(idle_stage, completed(await idle_stage.ask(), png))
    store, period = Marking(database), (datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    listed = [image async for page in store.unmarked(*period) for image in page]
    await write(database, change)

    assert len(listed) == 1
    assert await store.enqueue(listed, before=0, spacing=timedelta(0), leaves_signed=False) == 0


async def test_a_signed_image_of_an_older_version_is_examined_once(
    database_url: str, database: Database, from_the_service: bytes
) -> None:
    """Metadata would break its signature: it is delivered again as it is, with the mark that it came with."""
    async with staged(database_url) as stage:
        asked, *_ = await _delivered_unmarked(stage, from_the_service)
        await write(database, "DELETE FROM requests WHERE request_id <> :id", id=asked)
        await write(database, "UPDATE requests SET provenance = NULL")
        before = await stage.read(asked)
        metadata = stage.settings.marking.model_copy(update={"mode": MarkingMode.METADATA})
        enqueued = await enqueue(database, leaves_signed=True)
        async with working(stage.settings.model_copy(update={"marking": metadata})):
            after = await stage.until(asked, lambda resource: resource["provenance"] is not None)
            await stage.until(asked, lambda resource: stage.chain.odoo.records[asked].version == resource["version"])
            again = await enqueue(database)
            async with asyncio.timeout(20):
                while await rows(database, "SELECT FROM outbox WHERE step = 'mark' AND state = 'pending'"):
                    await asyncio.sleep(0.05)
        notes = [entry.get("note") for entry in await stage.timeline(asked)]
        version = (await stage.read(asked))["version"]

    assert (enqueued, await enqueue(database, leaves_signed=True)) == (1, 0)
    assert (again, version) == (1, after["version"]), "what is known already is not delivered again"
    assert after["provenance"] == {
        "found": ["c2pa", "digitalSourceType"],
        "valid": True,
        "marked": None,
        "originalSha256": sha256(from_the_service),
    }
    assert (after["image"], after["completedAt"], after["deliveredAt"]) == (
        before["image"],
        before["completedAt"],
        before["deliveredAt"],
    )
    assert stage.chain.odoo.records.image(asked) == from_the_service
    assert any("not marked" in (note or "") for note in notes)


async def _delivered_unmarked(stage: Stage, png: bytes) -> list[str]:
    """Brings three images to Odoo while marking is off. Returns their requests."""
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
    ids = []
    async with working(stage.settings):
        for _ in range(3):
            asked = await stage.ask()
            await report(stage, completed(asked, png))
            await stage.until_delivered(asked["requestId"])
            ids.append(asked["requestId"])
    return ids


async def enqueue(database: Database, *, leaves_signed: bool = False) -> int:
    """Enqueues marking every image without a mark. Returns how many."""
    store, total, period = Marking(database), 0, (datetime(2020, 1, 1, tzinfo=UTC), datetime.now(UTC))
    async for page in store.unmarked(*period, leaves_signed=leaves_signed):
        total += await store.enqueue(page, before=total, spacing=timedelta(milliseconds=1), leaves_signed=leaves_signed)
    await store.record(OperatorAction("ops"), {"since": "2020-01-01"})
    return total
