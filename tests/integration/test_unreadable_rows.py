"""One row that cannot be read stops nobody: it is set aside as a dead letter, and everything else goes on.

The rows are broken by hand, as a bug, another version or a person at psql would.
"""

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import text

from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.request import Step
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.gauges import GaugeReader
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.inspection import Inspection
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.retention import Retention
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, report
from stage import REQUESTS, Stage, working

DEADLINES = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
DEAD_LETTERS = "/api/v1/ops/dead-letters"
TIMES = ("infinity", "-infinity", "4713-01-01 BC", "0001-12-31 BC", "12000-01-01", "294276-12-31")
DEEP, LONG = "(repeat('[', 2000) || repeat(']', 2000))::jsonb", "('{\"size\": ' || repeat('9', 5000) || '}')::jsonb"


async def execute(database: Database, statement: str, **values: Any) -> None:
    async with database.transaction() as connection:
        await connection.execute(text(statement), values)


async def dead_letters(stage: Stage) -> list[dict[str, Any]]:
    answer = await stage.api.get(DEAD_LETTERS, headers=stage.as_client("ops"))
    assert answer.status_code == 200, answer.text
    return list(answer.json()["items"])


async def asked_twice(stage: Stage) -> tuple[dict[str, Any], dict[str, Any]]:
    return await stage.ask(), await stage.ask()


async def until_dead(stage: Stage, request_id: str) -> dict[str, Any]:
    async with asyncio.timeout(20):
        while True:
            for letter in await dead_letters(stage):
                if letter["requestId"] == request_id:
                    return letter
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("at", TIMES)
@pytest.mark.parametrize("column", ["outbox.give_up_at", "outbox.created_at", "requests.updated_at"])
async def test_a_time_that_cannot_be_read_is_a_dead_letter_and_others_are_dispatched(
    idle_stage: Stage, database: Database, column: str, at: str
) -> None:
    broken, whole = await asked_twice(idle_stage)
    table, name = column.split(".")
    await execute(database, f"UPDATE {table} SET {name} = :at WHERE request_id = :id", at=at, id=broken["requestId"])  # noqa: S608
    async with working(idle_stage.settings):
        assert (await idle_stage.until_delivered(whole["requestId"]))["status"] == "completed"
        letter = await until_dead(idle_stage, broken["requestId"])
        found = await idle_stage.until(broken["requestId"], lambda r: r["status"] == "failed")

    assert (letter["kind"], letter["errorCode"]) == ("dispatch", "unreadable")
    assert name.replace("created_at", "began_at") in letter["detail"]
    assert found["errorCode"] == "dispatch_failed"


@pytest.mark.parametrize("image", ["'{}'", "'5'", "'[]'", '\'{"format": "exe"}\'', DEEP, LONG])
async def test_a_request_whose_json_cannot_be_read_is_a_dead_letter_and_others_are_dispatched(
    idle_stage: Stage, database: Database, image: str
) -> None:
    broken, whole = await asked_twice(idle_stage)
    await execute(database, f"UPDATE requests SET image = {image} WHERE request_id = :id", id=broken["requestId"])  # noqa: S608
    async with working(idle_stage.settings):
        assert (await idle_stage.until_delivered(whole["requestId"]))["status"] == "completed"
        letter = await until_dead(idle_stage, broken["requestId"])

    assert letter["errorCode"] == "unreadable"


@pytest.mark.parametrize("awaited", ["'{}'", "'5'", '\'{"url": "https://x", "expires_at": "soon"}\'', DEEP, LONG])
async def test_an_awaited_image_that_cannot_be_read_ends_its_request_and_others_are_fetched(
    idle_stage: Stage, database: Database, png: bytes, awaited: str
) -> None:
    broken, whole = await _received(idle_stage, png), await _received(idle_stage, png)
    await execute(database, f"UPDATE requests SET awaited = {awaited} WHERE request_id = :id", id=broken["requestId"])  # noqa: S608
    async with working(idle_stage.settings):
        letter = await until_dead(idle_stage, broken["requestId"])
        told = await idle_stage.until_delivered(broken["requestId"])
        await idle_stage.until(whole["requestId"], lambda r: r["status"] != "received")

    assert letter["kind"] == "fetch"
    assert (told["status"], told["errorCode"]) == ("failed", "image_fetch_failed")


