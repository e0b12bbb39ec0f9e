"""Rows that a version from before migration 0010 wrote, or still writes during an upgrade, go the whole way."""

import json
from typing import Any
from uuid import UUID

import psycopg
import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store import migrations
from aigen_bridge.store.database import Database
from callbacks import completed, report
from outages import rows, write
from stage import CLIENTS, REQUESTS, SCOPES, Stage, make_event, sqlalchemy_url, staged, working

OLD_ACCEPT = """
    WITH created AS (
        INSERT INTO requests (request_id, correlation_id, event, traceparent)
        SELECT :id, :correlation_id, CAST(:event AS jsonb), NULL
        ON CONFLICT (request_id) DO NOTHING
        RETURNING request_id, created_at
    )
    INSERT INTO outbox (request_id, step) SELECT request_id, 'dispatch' FROM created
"""
OLD_ATTEMPT = """
    INSERT INTO attempts (entry_id, request_id, step, number, outcome, http_status, error_code, detail, started_at)
    SELECT o.id, o.request_id, o.step, :number, 'retry', 503, 'http_503', 'N8N answered 503.', now() FROM outbox AS o
"""


async def accepted_by_an_old_version(database: Database) -> dict[str, Any]:
    """EVT-AIG-001, stored as version 0009 stored it."""
    event = make_event()
    row = {"id": event["requestId"], "correlation_id": event["correlationId"], "event": json.dumps(event)}
    await write(database, OLD_ACCEPT, **row)
    return event


async def test_a_request_is_stored_with_the_client_that_asked_first(
    database_url: str, database: Database, png: bytes
) -> None:
    """An Odoo that asks again, with a key of another client, does not become the owner."""
    second = {"odoo-second": {"keys": ["key-of-odoo-second"], "scopes": SCOPES["odoo"]}}
    async with staged(database_url, clients=CLIENTS | second) as stage:
        event = make_event()
        first = await stage.api.post(REQUESTS, json=event, headers=stage.as_client("odoo"))
        again = await stage.api.post(REQUESTS, json=event, headers={"X-API-Key": "key-of-odoo-second"})
        other = await stage.api.post(REQUESTS, json=make_event(), headers={"X-API-Key": "key-of-odoo-second"})
    stored = await rows(database, "SELECT request_id, client FROM requests ORDER BY created_at")

    assert [first.status_code, again.status_code, other.status_code] == [202, 200, 202]
    assert stored == [(UUID(event["requestId"]), "odoo"), (UUID(other.json()["requestId"]), "odoo-second")]


async def test_a_request_without_a_client_is_read_listed_and_delivered(idle_stage: Stage, database: Database) -> None:
    event = await accepted_by_an_old_version(database)
    read = await idle_stage.read(event["requestId"])
    listed = (await idle_stage.api.get(REQUESTS, headers=idle_stage.as_client("ops"))).json()["items"]
    again = await idle_stage.api.post(REQUESTS, json=event, headers=idle_stage.as_client("odoo"))
    async with working(idle_stage.settings):
        ended = await idle_stage.until_delivered(event["requestId"])

    assert await rows(database, "SELECT client FROM requests") == [(None,)]
    assert (read["status"], listed, again.status_code) == ("queued", [read], 200)
    assert ended["status"] == "completed"
    assert idle_stage.chain.odoo.records[event["requestId"]].applied == 1


async def test_a_request_without_a_client_is_replayed(idle_stage: Stage, database: Database) -> None:
    event = await accepted_by_an_old_version(database)
    idle_stage.chain.n8n.faults.add(Fault(kind=FaultKind.STATUS, route="webhook", status=403))
    async with working(idle_stage.settings):
        failed = await idle_stage.until_delivered(event["requestId"])
        [(entry,)] = await rows(database, "SELECT id FROM outbox WHERE state = 'dead'")
        replay = f"/api/v1/ops/dead-letters/entry-{entry}/replay"
        answer = await idle_stage.api.post(replay, headers=idle_stage.as_client("ops"))
        ended = await idle_stage.until(event["requestId"], lambda r: r["status"] == "completed" and r["deliveredAt"])

    assert (failed["status"], answer.status_code) == ("failed", 200)
    assert ended["version"] > failed["version"]


