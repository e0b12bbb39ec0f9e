"""Whatever a database or a role has as defaults, our statements mean the same; what they cannot mend is refused."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
import structlog

from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import migrate
from aigen_bridge.store.wakeup import listen
from callbacks import failed, report
from examination import examined
from outages import rows, write
from processes import run
from stage import REQUESTS, Stage, make_event, make_settings, serve_api, sqlalchemy_url, staged, working

ODD = (
    "DateStyle = 'German'",
    "IntervalStyle = 'sql_standard'",
    "TimeZone = 'Asia/Kathmandu'",
    "client_encoding = 'LATIN1'",
    "default_transaction_isolation = 'serializable'",
    "bytea_output = 'escape'",
    "extra_float_digits = -10",
    "standard_conforming_strings = off",
    "array_nulls = off",
    "statement_timeout = '1ms'",
    "lock_timeout = '1ms'",
)
PROMPTS = ("Löwe", "🦁", "\\ ' \\u0041 back\\slash")
_numbers = count(1)


def made(url: str, *, encoding: str) -> str:
    """Another database on this server."""
    name = f"aigen_{encoding.lower()}_{os.getpid()}_{next(_numbers)}"
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name} ENCODING '{encoding}' LOCALE 'C' TEMPLATE template0")
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(params=["LATIN1", "SQL_ASCII"])
def unsuitable(postgres_url: str, request: pytest.FixtureRequest) -> Iterator[str]:
    """A database that cannot hold every prompt."""
    url = made(postgres_url, encoding=request.param)
    yield url
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {urlsplit(url).path[1:]} WITH (FORCE)")


@pytest.fixture
async def odd(database_url: str) -> AsyncIterator[Stage]:
    """Everything, over a database with the oddest defaults."""
    name = urlsplit(database_url).path[1:]
    with psycopg.connect(database_url, autocommit=True) as connection:
        for setting in ODD:
            connection.execute(f"ALTER DATABASE {name} SET {setting}")
    async with staged(database_url) as stage, working(stage.settings):
        yield stage


@pytest.mark.parametrize("prompt", PROMPTS)
async def test_a_prompt_comes_back_and_is_delivered_whatever_the_defaults_are(odd: Stage, prompt: str) -> None:
    asked = await odd.ask(prompt=prompt)
    delivered = await odd.until_delivered(asked["requestId"])
    called = odd.chain.n8n.calls.to("webhook")[-1]

    assert delivered["status"] == "completed"
    assert delivered["prompt"] == prompt
    assert called.fields["prompt"] == prompt
    assert (await odd.api.get("/health/ready")).status_code == 200
    assert "aigen_database_up 1.0" in (await odd.api.get("/metrics")).text
    assert len(await odd.timeline(asked["requestId"])) > 3
    assert (await examined(odd.settings)).worst("database").mark == "ok"


async def test_serializable_by_default_gives_no_needless_503s(odd: Stage) -> None:
    events = [make_event() for _ in range(60)]

    async def asked_and_reported(event: dict[str, object]) -> None:
        headers = odd.as_client("odoo")
        first = await odd.api.post(REQUESTS, json=event, headers=headers)
        assert first.status_code == 202
        await odd.api.post(f"{REQUESTS}/{event['requestId']}/cancel", headers=headers)
        await report(odd, failed(event))

    with structlog.testing.capture_logs() as lines:
        await asyncio.gather(*(asked_and_reported(event) for event in events))
    assert [line for line in lines if "serialize" in str(line.get("reason"))] == []


async def test_alembic_works_whatever_the_defaults_are(empty_database_url: str) -> None:
    name = urlsplit(empty_database_url).path[1:]
    with psycopg.connect(empty_database_url, autocommit=True) as connection:
        for setting in ODD:
            connection.execute(f"ALTER DATABASE {name} SET {setting}")
    await asyncio.to_thread(migrate, sqlalchemy_url(empty_database_url))


async def test_what_is_committed_is_on_disk_and_idle_connections_stay(database: Database, database_url: str) -> None:
    name = urlsplit(database_url).path[1:]
    await write(database, f"ALTER DATABASE {name} SET synchronous_commit = off")
    await write(database, f"ALTER DATABASE {name} SET idle_session_timeout = '10s'")
    other = Database(open_engine(sqlalchemy_url(database_url), pool_size=1, name="test"))
    try:
        [found] = await rows(
            other, "SELECT current_setting('synchronous_commit'), current_setting('idle_session_timeout')"
        )
    finally:
        await other.close()
    assert found == ("on", "0")


async def test_a_search_path_of_the_url_or_the_role_is_left_alone(database: Database, database_url: str) -> None:
    url = f"{database_url}{'&' if '?' in database_url else '?'}options=-csearch_path%3Dpg_temp%20-cDateStyle%3DGerman"
    other = Database(open_engine(sqlalchemy_url(url), pool_size=1, name="test"))
    found = await rows(other, "SELECT current_setting('search_path'), current_setting('DateStyle')")
    await other.close()
    assert found[0][0] == "pg_temp"
    assert found[0][1].startswith("ISO")


class TestADatabaseThatIsNotUtf8:
    def test_migrate_refuses_it_by_name(self, unsuitable: str, tmp_path: Path) -> None:
        done = run("migrate", environment={"AIGEN_DATABASE_URL": unsuitable}, cwd=tmp_path)
        assert done.returncode == 1
        assert encoding(unsuitable) in done.stderr
        assert "UTF8" in done.stderr
        assert "TEMPLATE template0" in done.stderr
        assert "Traceback" not in done.stderr

    @pytest.mark.parametrize("command", [("serve", "--port", "0"), ("worker",)])
    def test_the_start_is_refused_by_name(
        self, unsuitable: str, configured: Mapping[str, str], tmp_path: Path, command: tuple[str, ...]
    ) -> None:
        done = run(*command, environment={**configured, "AIGEN_DATABASE_URL": unsuitable}, cwd=tmp_path)
        assert done.returncode == 1
        assert encoding(unsuitable) in done.stderr
        assert "TEMPLATE template0" in done.stderr

    async def test_doctor_says_so(self, unsuitable: str) -> None:
        line = (await examined(make_settings(unsuitable))).worst("database")
        assert line.mark == "wrong"
        assert encoding(unsuitable) in line.found
        assert "template0" in line.advice

    async def test_a_running_api_takes_nothing(self, unsuitable: str) -> None:
        async with serve_api(make_settings(unsuitable)) as api:
            answer = await api.get("/health/ready")
        assert answer.status_code == 503
        assert encoding(unsuitable) in answer.json()["detail"]

    async def test_nobody_listens_on_it(self, unsuitable: str) -> None:
        woken: list[str] = []
        listening = asyncio.create_task(listen(unsuitable, woken.append))
        await asyncio.sleep(0.5)
        listening.cancel()
        assert woken == []


def encoding(url: str) -> str:
    return "LATIN1" if "latin1" in url else "SQL_ASCII"


async def test_a_pooler_that_drops_the_session_is_named(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    """PGDATESTYLE is sent after our options, as a pooler's own setting would be."""
    monkeypatch.setenv("PGDATESTYLE", "German")
    with pytest.raises(UnsuitableDatabaseError, match="DateStyle 'German"):
        async with database.reading():
            pass


def test_a_start_while_the_database_is_away_is_no_reason_to_refuse(tmp_path: Path) -> None:
    from aigen_bridge.cli.running import check_database  # noqa: PLC0415

    check_database(make_settings("postgresql://127.0.0.1:9/none"))
