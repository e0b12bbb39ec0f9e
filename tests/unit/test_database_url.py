"""The database's URL: every way to write it, and the same parameters for everybody who connects."""

import asyncio
import time
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import psycopg
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
from aigen_bridge.settings import DatabaseSettings, WrongSettingsError, load
from aigen_bridge.store.connection import TIMEOUT, connect_arguments
from aigen_bridge.store.database import open_engine
from aigen_bridge.store.hosts import connecting_seconds
from aigen_bridge.store.migrations import check, migrate
from aigen_bridge.store.url import parse
from aigen_bridge.store.wakeup import listen

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30)
NAMES = ("user", "password", "dbname", "host", "port")


@given(user=TEXT, password=TEXT, name=TEXT, host=st.sampled_from(["h1", "[::1]", "h1:5531,h2:5532", "%2Frun%2Fpg"]))
def test_any_user_password_and_database_reach_psycopg_as_they_are(
    user: str, password: str, name: str, host: str
) -> None:
    url = f"postgresql://{quote(user, safe='')}:{quote(password, safe='')}@{host}/{quote(name, safe='')}"
    arguments = connect_arguments(url, name="test", timeout=TIMEOUT, settings={})
    read = conninfo_to_dict(make_conninfo(**arguments))

    assert (read["user"], read["password"], read["dbname"]) == (user, password, name)


HOSTS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9.-]{0,20}", fullmatch=True),
    st.sampled_from(["[::1]", "[fe80::1%25eth0]", "10.0.0.1", "%2Frun%2Fpostgresql"]),
)
PLACES = st.lists(st.tuples(HOSTS, st.none() | st.integers(1, 65535)), min_size=1, max_size=4)
VALUES = {
    "target_session_attrs": st.sampled_from(["any", "read-write", "primary"]),
    "sslmode": st.sampled_from(["disable", "require", "verify-full"]),
    "sslrootcert": TEXT,
    "sslcert": TEXT,
    "sslkey": TEXT,
    "options": TEXT,
    "service": TEXT,
    "passfile": TEXT,
    "connect_timeout": st.integers(0, 99).map(str),
    "hostaddr": st.sampled_from(["10.0.0.1", "::1"]),
}
PARAMETERS = st.dictionaries(st.sampled_from(sorted(VALUES)), st.none(), max_size=4).flatmap(
    lambda chosen: st.fixed_dictionaries({name: VALUES[name] for name in chosen})
)


@settings(max_examples=50)
@given(
    scheme=st.sampled_from(["postgresql", "postgres"]),
    user=st.none() | TEXT,
    password=st.none() | TEXT,
    places=PLACES,
    name=st.none() | TEXT,
    parameters=PARAMETERS,
)
def test_an_encoded_url_is_read_as_libpq_reads_it(
    scheme: str,
    user: str | None,
    password: str | None,
    places: list[tuple[str, int | None]],
    name: str | None,
    parameters: dict[str, str],
) -> None:
    credentials = quote(user or "", safe="") + (f":{quote(password, safe='')}" if password else "")
    hosts = ",".join(host if port is None else f"{host}:{port}" for host, port in places)
    query = "&".join(f"{key}={quote(value, safe='')}" for key, value in parameters.items())
    url = f"{scheme}://{credentials}{'@' if credentials else ''}{hosts}/{quote(name or '', safe='')}?{query}"
    libpq = {key: value for key, value in conninfo_to_dict(url).items() if value and value.strip(",")}

    assert parse(url) == libpq


@settings(max_examples=50)
@given(
    places=st.lists(
        st.tuples(st.sampled_from(["h1", "::1", "/run/pg"]), st.integers(1, 65535)), min_size=1, max_size=3
    ),
    password=TEXT,
    parameters=PARAMETERS,
)
def test_keywords_and_values_are_read_as_libpq_reads_them(
    places: list[tuple[str, int]], password: str, parameters: dict[str, str]
) -> None:
    hosts = {"host": ",".join(host for host, _ in places), "port": ",".join(str(port) for _, port in places)}
    given = {**hosts, "password": password, **parameters}

    assert parse(make_conninfo("", **given)) == given
    assert (
        parse(load(DatabaseSettings, database_url=make_conninfo("", **given)).database_url.get_secret_value()) == given
    )


