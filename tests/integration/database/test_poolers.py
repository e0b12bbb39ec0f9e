"""A pooler that would lead to wrong answers is refused in words; one that keeps sessions apart works."""

import asyncio
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from aigen_bridge.cli.running import check_database
from aigen_bridge.doctor.database import look_at_database
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.finding import Finding
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.store.connection import TIMEOUT, session
from aigen_bridge.store.database import PREPARE_AFTER, Database, open_engine
from aigen_bridge.store.migrations import check, migrate
from aigen_bridge.store.session import COMPARE, asked, refusals_explained
from outages import rows
from poolers import alternating, dropping_options, pgbouncer
from stage import KEYS, REQUESTS, make_event, make_settings, serve_api, sqlalchemy_url, staged, working


async def looked_at(url: str) -> Finding:
    """What the doctor finds about the database."""
    [found] = await examine(Subject.of(make_settings(url)), [Check("database", look_at_database)])
    return found


async def asked_for(url: str) -> int:
    """The status when a request is asked for."""
    async with serve_api(make_settings(url)) as api:
        answer = await api.post(REQUESTS, json=make_event(), headers={"X-API-Key": KEYS["odoo"]})
    return answer.status_code


async def test_a_pooler_that_drops_the_session_settings_is_refused(database_url: str) -> None:
    async with dropping_options(database_url) as url:
        starts = (lambda: check_database(make_settings(url)), lambda: migrate(sqlalchemy_url(url)))
        for start in starts:
            with pytest.raises(UnsuitableDatabaseError, match=r"lock_timeout '0' .* pooler such as PgBouncer"):
                await asyncio.to_thread(start)
        line = await looked_at(url)
        assert (line.mark, "statement_timeout '0'" in line.found, "session mode" in line.advice) == (
            "wrong",
            True,
            True,
        )
        assert await asked_for(url) == 503


async def test_pgbouncer_works_in_session_mode_and_is_refused_in_transaction_mode(
    database_url: str, tmp_path: Path
) -> None:
    with pgbouncer(database_url, tmp_path, "session", "transaction", "statement") as urls:
        for mode in ("transaction", "statement"):
            for start in (check, migrate):
                with pytest.raises(UnsuitableDatabaseError, match=f"{mode} mode") as refused:
                    await asyncio.to_thread(start, sqlalchemy_url(urls[mode]))
                assert "AIGEN_DATABASE__PREPARED_STATEMENTS=false" in refused.value.advice
        line = await looked_at(urls["transaction"])
        assert (line.mark, "transaction mode" in line.found) == ("wrong", True)
        assert await asked_for(urls["transaction"]) == 503

        for start in (check, migrate):
            await asyncio.to_thread(start, sqlalchemy_url(urls["session"]))
        async with staged(urls["session"]) as stage, working(stage.settings):
            for event in await asyncio.gather(*(stage.ask() for _ in range(20))):
                await stage.until_delivered(event["requestId"])
        settings = Database(open_engine(sqlalchemy_url(urls["session"]), pool_size=1, name="test"))
        assert await rows(settings, "SELECT current_setting('lock_timeout')") == [("5s",)]
        assert await _prepares_after(settings) is None
        await settings.close()


async def test_a_load_balancer_before_two_poolers_does_not_hide_their_mode(database_url: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        folders = [tmp_path / name for name in ("one", "other")]
        for folder in folders:
            folder.mkdir()
        poolers = [stack.enter_context(pgbouncer(database_url, folder, "transaction")) for folder in folders]
        async with alternating(*(urls["transaction"] for urls in poolers)) as url:
            with pytest.raises(UnsuitableDatabaseError, match="transaction mode"):
                await asyncio.to_thread(check, sqlalchemy_url(url))
            assert await asked_for(url) == 503


@pytest.mark.timeout(30)
async def test_a_start_does_not_wait_for_a_server_that_answers_no_statement(database_url: str) -> None:
    async with dropping_options(database_url, passes_statements=False) as url:
        for start in (check, migrate):
            with pytest.raises(StoreUnavailableError):
                await asyncio.to_thread(start, sqlalchemy_url(url), timeout=timedelta(seconds=1))


async def test_a_pool_without_a_second_connection_is_named(database_url: str, tmp_path: Path) -> None:
    with pgbouncer(database_url, tmp_path, "session", size=1) as urls:
        with pytest.raises(StoreUnavailableError, match=r"did not give three connections.*default_pool_size"):
            await asyncio.to_thread(migrate, sqlalchemy_url(urls["session"]))
        line = await looked_at(urls["session"])
        assert (line.mark, "default_pool_size" in line.found) == ("wrong", True)


async def test_without_a_pooler_statements_are_prepared(database: Database) -> None:
    assert await _prepares_after(database) == PREPARE_AFTER


async def _prepares_after(database: Database) -> int | None:
    async with database.reading() as connection:
        driver = (await connection.get_raw_connection()).driver_connection
        return driver.prepare_threshold  # type: ignore[no-any-return, union-attr]


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, []),
        ({"lock_timeout": "1s", "statement_timeout": "29999ms"}, []),  # an administrator may be stricter
        ({"lock_timeout": "0"}, ["lock_timeout '0' (asked for: '5s')"]),
        ({"statement_timeout": "1min"}, ["statement_timeout '1min' (asked for: '30s')"]),
        ({"TimeZone": "Asia/Tokyo"}, ["TimeZone 'Asia/Tokyo' (asked for: 'UTC')"]),
        ({"DateStyle": "ISO, DMY"}, []),
        ({"DateStyle": "German"}, ["DateStyle 'German, DMY' (asked for: 'ISO, DMY')"]),
        ({"plan_cache_mode": "auto"}, ["plan_cache_mode 'auto' (asked for: 'force_generic_plan')"]),
        ({"client_encoding": "LATIN1"}, ["client_encoding 'LATIN1' (asked for: 'UTF8')"]),
    ],
)
def test_a_session_is_compared_in_the_notation_of_postgresql(
    postgres_url: str, changed: dict[str, str], found: list[str]
) -> None:
    wanted = asked(session(TIMEOUT))
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for name, value in {**dict(zip(wanted["names"], wanted["values"], strict=True)), **changed}.items():
            connection.execute("SELECT set_config(%s, %s, false)", [name, value])
        assert connection.execute(COMPARE, wanted).fetchone() == (connection.info.backend_pid, found)
        if "lock_timeout" in changed:  # comparing changes nothing
            assert connection.execute("SHOW lock_timeout").fetchone() == (changed["lock_timeout"],)


@pytest.mark.parametrize(
    ("message", "advice"),
    [
        ("FATAL:  unsupported startup parameter: options", "session mode"),
        ("FATAL:  unsupported startup parameter in options: lock_timeout", "session mode"),
        ("FATAL:  Feature not supported: RDS Proxy currently doesn't support command-line options.", "session mode"),
        ('FATAL:  permission denied for database "db"', 'GRANT CONNECT ON DATABASE "db" TO "u";'),
    ],
)
def test_a_refusal_that_stays_until_somebody_changes_something_is_no_outage(message: str, advice: str) -> None:
    with pytest.raises(UnsuitableDatabaseError) as raised, refusals_explained({"user": "u", "dbname": "db"}):
        raise psycopg.OperationalError(message)
    assert advice in raised.value.advice
