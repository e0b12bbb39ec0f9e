"""How connections to PostgreSQL are asked for, whatever the URL looks like."""

import socket
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest

from aigen_bridge.domain.errors import UnsuitableDatabaseError
from aigen_bridge.store.connection import (
    TIMEOUT,
    connect_arguments,
    secrets_hidden,
    session,
)
from aigen_bridge.store.cut import Cut
from aigen_bridge.store.hosts import connecting_seconds


def arguments(place: str, timeout: timedelta = TIMEOUT) -> dict[str, Any]:
    url = f"postgresql+psycopg://u:p%40s@{place}"
    return connect_arguments(url, name="test", timeout=timeout, settings=session(timeout))


@pytest.mark.parametrize(
    ("place", "hosts", "ports"),
    [
        ("h1/db", "h1", None),
        ("h1,h2/db?target_session_attrs=read-write", "h1,h2", None),
        ("h1,h2:5433/db", "h1,h2", ",5433"),  # as libpq reads it: an empty port is the usual one
        ("h1:5433,h2/db", "h1,h2", "5433,"),
        ("h1:5432,h2:5433/db", "h1,h2", "5432,5433"),
        ("/db?host=h1,h2&port=5432,5433", "h1,h2", "5432,5433"),
        ("/db?host=h1:5432&host=h2:5433", "h1,h2", "5432,5433"),
        ("/db?host=/run/postgresql", "/run/postgresql", None),
    ],
)
def test_every_way_to_name_the_hosts_is_understood(place: str, hosts: str, ports: str | None) -> None:
    found = arguments(place)
    port = found.get("port")
    assert (found["host"], None if port is None else str(port)) == (hosts, ports)
    assert (found["user"], found["password"], found["dbname"]) == ("u", "p@s", "db")
    psycopg.conninfo.make_conninfo(**found)


def test_the_link_is_watched_within_the_timeout_and_the_url_may_say_otherwise() -> None:
    usual, given = arguments("h1/db"), arguments("h1/db?tcp_user_timeout=5000&keepalives_idle=60&connect_timeout=9")
    assert (usual["tcp_user_timeout"], usual["keepalives_idle"], usual["connect_timeout"]) == ("10000", "5", "5")
    assert (given["tcp_user_timeout"], given["keepalives_idle"], given["connect_timeout"]) == ("5000", "60", "9")


def test_every_host_is_tried_within_the_timeout() -> None:
    assert int(arguments("h1,h2/db")["connect_timeout"]) * 2 < 10
    assert int(arguments("h1,h2,h3/db")["connect_timeout"]) * 3 < 10


@pytest.mark.parametrize(
    ("place", "attributes"),
    [
        ("h1,h2/db", "primary"),
        ("h1,h2/db?target_session_attrs=any", "any"),
        ("h1,h2/db?target_session_attrs=read-write", "read-write"),
        ("h1/db", None),
    ],
)
def test_of_several_hosts_the_primary_is_taken_unless_the_url_says_otherwise(
    place: str, attributes: str | None
) -> None:
    assert arguments(place).get("target_session_attrs") == attributes


def test_options_of_the_url_stay_except_what_our_statements_rely_on() -> None:
    options = arguments("h1/db?options=-csearch_path%3Dbridge%20-cDateStyle%3DGerman")["options"]
    assert "search_path=bridge" in options
    assert options.index("DateStyle=ISO") > options.index("DateStyle=German")
    assert "default_transaction_read_only" not in options


def test_a_short_timeout_still_reaches_every_host() -> None:
    short = timedelta(seconds=1)
    found = arguments("h1,h2,h3/db", short)
    assert connecting_seconds(found, short) > int(found["connect_timeout"]) * 3
    assert connecting_seconds(arguments("h1/db"), TIMEOUT) == TIMEOUT.total_seconds()


def test_a_url_that_cannot_be_read_is_refused_without_showing_it() -> None:
    with pytest.raises(UnsuitableDatabaseError) as raised:
        connect_arguments("postgresql://u:p%FFSECRET@h1:1,h2:2/db", name="test", timeout=TIMEOUT, settings={})
    assert "AIGEN_DATABASE_URL" in str(raised.value)
    assert "SECRET" not in f"{raised.value}{raised.value.advice}{raised.value.__cause__}"
    assert raised.value.__suppress_context__


def test_a_deadline_that_is_over_before_there_is_a_connection_cuts_it_all_the_same() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        cut = Cut()
        cut.make()
        cut.watch(SimpleNamespace(closed=False, fileno=ours.fileno))
        theirs.settimeout(5)
        assert theirs.recv(1) == b""


def test_an_error_of_connecting_shows_no_password() -> None:
    with pytest.raises(psycopg.OperationalError, match=r"^no \*\*\* here$"), secrets_hidden({"password": "secret"}):
        raise psycopg.OperationalError("no secret here")
