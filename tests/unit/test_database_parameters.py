"""Parameters in AIGEN_DATABASE_URL either work or are refused in words, before anything connects."""

from pathlib import Path

import pytest

from aigen_bridge.doctor.database import look_at_database
from aigen_bridge.doctor.examine import Check, examine
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.connection import TIMEOUT, connect_arguments, session
from aigen_bridge.store.database import open_engine
from aigen_bridge.store.hosts import connecting_seconds
from aigen_bridge.store.migrations import check, migrate
from stage import make_settings

PLACES = ("u:SECRET@127.0.0.1:9/db", "u:SECRET@127.0.0.1:9,127.0.0.2:9/db")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    "parameters",
    [
        "sslmode=verify-full&sslrootcert=system",
        "target_session_attrs=read-write&load_balance_hosts=random",
        "connect_timeout=0&keepalives=0&keepalives_idle=60&tcp_user_timeout=5000",
        "client_encoding=UTF8",
        "client_encoding=utf-8",
        "gssencmode=disable&channel_binding=prefer&require_auth=scram-sha-256",
        "fallback_application_name=x",
        "application_name=replaced",
        "options=-csearch_path%3Dbridge",
    ],
)
def test_what_libpq_takes_works(place: str, parameters: str) -> None:
    connect_arguments(f"postgresql+psycopg://{place}?{parameters}", name="test", timeout=TIMEOUT, settings={})


@pytest.mark.parametrize(
    "environment",
    [
        {"PGHOST": "127.0.0.1,127.0.0.2", "PGPORT": "9,10"},
        {"PGHOSTADDR": "127.0.0.1,127.0.0.2", "PGHOST": "a,b"},
    ],
)
def test_the_place_may_come_from_the_environment(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    connect_arguments("postgresql+psycopg:///db?sslmode=prefer", name="test", timeout=TIMEOUT, settings={})


SERVICE = "[bridge]\nhost=h1,h2\nport=5431,5432\noptions=-csearch_path=bridge\nconnect_timeout=7\nuser=u\n"


@pytest.fixture
def service_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    path = tmp_path / "pg_service.conf"
    path.write_text(SERVICE)
    monkeypatch.setenv("PGSERVICEFILE", str(path))
    return path


def test_a_service_file_names_hosts_options_and_timeouts(service_file: Path) -> None:
    for url in ("postgresql://u2@/db?service=bridge&port=9", "service=bridge dbname=db port=9 user=u2"):
        found = connect_arguments(url, name="test", timeout=TIMEOUT, settings=session(TIMEOUT))
        assert (found["host"], found["port"], found["dbname"], found["user"]) == ("h1,h2", "9", "db", "u2")
        assert (found["connect_timeout"], found["target_session_attrs"]) == ("7", "primary")
        assert found["options"].startswith("-csearch_path=bridge -c DateStyle=ISO")
        assert connecting_seconds(found, TIMEOUT) == 15


def test_options_of_the_environment_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-csearch_path=bridge")
    found = connect_arguments("postgresql://h/db", name="test", timeout=TIMEOUT, settings=session(TIMEOUT))
    assert found["options"].startswith("-csearch_path=bridge -c DateStyle=ISO")


@pytest.mark.parametrize(
    ("service", "line", "words"),
    [
        ("other", "", 'definition of service "other" not found'),
        ("bridge", "sslmod=x", "syntax error in service file"),
        ("bridge", "target_session_attrs=standby", "service file .* 'standby', but the bridge writes"),
        ("bridge", "replication=database", "service file .* sets replication"),
        ("bridge", "hostaddr=::1\nport=1,2,3", "3 ports for 2 hosts"),
    ],
)
def test_what_cannot_work_in_a_service_file_is_refused_in_words(
    service_file: Path, service: str, line: str, words: str
) -> None:
    service_file.write_text(SERVICE.replace("port=5431,5432\n", "") + line + "\n")
    with pytest.raises(UnsuitableDatabaseError, match=words):
        connect_arguments(f"postgresql:///db?service={service}", name="test", timeout=TIMEOUT, settings={})


@pytest.mark.parametrize(
    ("parameter", "detail", "advice"),
    [
        ("prepare_threshold=0", "sets prepare_threshold", "Remove"),
        ("autocommit=true", "sets autocommit", "Remove"),
        ("row_factory=dict_row", "sets row_factory", "Remove"),
        ("cursor_factory=x", "sets cursor_factory", "Remove"),
        ("context=x", "sets context", "Remove"),
        ("replication=database", "sets replication", "Remove"),
        ("sslmod=require", "'sslmod'", "Did you mean sslmode?"),
        ("targetsessionattrs=any", "'targetsessionattrs'", "Did you mean target_session_attrs?"),
        ("pgbouncer=true", "'pgbouncer'", "AIGEN_DATABASE__PREPARED_STATEMENTS"),
        ("prepared_statement_cache_size=0", "'prepared_statement_cache_size'", "AIGEN_DATABASE__PREPARED_STATEMENTS"),
        ("pool_size=5", "'pool_size'", "another driver"),
        ("schema=public", "'schema'", "another driver"),
        ("connect_timeout=abc", "'abc', which is not a number", "whole numbers"),
        ("connect_timeout=1.5", "'1.5', which is not a number", "whole numbers"),
        ("keepalives_idle=5s", "'5s', which is not a number", "whole numbers"),
        ("client_encoding=LATIN1", "'LATIN1'", "Remove"),
        ("target_session_attrs=prefer-standby", "'prefer-standby', but the bridge writes", "read-write"),
        ("sslmode=bogus", 'invalid sslmode value: "bogus"', "Correct"),
        ("target_session_attrs=writer", 'invalid target_session_attrs value: "writer"', "Correct"),
        ("sslnegotiation=direct&sslmode=prefer", "weak sslmode", "Correct"),
    ],
)
def test_what_cannot_work_is_refused_in_words(parameter: str, detail: str, advice: str) -> None:
    url = f"postgresql+psycopg://{PLACES[0]}?{parameter}"
    with pytest.raises(UnsuitableDatabaseError) as raised:
        connect_arguments(url, name="test", timeout=TIMEOUT, settings={})
    assert "AIGEN_DATABASE_URL" in raised.value.detail
    assert (detail in raised.value.detail, advice in raised.value.advice) == (True, True), raised.value
    assert "SECRET" not in f"{raised.value}{raised.value.advice}"


async def test_every_command_refuses_the_same_and_the_doctor_still_reports() -> None:
    url = f"postgresql+psycopg://{PLACES[0]}?prepare_threshold=0"
    for start in (check, migrate, lambda url: open_engine(url, pool_size=1, name="test")):
        with pytest.raises(UnsuitableDatabaseError, match="prepare_threshold"):
            start(url)
    [found] = await examine(Subject.of(make_settings(url)), [Check("database", look_at_database)])
    assert (found.mark, "prepare_threshold" in found.found, found.advice) == (
        "wrong",
        True,
        "Remove prepare_threshold from it.",
    )