async def test_an_image_without_provenance_is_recognized_by_its_only_hash(
    idle_stage: Stage, database: Database, png: bytes
) -> None:
    """A version before migration 0023 stored it."""
    asked = await idle_stage.ask()
    await report(idle_stage, completed(asked, png))
    await write(database, "UPDATE requests SET provenance = NULL")
    again = await report(idle_stage, completed(asked, png))
    other = await report(idle_stage, completed(asked, png + b"\n"))

    assert (again.status_code, again.json()["duplicate"]) == (202, True)
    assert (other.status_code, other.json()["code"]) == (409, "callback_contradicts")


async def test_attempts_without_a_fence_stand_beside_those_with_one(idle_stage: Stage, database: Database) -> None:
    """An old worker tried twice; a new one goes on with the same entry."""
    event = await accepted_by_an_old_version(database)
    for number in (1, 2):
        await write(database, OLD_ATTEMPT, number=number)
    await write(database, "UPDATE outbox SET attempts = 2, fence = 2")
    async with working(idle_stage.settings):
        await idle_stage.until_delivered(event["requestId"])
    tries = await rows(database, "SELECT number, outcome, fence FROM attempts WHERE step = 'dispatch' ORDER BY id")
    told = [e["number"] for e in await idle_stage.timeline(event["requestId"]) if e.get("step") == "dispatch"]

    assert tries == [(1, "retry", None), (2, "retry", None), (3, "done", 3)]
    assert told == [1, 2, 3]


@pytest.fixture
def upgraded_url(empty_database_url: str) -> str:
    """A database at 0009 with a queued request, a cancelled one with a late image, and an attempt; then migrated."""
    migrations.migrate(sqlalchemy_url(empty_database_url), "0009")
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for name in ("queued", "cancelled"):
            event = make_event(prompt=name)
            row = {"id": event["requestId"], "correlation": event["correlationId"], "event": json.dumps(event)}
            insert = (
                "INSERT INTO requests (request_id, correlation_id, event) VALUES (%(id)s, %(correlation)s, %(event)s)"
            )
            connection.execute(insert, row)
            connection.execute("INSERT INTO outbox (request_id, step) VALUES (%(id)s, 'dispatch')", row)
        connection.execute(OLD_ATTEMPT.replace(":number", "1"))
        connection.execute("DELETE FROM outbox AS o USING requests AS r"
                           " WHERE o.request_id = r.request_id AND r.event ->> 'prompt' = 'cancelled'")  # fmt: skip
        connection.execute("""
            UPDATE requests SET status = 'cancelled', image = '{"sha256": "00"}', completed_at = now() - interval '9 d',
                updated_at = now() - interval '9 d', delivered_at = now() - interval '9 d'
            WHERE event ->> 'prompt' = 'cancelled'
        """)
        connection.execute("""
            INSERT INTO images (request_id, content, created_at) SELECT request_id, 'x', now() - interval '1 day'
            FROM requests WHERE status = 'cancelled'
        """)
    migrations.migrate(sqlalchemy_url(empty_database_url))
    return empty_database_url


async def test_what_was_under_way_before_the_migration_is_finished_after_it(upgraded_url: str) -> None:
    with psycopg.connect(upgraded_url, autocommit=True) as connection:
        [request_id] = connection.execute("SELECT request_id FROM requests WHERE status = 'queued'").fetchone() or [
            None
        ]
    async with staged(upgraded_url) as stage, working(stage.settings):
        ended = await stage.until_delivered(str(request_id))

    assert ended["status"] == "completed"


def test_a_late_image_from_before_the_migration_is_kept_from_when_it_came(upgraded_url: str) -> None:
    statement = """
        SELECT r.updated_at = i.created_at FROM requests AS r JOIN images AS i ON i.request_id = r.request_id
    """
    with psycopg.connect(upgraded_url) as connection:
        assert connection.execute(statement).fetchall() == [(True,)]


def test_the_migration_can_be_undone_when_a_new_destination_has_a_row(database_url: str) -> None:
    """Version 0009 has a CHECK on the names of destinations."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("INSERT INTO destinations (name) VALUES ('archive')")
    migrations.migrate(sqlalchemy_url(database_url), "base")
    migrations.migrate(sqlalchemy_url(database_url))
    with psycopg.connect(database_url) as connection:
        found = connection.execute("SELECT name FROM destinations ORDER BY name").fetchall()

    assert found == [("n8n",), ("odoo",)]