@example(text="?=1")
@given(text=st.text("ab=:/?#@%,&+[]'\\ 1", max_size=25))
def test_any_text_is_read_or_refused(text: str) -> None:
    for url in (text, f"postgresql://{text}", f"host={text}"):
        with suppress(ValueError):
            for name, value in parse(url).items():
                assert name
                assert value


@given(password=st.text("ab1@:/?#%&=+,[]", min_size=1, max_size=12))
def test_special_characters_of_a_password_may_stand_as_they_are(password: str) -> None:
    """As long as they leave no doubt where the password ends; a `%` with two hex digits behind it is decoded."""
    with suppress(ValueError):
        read = parse(f"postgresql://bridge:{password}@db.example/aigen")
        if read["user"] == "bridge" and "%" not in password:
            assert (read["password"], read["host"], read["dbname"]) == (password, "db.example", "aigen")


@pytest.mark.parametrize(
    ("url", "read"),
    [
        ("postgresql://u:p@h/d", {"user": "u", "password": "p", "host": "h", "dbname": "d"}),
        (" postgres://u:p@h:5/d\n", {"user": "u", "password": "p", "host": "h", "port": "5", "dbname": "d"}),
        ("PostgreSQL+asyncpg://u@h/d", {"user": "u", "host": "h", "dbname": "d"}),
        ("postgresql+psycopg2://u:@h", {"user": "u", "host": "h"}),
        ("postgresql://u%40x:50%25@h/my%20db", {"user": "u@x", "password": "50%", "host": "h", "dbname": "my db"}),
        ("postgresql://u:50%@h/d", {"user": "u", "password": "50%", "host": "h", "dbname": "d"}),
        ("postgresql://u:a@b/c?d#e@h/d", {"user": "u", "password": "a@b/c?d#e", "host": "h", "dbname": "d"}),
        (
            "postgresql://u:p+q@h/d?passfile=/a+b",
            {"user": "u", "password": "p+q", "host": "h", "dbname": "d", "passfile": "/a+b"},
        ),
        ("postgresql://h1:5531,h2:5532/d", {"host": "h1,h2", "port": "5531,5532", "dbname": "d"}),
        ("postgresql:///d?host=a:1&host=b:2", {"host": "a,b", "port": "1,2", "dbname": "d"}),
        ("postgresql:///d?host=a:1,b:2", {"host": "a,b", "port": "1,2", "dbname": "d"}),
        ("postgresql:///d?host=a,b&port=1,2", {"host": "a,b", "port": "1,2", "dbname": "d"}),
        ("postgresql://[::1]:5,[::2]/d", {"host": "::1,::2", "port": "5,", "dbname": "d"}),
        ("postgresql:///d?host=::1&port=5", {"host": "::1", "port": "5", "dbname": "d"}),
        ("postgresql:///d?host=/var/run/postgresql", {"host": "/var/run/postgresql", "dbname": "d"}),
        ("postgresql://%2Fvar%2Frun%2Fpostgresql/d", {"host": "/var/run/postgresql", "dbname": "d"}),
        ("postgresql:///?service=bridge", {"service": "bridge"}),
        ("postgresql://", {}),
        (
            "postgresql://h/d?options=-csearch_path=x+-cwork_mem%3D9MB",
            {"host": "h", "dbname": "d", "options": "-csearch_path=x -cwork_mem=9MB"},
        ),
        (
            "postgresql://h/d?ssl=true&target_session_attrs=primary",
            {"host": "h", "dbname": "d", "sslmode": "require", "target_session_attrs": "primary"},
        ),
        (
            "postgresql://h/d?user=v&password=w%20x&dbname=e",
            {"host": "h", "user": "v", "password": "w x", "dbname": "e"},
        ),
    ],
)
def test_every_way_to_write_a_url_is_read(url: str, read: dict[str, str]) -> None:
    assert parse(url) == read


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("mysql://u:SECRET@h/d", "must look like postgresql://"),
        ("postgresql:/u:SECRET@h/d", "must look like"),
        ("u:SECRET@h/d", "must look like"),
        ("", "must look like"),
        ("postgresql://u:SECRET@::1/d", "must look like"),
        ("postgresql://u:SECRET@h1:many/d", "must look like"),
        ("postgresql://u:SECRET@h/d/e", "must look like"),
        ("postgresql://u:SECRET@h/d#e", "must look like"),
        ("postgresql://u:SE CRET@h/d", "has blanks or control characters"),
        ("postgresql://u:SECRET@h/\td", "has blanks or control characters"),
        ("postgresql://u:SECRET@h:0/d", "port that is not a number from 1 to 65535"),
        ("postgresql://u:SECRET@h1:1,h2:99999/d", "port that is not a number from 1 to 65535"),
        ("postgresql://u:SECRET@h/d?port=x", "port that is not a number from 1 to 65535"),
        ("postgresql://u:SECRET@h1,/d", "empty host"),
        ("postgresql://u:SECRET@h1,%20h2/d", "host with blanks"),
        ("host='h1, h2' password=SECRET", "host with blanks"),
        ("postgresql://u:SECRET@h1..example/d", "host that cannot be a name"),
        ("postgresql://u:SECRET@%40abstract/d", "abstract Unix socket"),
        ("postgresql://u:SECRET@/d?host=h1,h2,h3&port=1,2", "2 ports for 3 hosts"),
        ("postgresql://u:SECRET@/d?host=h1:1&port=2", "both beside the hosts and in"),
        ("postgresql://u:SECRET@h/d?sslmode=disable&sslmode=require", "the parameter sslmode twice"),
        ("postgresql://u:SECRET%FF@h/d", "not UTF-8"),
        ("postgresql://u:SECRET\udcff@h/d", "not UTF-8"),
        ("postgresql://u:SECRET%00@h/d", "NUL"),
        ("host=h password=my SECRET", "libpq cannot read"),
        ("host=h password=SECRET sslmod=require", "libpq cannot read"),
        ("host=h1,h2 port=1,2,3 password=SECRET", "3 ports for 2 hosts"),
    ],
)
def test_a_url_that_cannot_be_meant_is_refused_at_the_start_with_words_and_without_the_password(
    url: str, words: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WrongSettingsError, match="AIGEN_DATABASE_URL is wrong: ") as refused:
        load(DatabaseSettings, database_url=url)
    with pytest.raises(UnsuitableDatabaseError) as unsuitable:
        check(url)

    for said in (str(refused.value), str(unsuitable.value)):
        assert words in said
        assert "SECRET" not in said
        assert "SE CRET" not in said