async def _received(stage: Stage, png: bytes) -> dict[str, Any]:
    asked = await stage.ask()
    url = f"{stage.chain.flux_url}/nothing.png"
    soon = (datetime.now(UTC) + timedelta(seconds=2)).isoformat()
    answer = await report(stage, completed(asked, png, imageData=None, imageUrl=url, resultExpiresAt=soon))
    assert answer.status_code == 202, answer.text
    return asked


async def test_a_fetch_by_an_earlier_version_whose_end_lies_before_christ_can_be_replayed(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    asked = await _received(idle_stage, png)
    await execute(database, "UPDATE outbox SET give_up_at = '0001-12-31 23:00:00+00 BC' WHERE step = 'fetch'")
    async with working(idle_stage.settings):
        letter = await until_dead(idle_stage, asked["requestId"])
    answer = await idle_stage.api.post(f"{DEAD_LETTERS}/{letter['id']}/replay", headers=idle_stage.as_client("ops"))

    assert letter["errorCode"] == "unreadable"
    assert (answer.status_code, answer.json()["status"]) == (200, "received")


async def test_an_alert_that_cannot_be_read_is_a_dead_letter_and_others_are_told(
    idle_stage: Stage, database: Database
) -> None:
    async with database.transaction() as connection:
        for cause in (Cause.DELIVERY_FAILED, Cause.TIMED_OUT, Cause.IMAGE_REJECTED):
            await incidents.record(connection, [Occurrence(cause, "x")], timedelta(minutes=15))
    await execute(database, "UPDATE incidents SET cause = 'of_a_newer_version' WHERE cause = 'timed_out'")
    strange = "SELECT id FROM incidents WHERE cause = 'image_rejected'"
    await execute(database, f"UPDATE occurrences SET at = 'infinity' WHERE incident_id = ({strange})")  # noqa: S608
    async with working(idle_stage.settings), asyncio.timeout(20):
        while await _count(database, "SELECT count(*) FROM outbox WHERE state = 'pending'"):
            await asyncio.sleep(0.02)

    found = [(letter["kind"], letter["errorCode"]) for letter in await dead_letters(idle_stage)]
    assert found == [("alert", "unreadable")] * 2
    assert await _count(database, "SELECT count(*) FROM incidents WHERE told_at IS NOT NULL") == 1


async def test_lists_leave_out_what_cannot_be_read_and_go_on_behind_it(idle_stage: Stage, database: Database) -> None:
    asked = [await idle_stage.ask() for _ in range(6)]
    await execute(database, "UPDATE requests SET image = '5' WHERE request_id = :id", id=asked[4]["requestId"])
    await execute(database, "UPDATE requests SET event = '[]' WHERE request_id = :id", id=asked[3]["requestId"])
    await execute(database, "UPDATE requests SET event = '{}' WHERE request_id = :id", id=asked[2]["requestId"])
    await execute(
        database, "UPDATE requests SET updated_at = '-infinity' WHERE request_id = :id", id=asked[1]["requestId"]
    )
    seen, cursor = [], None
    for _ in asked:  # there are fewer pages
        wanted = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        answer = await idle_stage.api.get(REQUESTS, params=wanted, headers=idle_stage.as_client("ops"))
        assert answer.status_code == 200, answer.text
        seen += [item["requestId"] for item in answer.json()["items"]]
        if (cursor := answer.json()["nextCursor"]) is None:
            break

    assert (seen, cursor) == ([asked[number]["requestId"] for number in (5, 1, 0)], None)


async def test_a_request_that_cannot_be_read_says_so_and_its_dead_letter_can_be_discarded(
    idle_stage: Stage, database: Database
) -> None:
    asked = await idle_stage.ask()
    await execute(database, "UPDATE requests SET image = '5'")
    async with working(idle_stage.settings):
        letter = await until_dead(idle_stage, asked["requestId"])
    ops = idle_stage.as_client("ops")
    read = await idle_stage.api.get(f"{REQUESTS}/{asked['requestId']}", headers=ops)
    replayed = await idle_stage.api.post(f"{DEAD_LETTERS}/{letter['id']}/replay", headers=ops)
    reason = {"reason": "Mended by hand."}
    discarded = await idle_stage.api.post(f"{DEAD_LETTERS}/{letter['id']}/discard", json=reason, headers=ops)

    assert (read.status_code, read.json()["code"]) == (500, "request_unreadable")
    assert replayed.json()["code"] == "request_unreadable"
    assert discarded.status_code == 200


@pytest.mark.parametrize("at", TIMES)
async def test_everything_that_looks_at_many_rows_survives_any_time(
    idle_stage: Stage, database: Database, png: bytes, at: str
) -> None:
    asked, received = await idle_stage.ask(), await _received(idle_stage, png)
    for statement in (
        "UPDATE requests SET created_at = :at, updated_at = :at, callback_deadline_at = :at, delivered_at = :at",
        "UPDATE outbox SET created_at = :at, due_at = :at, give_up_at = :at",
        "UPDATE request_changes SET at = :at",
        """INSERT INTO outbox (request_id, step, state, error_code, error_detail, finished_at)
            SELECT request_id, 'deliver', 'dead', 'x', 'x', :at FROM requests""",
        """INSERT INTO attempts (entry_id, request_id, step, number, outcome, started_at, finished_at)
            SELECT id, request_id, 'deliver', 1, 'dead', :at, now() FROM outbox""",
        "INSERT INTO incidents (cause, times, opened_at, seen_at) VALUES ('timed_out', 1, :at, :at)",
    ):
        await execute(database, statement, at=at)
    ops = idle_stage.as_client("ops")
    one = f"{REQUESTS}/{received['requestId']}"
    for path in (REQUESTS, one, f"{one}/timeline", DEAD_LETTERS, "/metrics", "/health/ready"):
        answer = await idle_stage.api.get(path, headers=ops)
        assert answer.status_code == 200, (path, answer.text)
    cancelled = await idle_stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=ops)
    assert cancelled.status_code == 200, cancelled.text
    await GaugeReader(database).read()
    await Sweeps(database, DEADLINES).reconcile()
    await Retention(database, has_objects=False).purge(RetentionClass.REQUESTS, timedelta(days=1))
    outbox, inspection = Outbox(database, DEADLINES, PostgresImages(database)), Inspection(database)
    for step in Step:
        await outbox.next_due(step)
    await asyncio.gather(inspection.waiting(), inspection.dead(), inspection.overdue())


