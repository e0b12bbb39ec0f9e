"""Behind a pooler in transaction mode, with AIGEN_DATABASE__PREPARED_STATEMENTS=false, answers are right under load."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import text

from aigen_bridge.doctor.finding import Mark
from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.settings import Settings
from aigen_bridge.store.connection import TIMEOUT, session
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import check, migrate
from aigen_bridge.wiring import migrate_database, verify_database
from examination import examined
from outages import rows, write
from poolers import pgbouncer
from stage import make_settings, sqlalchemy_url, staged, working

SIZE = 3
"""Connections of the pool, many fewer than the bridge's."""
OF_OTHERS = {"TimeZone": "Asia/Tokyo", "DateStyle": "German", "statement_timeout": "0", "synchronous_commit": "off"}
"""Settings that other clients of the pooler left behind in its connections."""


@pytest.fixture
def pooled_url(database_url: str, tmp_path: Path) -> Iterator[str]:
    with pgbouncer(database_url, tmp_path, "transaction", ignored="", size=SIZE) as urls:
        leave_settings_behind(urls["transaction"])
        yield urls["transaction"]


def leave_settings_behind(url: str) -> None:
    """Opens every connection of the pool, and changes the settings of its sessions."""
    opened = [psycopg.connect(url, prepare_threshold=None) for _ in range(SIZE)]
    for connection in opened:
        for name, value in OF_OTHERS.items():
            connection.execute(f"SET {name} = '{value}'")
    for connection in opened:
        connection.commit()
        connection.close()


def behind_pooler(url: str, **database: Any) -> Settings:
    return make_settings(url, database={"prepared_statements": False, **database})


@asynccontextmanager
async def opened(url: str, size: int = 1) -> AsyncIterator[Database]:
    database = Database(open_engine(sqlalchemy_url(url), pool_size=size, name="test", prepared_statements=False))
    yield database
    await database.close()


@pytest.mark.parametrize("listens", [True, False])
async def test_requests_are_carried_under_load(database_url: str, pooled_url: str, listens: bool) -> None:  # noqa: FBT001
    database = {"prepared_statements": False} | ({"listen_url": database_url} if listens else {})
    poll = "60s" if listens else "200ms"
    async with staged(pooled_url, database=database, worker={"poll": poll}) as stage, working(stage.settings):
        asked = await asyncio.gather(*(stage.ask() for _ in range(12)))
        for event in asked:
            await stage.until_delivered(event["requestId"])
    assert (stage.settings.listener_url is not None) == listens


async def test_every_statement_and_transaction_has_the_settings_of_a_session(pooled_url: str) -> None:
    in_words = {"statement_timeout": "30s", "lock_timeout": "5s", "idle_in_transaction_session_timeout": "10s"}
    wanted = session(TIMEOUT) | in_words | {"synchronous_commit": "on"}
    query = "SELECT " + ", ".join(f"current_setting('{name}')" for name in wanted)

    async def of_single_statement(database: Database) -> list[Any]:
        return await rows(database, query)

    async def of_transaction(database: Database) -> list[Any]:
        async with database.transaction() as connection:
            await connection.execute(text("SELECT 1"))
            return [tuple(row) for row in await connection.execute(text(query))]

    async with opened(pooled_url, 10) as database:
        found = await asyncio.gather(*(of(database) for of in (of_single_statement, of_transaction) for _ in range(40)))
    [settings] = {tuple(row) for [row] in found}
    assert settings[0].startswith("ISO")
    assert list(zip(wanted, settings, strict=True))[1:] == list(wanted.items())[1:]


async def test_other_clients_of_the_pooler_keep_their_own_settings(pooled_url: str) -> None:
    async with opened(pooled_url) as database:
        await write(database, "CREATE TABLE made ()")
        assert await rows(database, "SELECT count(*) FROM made") == [(0,)]
    with psycopg.connect(pooled_url) as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("0",)


