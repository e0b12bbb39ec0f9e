"""What callers see of a request whose parts, or which itself, is no longer kept."""

import asyncio
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text

from aigen_bridge.settings import RetentionSettings
from aigen_bridge.store.database import Database
from aigen_bridge.store.retention import Retention
from aigen_bridge.worker.purge import purge
from callbacks import completed, report
from stage import REQUESTS, Stage, make_event, working


@pytest.fixture
async def delivered(idle_stage: Stage) -> dict[str, Any]:
    """A request whose image Odoo has; the worker has gone."""
    async with working(idle_stage.settings):
        asked = await idle_stage.ask()
        return await idle_stage.until_delivered(asked["requestId"])


async def purge_after(database: Database, days: int) -> None:
    """Purge as if the request had been delivered that many days ago."""
    then = {"days": timedelta(days=days)}
    async with database.transaction() as connection:
        await connection.execute(
            text("""UPDATE requests SET created_at = created_at - :days, completed_at = completed_at - :days,
                delivered_at = delivered_at - :days, updated_at = updated_at - :days"""),
            then,
        )
    await purge(Retention(database, has_objects=False), RetentionSettings(), asyncio.Event())


async def image(stage: Stage, request: dict[str, Any], **headers: str) -> Any:
    return await stage.api.get(request["image"]["href"], headers=stage.as_client("odoo") | headers)


async def test_the_bytes_are_gone_and_both_the_resource_and_the_answer_say_so(
    idle_stage: Stage, database: Database, delivered: dict[str, Any]
) -> None:
    before = await image(idle_stage, delivered)
    await purge_after(database, 31)
    resource = await idle_stage.read(delivered["requestId"])
    answer = await image(idle_stage, delivered)
    with_etag = await image(idle_stage, delivered, **{"If-None-Match": before.headers["ETag"]})

    assert (before.status_code, delivered["image"]["purgedAt"]) == (200, None)
    assert resource["image"].pop("purgedAt") is not None
    assert resource["image"] == {k: v for k, v in delivered["image"].items() if k != "purgedAt"}
    shifted = datetime.fromisoformat(delivered["updatedAt"]) - timedelta(days=31)
    assert (resource["version"], datetime.fromisoformat(resource["updatedAt"])) == (delivered["version"], shifted)
    assert (answer.status_code, answer.json()["code"]) == (410, "image_purged")
    assert delivered["requestId"] in answer.json()["detail"]
    assert with_etag.status_code == 410


async def test_the_same_callback_is_still_known_and_another_one_still_contradicts(
    idle_stage: Stage, database: Database, delivered: dict[str, Any], png: bytes
) -> None:
    content = (await image(idle_stage, delivered)).content
    await purge_after(database, 31)
    again = await report(idle_stage, completed(delivered, content))
    other = await report(idle_stage, completed(delivered, png))

    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    assert (other.status_code, other.json()["code"]) == (409, "callback_contradicts")


async def test_the_timeline_keeps_every_state_and_says_that_attempts_are_gone(
    idle_stage: Stage, database: Database, delivered: dict[str, Any]
) -> None:
    path = f"{REQUESTS}/{delivered['requestId']}/timeline"
    before = (await idle_stage.api.get(path, headers=idle_stage.as_client("ops"))).json()
    await purge_after(database, 91)
    after = (await idle_stage.api.get(path, headers=idle_stage.as_client("ops"))).json()

    assert before["attemptsPurgedAt"] is None
    assert {entry["kind"] for entry in before["entries"]} == {"state", "attempt"}
    assert after["attemptsPurgedAt"] is not None
    states = [entry["status"] for entry in before["entries"] if entry["kind"] == "state"]
    assert [entry.get("status") for entry in after["entries"]] == states


async def test_a_purged_request_is_unknown_and_its_id_is_new_again(
    idle_stage: Stage, database: Database, delivered: dict[str, Any]
) -> None:
    await purge_after(database, 366)
    gone = await idle_stage.api.get(f"{REQUESTS}/{delivered['requestId']}", headers=idle_stage.as_client("odoo"))
    event = make_event(requestId=delivered["requestId"], correlationId=delivered["correlationId"])
    again = await idle_stage.api.post(REQUESTS, json=event, headers=idle_stage.as_client("odoo"))
    told_before = idle_stage.chain.odoo.records[delivered["requestId"]].versions
    async with working(idle_stage.settings):
        ended = await idle_stage.until_delivered(delivered["requestId"])

    assert (gone.status_code, gone.json()["code"]) == (404, "request_unknown")
    assert (again.status_code, again.json()["version"]) == (202, 1)
    assert ended["status"] == "completed"
    assert idle_stage.chain.odoo.records[delivered["requestId"]].versions == told_before  # Odoo keeps what it has


async def test_a_late_callback_for_a_purged_request_is_kept_whole(
    idle_stage: Stage, database: Database, delivered: dict[str, Any], png: bytes
) -> None:
    await purge_after(database, 366)
    answer = await report(idle_stage, completed(delivered, png))
    async with database.reading() as connection:
        kept = (await connection.execute(text("SELECT state, error_code FROM quarantine"))).all()

    assert answer.status_code == 404
    assert [tuple(row) for row in kept] == [("open", "request_unknown")]
