"""`/health/ready` proves the write path, and the log says why when it cannot be proved."""

import asyncio
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import structlog

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.fresh import Fresh
from callbacks import failed, report
from outages import rows, write
from stage import REQUESTS, Stage, make_event, make_settings, serve_api, sqlalchemy_url, working

FULL = """
    CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN RAISE EXCEPTION 'could not extend file "base/1/2": No space left on device' USING ERRCODE = '53100'; END
    $$
"""


@pytest.fixture
def lines() -> Iterator[list[dict[str, Any]]]:
    """What is logged, as it is written."""
    with structlog.testing.capture_logs() as captured:
        yield captured  # type: ignore[misc]


async def ready(stage: Stage) -> int:
    """The status when the last proof is too old."""
    await asyncio.sleep(2.05)
    return (await stage.api.get("/health/ready")).status_code


def alter(url: str, setting: str) -> None:
    """Change a default of the database and end the connections that have the old one."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET default_transaction_read_only = off")
        connection.execute(f"ALTER DATABASE {urlsplit(url).path[1:]} {setting}")
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )


async def test_a_read_only_database_is_not_ready_and_calls_get_503(
    idle_stage: Stage, database_url: str, lines: list[dict[str, Any]]
) -> None:
    assert await ready(idle_stage) == 200
    alter(database_url, "SET default_transaction_read_only = on")
    assert await ready(idle_stage) == 503
    for _ in range(2):  # the first may meet a connection that was ended
        refused = await idle_stage.api.post(REQUESTS, json=make_event(), headers=idle_stage.as_client("odoo"))
        assert (refused.status_code, refused.headers["Retry-After"]) == (503, "2")
    read = await idle_stage.api.get(REQUESTS, headers=idle_stage.as_client("ops"))
    alter(database_url, "RESET default_transaction_read_only")
    assert await ready(idle_stage) in {200, 503}  # it may meet the ended connections first
    assert await ready(idle_stage) == 200

    said = [line["reason"] for line in lines if line["event"] == "api.refused"]
    assert read.status_code == 200
    assert "read-only" not in refused.text
    assert any("read-only transaction" in reason and "25006" in reason for reason in said)


@pytest.mark.parametrize("table", ["requests", "outbox"])
async def test_a_full_disk_is_not_ready_and_calls_get_503(
    idle_stage: Stage, database: Database, table: str, lines: list[dict[str, Any]]
) -> None:
    await write(database, FULL)
    assert await ready(idle_stage) == 200
    await write(database, f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")
    assert await ready(idle_stage) == 503
    refused = await idle_stage.api.post(REQUESTS, json=make_event(), headers=idle_stage.as_client("odoo"))
    await write(database, f"DROP TRIGGER full_disk ON {table}")
    assert await ready(idle_stage) == 200

    assert refused.status_code == 503
    assert "space" not in refused.text
    assert any("No space left on device" in line.get("reason", "") for line in lines)


async def test_a_callback_that_a_full_disk_cannot_take_is_asked_for_again(
    idle_stage: Stage, database: Database
) -> None:
    asked = await idle_stage.ask()
    await write(database, FULL)
    for table in ("request_changes", "quarantine"):
        await write(database, f"CREATE TRIGGER full_disk BEFORE INSERT ON {table} EXECUTE FUNCTION full_disk()")
    unknown = make_event()
    assert (await report(idle_stage, failed(asked))).status_code == 503
    assert (await report(idle_stage, failed(unknown))).status_code == 503


async def test_the_proof_leaves_nothing_and_is_made_at_most_once_in_two_seconds(
    idle_stage: Stage, database: Database
) -> None:
    await asyncio.gather(*(idle_stage.api.get("/health/ready") for _ in range(50)))
    await asyncio.gather(*(idle_stage.api.get("/health/ready") for _ in range(50)))
    assert await rows(database, "SELECT count(*) FROM requests") == [(0,)]
    assert await rows(database, "SELECT count(*) FROM outbox") == [(0,)]
    [(number,)] = await rows(database, "SELECT nextval(pg_get_serial_sequence('outbox', 'id'))")
    assert number <= 4  # each proof takes a number


async def test_the_proof_waits_for_the_log_to_reach_the_disk(idle_stage: Stage, database: Database) -> None:
    """What only rolls back would not: PostgreSQL does not wait for it."""
    before = await rows(database, "SELECT pg_current_wal_flush_lsn()")
    assert await ready(idle_stage) == 200
    [(grown,)] = await rows(
        database, "SELECT pg_current_wal_flush_lsn() > CAST(:before AS pg_lsn)", before=str(before[0][0])
    )
    assert grown


async def test_no_worker_takes_up_a_probe(stage: Stage) -> None:
    for _ in range(2):
        assert await ready(stage) == 200
    assert len(stage.chain.n8n.calls.to("webhook")) == 0


async def test_an_answer_is_shared_and_asked_for_again_when_it_is_old() -> None:
    asked = 0

    async def ask() -> int:
        nonlocal asked
        asked += 1
        await asyncio.sleep(0.01)
        return asked

    fresh = Fresh(ask, fresh=0.2, patience=5)
    assert await asyncio.gather(*(fresh.get() for _ in range(5))) == [1] * 5
    await asyncio.sleep(0.25)
    assert await asyncio.gather(*(fresh.get() for _ in range(5))) == [2] * 5


SECRET = "not-for-the-log"


@pytest.mark.parametrize(
    ("user", "limit", "found"),
    [
        ("limited", "LOGIN CONNECTION LIMIT 0", "too many connections for role"),
        ("barred", "NOLOGIN", "is not permitted to log in"),
    ],
)
async def test_the_log_says_why_the_database_refuses_and_the_caller_does_not_hear_it(
    database_url: str, lines: list[dict[str, Any]], user: str, limit: str, found: str
) -> None:
    name = f"{user}_{urlsplit(database_url).path[1:]}"
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE {name} {limit} PASSWORD '{SECRET}'")
    url = re.sub("//[^@]*@", f"//{name}:{SECRET}@", database_url)
    settings = make_settings(url, worker={"poll": "200ms"})
    async with serve_api(settings) as api, working(settings):
        answer = await api.get("/health/ready")
        await asyncio.sleep(1.5)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(f"DROP ROLE {name}")

    events = {line["event"] for line in lines if found in line.get("reason", "")}
    assert events >= {"api.refused", "store.unavailable", "outbox.listen_interrupted"}
    assert answer.status_code == 503
    assert name not in answer.text
    assert SECRET not in str(lines) + answer.text


@pytest.mark.parametrize("parameter", ["options=-cunheard_of%3D1", "options=-cstatement_timeout%3Dsoon"])
async def test_a_parameter_that_the_server_refuses_is_named(database_url: str, parameter: str) -> None:
    url = f"{sqlalchemy_url(database_url)}{'&' if '?' in database_url else '?'}{parameter}"
    other = Database(open_engine(url, pool_size=1, name="test"))
    with pytest.raises(StoreUnavailableError) as raised:
        await rows(other, "SELECT 1")
    await other.close()
    assert "parameter" in raised.value.reason


async def test_connections_that_take_no_writes_are_replaced(database_url: str, database: Database) -> None:
    """As after a failover while the host's name still leads to the former primary."""
    name = urlsplit(database_url).path[1:]
    await write(database, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    bridge = Database(open_engine(sqlalchemy_url(database_url), pool_size=2, name="test"))
    with pytest.raises(StoreUnavailableError, match="ReadOnlySqlTransaction"):
        await write(bridge, "CREATE TABLE a ()")
    await write(database, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    await write(bridge, "CREATE TABLE a ()")
    await bridge.close()