async def test_a_failed_statement_undoes_its_own_transaction_and_no_more(pooled_url: str) -> None:
    async with opened(pooled_url) as database:
        with pytest.raises(Exception, match="division by zero"):
            await rows(database, "SELECT 1 / 0")
        assert await rows(database, "SELECT 1") == [(1,)]
    with psycopg.connect(pooled_url) as other:
        assert other.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE state LIKE 'idle in%' AND datname = current_database()"
        ).fetchone() == (0,)


def test_the_start_compares_and_finds_it_good(database_url: str, pooled_url: str) -> None:
    check(sqlalchemy_url(pooled_url), prepared_statements=False)
    verify_database(behind_pooler(pooled_url, listen_url=database_url))


def test_what_needs_a_session_is_refused_in_words_or_goes_past_the_pooler(database_url: str, pooled_url: str) -> None:
    with pytest.raises(UnsuitableDatabaseError, match=r"transaction mode|startup parameter") as refused:
        migrate(behind_pooler(pooled_url).migration_url)
    assert "AIGEN_DATABASE__LISTEN_URL" in refused.value.advice
    migrate(behind_pooler(pooled_url, listen_url=database_url).migration_url)


def test_options_of_the_url_are_refused(pooled_url: str) -> None:
    url = f"{sqlalchemy_url(pooled_url)}?options=-csearch_path%3Dbridge"
    with pytest.raises(UnsuitableDatabaseError, match="sets options to '-csearch_path=bridge'") as refused:
        check(url, prepared_statements=False)
    assert "ALTER ROLE" in refused.value.advice


def test_a_listener_that_gets_no_notifications_is_refused_at_the_start(
    database_url: str, pooled_url: str, empty_database_url: str
) -> None:
    with pytest.raises(UnsuitableDatabaseError, match="LISTEN_URL leads to another database"):
        verify_database(behind_pooler(pooled_url, listen_url=empty_database_url))
    with pytest.raises(UnsuitableDatabaseError, match=r"startup parameter|transaction mode") as refused:
        verify_database(
            behind_pooler(pooled_url, listen_url=pooled_url.replace("/transaction", "/transaction?sslmode=disable"))
        )
    assert "AIGEN_DATABASE__LISTEN_URL" in refused.value.advice


@pytest.mark.parametrize("start", [verify_database, migrate_database])
def test_a_listener_url_that_cannot_work_is_refused_by_its_name_although_the_database_is_away(
    start: Callable[[Settings], None],
) -> None:
    away = "postgresql://127.0.0.1:9/d"
    with pytest.raises(UnsuitableDatabaseError, match="AIGEN_DATABASE__LISTEN_URL has the parameter 'pgbouncer'"):
        start(behind_pooler(away, listen_url=f"{away}?pgbouncer=true"))


async def test_a_pooler_in_statement_mode_is_refused(database_url: str, tmp_path: Path) -> None:
    with pgbouncer(database_url, tmp_path, "statement", ignored="") as urls:
        with pytest.raises(UnsuitableDatabaseError, match="statement mode"):
            check(sqlalchemy_url(urls["statement"]), prepared_statements=False)
        async with opened(urls["statement"]) as database:
            with pytest.raises(StoreUnavailableError, match="statement mode"):
                await rows(database, "SELECT 1")


async def test_the_doctor_names_pooler_and_listener(
    database_url: str, pooled_url: str, empty_database_url: str
) -> None:
    polling = await examined(behind_pooler(pooled_url))
    assert polling.worst("pooler").found.startswith("One is in between")
    assert polling.worst("listener").mark is Mark.WARNING
    assert "they poll, and begin up to 5 s late" in polling.worst("listener").found
    assert polling.worst("worker").mark is Mark.OK

    marks = {}
    for name, url in {"past": database_url, "other": empty_database_url, "away": "postgresql://127.0.0.1:9/d"}.items():
        marks[name] = (await examined(behind_pooler(pooled_url, listen_url=url))).worst("listener").mark
    assert marks == {"past": Mark.OK, "other": Mark.WRONG, "away": Mark.WARNING}

    without = await examined(behind_pooler(database_url))
    assert without.worst("pooler").mark is Mark.WARNING