async def test_an_entry_that_is_never_due_and_a_deadline_that_never_comes_are_repaired(
    idle_stage: Stage, database: Database
) -> None:
    asked = await idle_stage.ask()
    await execute(database, "UPDATE outbox SET due_at = 'infinity'")
    async with working(idle_stage.settings):
        await idle_stage.until_delivered(asked["requestId"])


async def test_doctor_names_what_cannot_be_read(idle_stage: Stage, database: Database) -> None:
    asked = [await idle_stage.ask() for _ in range(3)]
    assert await Inspection(database).unreadable() == {}
    await execute(
        database, "UPDATE outbox SET give_up_at = '-infinity' WHERE request_id = :id", id=asked[0]["requestId"]
    )
    await execute(database, "UPDATE requests SET image = '5' WHERE request_id = :id", id=asked[1]["requestId"])

    found = await Inspection(database).unreadable()
    assert {UUID(asked[0]["requestId"]), UUID(asked[1]["requestId"])} == set(found)


NEWER = {"found": ["c2pa", "watermark"], "valid": None, "marked": "watermark", "original_sha256": "00"}


@pytest.mark.parametrize(
    ("stored", "shown"),
    [(NEWER, {"found": ["c2pa"], "valid": None, "marked": None, "originalSha256": "00"}), ([], None), ({}, None)],
)
async def test_marks_that_a_newer_version_or_a_person_wrote_keep_no_image_from_being_read(
    stage: Stage, database: Database, stored: Any, shown: Any
) -> None:
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])
    await execute(database, "UPDATE requests SET provenance = CAST(:stored AS jsonb)", stored=json.dumps(stored))

    assert (await stage.read(asked["requestId"]))["provenance"] == shown


async def _count(database: Database, query: str) -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(text(query)) or 0)