def test_a_long_url_is_read_quickly() -> None:
    began = time.process_time()
    for text in ("@" * 2000, ",:" * 2000, "?a=b&" * 1000, "h:1," * 1000):
        with suppress(ValueError):
            parse(f"postgresql://{text}")
    assert time.process_time() - began < 5


def test_hosts_of_the_environment_are_given_the_time_to_be_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGHOST", "h1,h2,h3")
    short = timedelta(seconds=2)
    arguments = connect_arguments("postgresql:///d", name="test", timeout=short, settings={})

    assert connecting_seconds(arguments, short) > 3 * int(arguments["connect_timeout"])


@pytest.mark.parametrize(
    ("place", "hosts"),
    [
        ("h1:5531,h2:5532/d", [("h1", "5531"), ("h2", "5532")]),
        ("/d?host=a:1&host=b:2", [("a", "1"), ("b", "2")]),
        ("h/d?options=-csearch_path=x", [("h", "5432")]),
    ],
)
async def test_everybody_who_connects_gets_the_same_parameters(
    place: str, hosts: list[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, Any]] = []

    def refused(conninfo: str = "", **arguments: Any) -> None:
        seen.append(arguments)
        raise psycopg.OperationalError("refused")

    async def refused_later(conninfo: str = "", **arguments: Any) -> None:
        refused(**arguments)

    monkeypatch.setattr(psycopg, "connect", refused)
    monkeypatch.setattr(psycopg.AsyncConnection, "connect", refused_later)
    url = f"postgresql://us%25er:p%25%40%2F@{place}"
    for connect in (check, migrate):
        with pytest.raises(StoreUnavailableError):
            connect(url)
    engine = open_engine(url, pool_size=1, name="test")
    with pytest.raises(Exception, match="refused"):
        await engine.connect()
    with suppress(TimeoutError):
        await asyncio.wait_for(listen(url, lambda _: None), 0.1)

    servers = Counter(tuple(call.get(name) for name in NAMES) for call in seen)
    assert {server[:3] for server in servers} == {("us%er", "p%@/", "d")}
    assert sorted(server[3:] for server in servers) == hosts
    assert set(servers.values()) == {4}
    assert all(("search_path=x" in call["options"]) == ("search_path" in place) for call in seen)
