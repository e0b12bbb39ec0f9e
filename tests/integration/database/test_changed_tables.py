"""Tables change while the bridge serves, as a migration changes them: nobody gets a failed answer."""

import re
from pathlib import Path

import pytest
from psycopg.errors import FeatureNotSupported
from sqlalchemy import text

import aigen_bridge.store
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.database import Database
from callbacks import failed, report
from outages import write
from stage import REQUESTS, Stage

ADDED = [
    f"ALTER TABLE {table} ADD COLUMN unheard_of text"
    for table in ("requests", "outbox", "attempts", "destinations", "incidents", "occurrences", "quarantine")
]
RETYPED = [
    "ALTER TABLE requests ALTER COLUMN error_message TYPE varchar(5000), ALTER COLUMN version TYPE bigint",
    "ALTER TABLE outbox ALTER COLUMN attempts TYPE bigint, ALTER COLUMN error_code TYPE varchar(500)",
    "ALTER TABLE destinations ALTER COLUMN failures TYPE bigint, ALTER COLUMN error_detail TYPE varchar(5000)",
    "ALTER TABLE quarantine ALTER COLUMN error_detail TYPE varchar(5000), ALTER COLUMN times_seen TYPE bigint",
    "ALTER TABLE incidents ALTER COLUMN times TYPE bigint, ALTER COLUMN cause TYPE varchar(200)",
]
UNKNOWN = {"requestId": "11111111-1111-4111-8111-111111111111", "correlationId": "11111111-1111-4111-8111-111111111111"}


async def everything(stage: Stage) -> None:
    """Each kind of call, and a request carried from end to end; often enough for statements to be prepared."""
    for _ in range(7):
        asked = await stage.ask()
        await stage.until_delivered(asked["requestId"])
        again = await stage.ask()
        cancelled = await stage.api.post(f"{REQUESTS}/{again['requestId']}/cancel", headers=stage.as_client("ops"))
        refused = await report(stage, failed(UNKNOWN))
        letters = await stage.api.get("/api/v1/ops/dead-letters", headers=stage.as_client("ops"))
        letter = letters.json()["items"][0]["id"]
        answers = [
            await stage.api.get(REQUESTS, headers=stage.as_client("ops")),
            await stage.api.get(f"{REQUESTS}/{asked['requestId']}/timeline", headers=stage.as_client("ops")),
            await stage.api.get(f"{REQUESTS}/{asked['requestId']}/image", headers=stage.as_client("ops")),
            await stage.api.get("/health/ready"),
            await stage.api.get("/metrics"),
            await stage.api.get(f"/api/v1/ops/dead-letters/{letter}", headers=stage.as_client("ops")),
            await stage.api.post(
                f"/api/v1/ops/dead-letters/{letter}/discard", headers=stage.as_client("ops"), json={"reason": "a test"}
            ),
        ]
        assert cancelled.status_code in {200, 409}
        assert (refused.status_code, letters.status_code) == (404, 200)
        assert [answer.status_code for answer in answers] == [200] * len(answers)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("statements", [ADDED, RETYPED], ids=["added", "retyped"])
async def test_columns_change_and_all_goes_on(stage: Stage, database: Database, statements: list[str]) -> None:
    await everything(stage)
    for statement in statements:
        await write(database, statement)
        await everything_once_more(stage)
    await everything(stage)


async def everything_once_more(stage: Stage) -> None:
    asked = await stage.ask()
    await stage.until_delivered(asked["requestId"])
    assert (await report(stage, failed(UNKNOWN))).status_code == 404
    assert (await stage.api.get("/health/ready")).status_code == 200


@pytest.fixture
async def prepared(database: Database) -> Database:
    """A store whose one used connection has `QUERY` prepared."""
    await write(database, "CREATE TABLE kept (id int, says text)")
    await write(database, "INSERT INTO kept VALUES (1, 'so')")
    for _ in range(8):
        async with database.reading() as connection:
            await connection.execute(QUERY)
    for _ in range(8):
        async with database.transaction(prepared=True) as connection:
            await connection.execute(QUERY)
    return database


QUERY = text("SELECT id, says FROM kept")


async def test_a_single_statement_whose_plan_is_stale_is_executed_once_more(prepared: Database) -> None:
    await write(prepared, "ALTER TABLE kept ALTER COLUMN says TYPE varchar(10)")
    async with prepared.reading() as connection:
        assert (await connection.execute(QUERY)).all() == [(1, "so")]


@pytest.mark.parametrize("end", ["DEALLOCATE ALL", "DISCARD ALL"])
async def test_a_prepared_statement_that_is_gone_is_prepared_again(prepared: Database, end: str) -> None:
    """As behind a pooler that hands out another connection: psycopg does not know of it."""
    async with prepared.reading() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        driver.pgconn.exec_(end.encode())
        assert (await connection.execute(QUERY)).all() == [(1, "so")]


async def test_a_transaction_is_over_and_can_be_begun_again_at_once(prepared: Database) -> None:
    await write(prepared, "ALTER TABLE kept ALTER COLUMN says TYPE varchar(10)")
    with pytest.raises(StoreUnavailableError) as raised:
        async with prepared.transaction(prepared=True) as connection:
            await connection.execute(QUERY)
    assert "cached plan must not change result type" in raised.value.reason
    for _ in range(4):
        async with prepared.transaction(prepared=True) as connection:
            assert (await connection.execute(QUERY)).all() == [(1, "so")]


async def test_a_transaction_that_nobody_begins_again_has_nothing_that_can_go_stale(prepared: Database) -> None:
    await write(prepared, "ALTER TABLE kept ALTER COLUMN says TYPE varchar(10)")
    async with prepared.transaction() as connection:
        assert (await connection.execute(QUERY)).all() == [(1, "so")]


async def test_what_postgresql_does_not_support_is_not_tried_for_ever(database: Database) -> None:
    with pytest.raises(StoreUnavailableError) as raised:
        async with database.reading() as connection:
            await connection.execute(text("SELECT DISTINCT 1 FOR UPDATE"))
    assert str(FeatureNotSupported.sqlstate) in raised.value.reason


def test_no_statement_takes_whatever_columns_a_table_has() -> None:
    allowed = re.compile(r"SELECT \* FROM (unnest|json_to_recordset)\(")
    for path in Path(aigen_bridge.store.__file__).parent.glob("*.py"):
        found = re.findall(
            r"(?:SELECT (?:\w+\.)?|RETURNING (?:\w+\.)?|, \w+\.)\*[^\n]*", allowed.sub("", path.read_text())
        )
        assert found == [], path.name
