"""N8N → bridge: results that repeat, contradict, come early, late, or wrong."""

import asyncio
import hashlib
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pybase64
import pytest
from sqlalchemy import text

from aigen_bridge.domain.request import FailedBy, Status, Transition
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, failed, report
from stage import CALLBACK, REQUESTS, Stage


async def test_a_result_is_answered_with_202_and_stored(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    answer = await report(idle_stage, completed(asked, png))

    assert answer.status_code == 202
    assert answer.json() == {"requestId": asked["requestId"], "status": "completed", "duplicate": False}
    stored = await idle_stage.read(asked["requestId"])
    assert (stored["status"], stored["version"]) == ("completed", 2)
    image = await idle_stage.api.get(stored["image"]["href"], headers=idle_stage.as_client("ops"))
    assert image.content == png
    assert image.headers["etag"] == f'"{hashlib.sha256(png).hexdigest()}"'


@pytest.mark.parametrize("make", [completed, failed])
async def test_the_same_result_25_times_at_once_has_one_effect(
    idle_stage: Stage, database: Database, png: bytes, make: Any
) -> None:
    asked = await idle_stage.ask()
    event = make(asked, png) if make is completed else make(asked)
    answers = await asyncio.gather(*(report(idle_stage, event) for _ in range(25)))

    assert {a.status_code for a in answers} == {202}
    assert sorted(a.json()["duplicate"] for a in answers) == [False] + [True] * 24
    assert (await idle_stage.read(asked["requestId"]))["version"] == 2
    async with database.reading() as connection:
        entries = text("SELECT count(*) FROM outbox WHERE step = 'deliver'")
        assert await connection.scalar(entries) == 1


async def test_of_a_result_and_a_failure_at_once_one_wins_and_the_other_is_409(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    answers = await asyncio.gather(report(idle_stage, completed(asked, png)), report(idle_stage, failed(asked)))

    assert sorted(a.status_code for a in answers) == [202, 409]
    assert (await idle_stage.read(asked["requestId"]))["version"] == 2


async def test_what_contradicts_an_earlier_result_is_a_409_and_changes_nothing(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, completed(asked, png))
    before = await idle_stage.read(asked["requestId"])
    answer = await report(idle_stage, failed(asked))

    assert answer.status_code == 409
    assert answer.json()["requestId"] == asked["requestId"]
    assert await idle_stage.read(asked["requestId"]) == before


async def test_a_failure_with_another_reason_contradicts(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, failed(asked))

    assert (await report(idle_stage, failed(asked, errorCode="other"))).status_code == 409
    assert (await report(idle_stage, failed(asked))).json()["duplicate"] is True


async def test_the_correlation_id_of_another_request_is_a_409(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    answer = await report(idle_stage, completed(asked, png, correlationId=str(uuid4())))

    assert answer.status_code == 409
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


async def test_an_unknown_request_is_a_404(idle_stage: Stage, png: bytes) -> None:
    unknown = {"requestId": str(uuid4()), "correlationId": str(uuid4())}

    assert (await report(idle_stage, completed(unknown, png))).status_code == 404
    assert (await report(idle_stage, failed(unknown))).status_code == 404


async def test_a_result_wins_over_our_own_failure(idle_stage: Stage, database: Database, png: bytes) -> None:
    asked = await idle_stage.ask()
    await _fail_by_us(database, asked)
    assert (await idle_stage.read(asked["requestId"]))["errorCode"] == "timed_out"
    answer = await report(idle_stage, completed(asked, png))

    stored = await idle_stage.read(asked["requestId"])
    assert answer.json() == {"requestId": asked["requestId"], "status": "completed", "duplicate": False}
    assert (stored["status"], stored["version"], stored["errorCode"]) == ("completed", 3, None)


async def test_a_failure_after_our_own_failure_changes_nothing(idle_stage: Stage, database: Database) -> None:
    asked = await idle_stage.ask()
    await _fail_by_us(database, asked)
    answer = await report(idle_stage, failed(asked))

    assert answer.json() == {"requestId": asked["requestId"], "status": "failed", "duplicate": True}
    assert (await idle_stage.read(asked["requestId"]))["errorCode"] == "timed_out"


async def test_n8n_cannot_make_its_failure_look_like_ours(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, failed(asked, errorCode="timed_out"))

    assert (await report(idle_stage, completed(asked, png))).status_code == 409


async def test_a_result_after_cancelling_is_kept_but_not_delivered(stage: Stage, png: bytes) -> None:
    stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK))  # the test reports in its place
    asked = await stage.ask()
    await stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=stage.as_client("odoo"))
    first, again = await report(stage, completed(asked, png)), await report(stage, completed(asked, png))

    assert (first.json()["status"], first.json()["duplicate"]) == ("cancelled", False)
    assert (again.json()["status"], again.json()["duplicate"]) == ("cancelled", True)
    ended = await stage.until_delivered(asked["requestId"])
    assert ended["status"] == "cancelled"
    assert stage.chain.odoo.records[asked["requestId"]].image is None
    image = await stage.api.get(ended["image"]["href"], headers=stage.as_client("ops"))
    assert image.content == png


async def test_fields_that_we_do_not_know_are_ignored(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    event = completed(asked, png, payloadVersion="1.1", modelVersion={"name": "flux"}, executionId=7)

    assert (await report(idle_stage, event)).status_code == 202


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"imageData": None}, ""),
        ({"imageUrl": "https://example.com/i.png"}, ""),
        ({"imageMetadata": {"format": "png", "size": 1, "width": 64}}, "imageMetadata.height"),
        ({"imageMetadata": {"format": "png", "size": "1", "width": 64, "height": 64}}, "imageMetadata.size"),
        ({"hashValue": 7}, "hashValue"),
        ({"status": "done"}, "status"),
        ({"status": None}, "status"),
        ({"requestId": "x"}, "requestId"),
    ],
)
async def test_a_result_of_the_wrong_shape_is_a_422_that_names_the_field(
    idle_stage: Stage, png: bytes, change: dict[str, Any], field: str
) -> None:
    asked = await idle_stage.ask()
    answer = await report(idle_stage, completed(asked, png) | change)

    assert answer.status_code == 422
    assert field in {e["field"] for e in answer.json()["errors"]}
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"hashValue": "0" * 64}, "hashValue says 000"),
        ({"hashValue": "md5"}, "not a SHA-256"),
        ({"imageData": "%%%"}, "not base64"),
        ({"imageData": pybase64.b64encode(b"GIF89a").decode()}, "not an image"),
        (
            {"imageMetadata": {"format": "jpeg", "size": 0, "width": 1, "height": 2}},
            "imageMetadata.format says jpeg",
        ),
    ],
)
async def test_an_image_that_fails_its_checks_is_a_422_with_the_reasons(
    idle_stage: Stage, png: bytes, change: dict[str, Any], reason: str
) -> None:
    asked = await idle_stage.ask()
    answer = await report(idle_stage, completed(asked, png) | change)

    assert (answer.status_code, answer.json()["code"]) == (422, "image_rejected")
    assert reason in answer.json()["detail"]
    assert (await idle_stage.read(asked["requestId"]))["status"] == "queued"


async def test_every_difference_of_the_metadata_is_named(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    wrong = {"format": "webp", "size": 1, "width": 2, "height": 3}
    answer = await report(idle_stage, completed(asked, png, imageMetadata=wrong))

    assert {e["field"] for e in answer.json()["errors"]} == {f"imageMetadata.{name}" for name in wrong}


@pytest.mark.parametrize("spelling", [str.upper, lambda h: f"sha256:{h}", lambda h: _base64(bytes.fromhex(h))])
async def test_common_spellings_of_hash_and_format_are_understood(idle_stage: Stage, png: bytes, spelling: Any) -> None:
    asked = await idle_stage.ask()
    metadata = {"format": "image/PNG", "size": len(png), "width": 64, "height": 64}
    event = completed(asked, png, imageMetadata=metadata, hashValue=spelling(hashlib.sha256(png).hexdigest()))

    assert (await report(idle_stage, event)).status_code == 202


async def test_text_that_postgresql_cannot_store_is_mended_not_lost(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    answer = await report(idle_stage, failed(asked, errorMessage="a\x00b", errorCode="c\x00d"))

    assert answer.status_code == 202
    assert (await idle_stage.read(asked["requestId"]))["errorMessage"] == "a\N{REPLACEMENT CHARACTER}b"


async def test_a_body_over_the_limit_is_a_413(idle_stage: Stage) -> None:
    too_large = b" " * (idle_stage.settings.callback.max_bytes + 1)
    headers = idle_stage.as_client("n8n") | {"Content-Type": "application/json"}
    answer = await idle_stage.api.post(CALLBACK, content=too_large, headers=headers)

    assert answer.status_code == 413


async def test_the_image_is_not_sent_again_to_who_has_it(idle_stage: Stage, png: bytes) -> None:
    asked = await idle_stage.ask()
    await report(idle_stage, completed(asked, png))
    path = f"{REQUESTS}/{asked['requestId']}/image"
    etag = (await idle_stage.api.get(path, headers=idle_stage.as_client("odoo"))).headers["etag"]
    headers = idle_stage.as_client("odoo") | {"If-None-Match": etag}

    assert (await idle_stage.api.get(path, headers=headers)).status_code == 304


async def test_a_request_without_an_image_says_so(idle_stage: Stage) -> None:
    asked = await idle_stage.ask()
    path = f"{REQUESTS}/{asked['requestId']}/image"
    answer = await idle_stage.api.get(path, headers=idle_stage.as_client("odoo"))

    assert (answer.status_code, answer.json()["code"]) == (404, "image_missing")


async def _fail_by_us(database: Database, asked: dict[str, Any]) -> None:
    change = Transition(
        request_id=UUID(asked["requestId"]),
        before=frozenset({Status.QUEUED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code="timed_out",
        error_message="No answer came.",
    )
    assert await _requests(database).apply(change)


def _requests(database: Database) -> Requests:
    return Requests(database, Deadlines(timedelta(minutes=10), timedelta(minutes=5)), PostgresImages(database))


def _base64(digest: bytes) -> str:
    return pybase64.b64encode(digest).decode()
