"""The servers that a URL names: every address is tried within the deadline, the last one that was right first."""

import asyncio
import socket
from typing import Any

import psycopg
import pytest

from aigen_bridge.store.connection import TIMEOUT, Connector, connect_arguments
from aigen_bridge.store.hosts import Place, connecting_seconds, each_server

NAMES = {"one": ["10.0.0.1"], "two": ["fd00::1", "10.0.0.2"], "many": [f"10.0.1.{n}" for n in range(1, 5)]}


@pytest.fixture(autouse=True)
def _names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names without a name server."""

    async def found(_loop: Any, host: str, port: str, **_hints: Any) -> list[Any]:
        if host == "slow":
            await asyncio.Event().wait()
        if host not in NAMES:  # nobody looks up an address
            raise socket.gaierror("Name or service not known")
        return [(0, 0, 0, "", (address, int(port))) for address in NAMES[host]]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", found)


def arguments(place: str) -> dict[str, Any]:
    return connect_arguments(f"postgresql://u@{place}", name="test", timeout=TIMEOUT, settings={})


@pytest.mark.parametrize(
    ("place", "last", "addresses", "ports"),
    [
        ("10.0.0.1,10.0.0.2/db", ("10.0.0.2", "10.0.0.2", "5432"), "10.0.0.2,10.0.0.1", "5432,5432"),
        ("10.0.0.1:1,10.0.0.2/db", ("10.0.0.2", "10.0.0.2", "5432"), "10.0.0.2,10.0.0.1", "5432,1"),
        (
            "10.0.0.1,10.0.0.2:2/db?target_session_attrs=any",
            ("10.0.0.2", "10.0.0.2", "2"),
            "10.0.0.1,10.0.0.2",
            "5432,2",
        ),
        ("one,two:2/db", None, "10.0.0.1,fd00::1,10.0.0.2", "5432,2,2"),
        ("one,two/db", ("two", "fd00::1", "5432"), "fd00::1,10.0.0.2,10.0.0.1", "5432,5432,5432"),
        ("two/db", None, "fd00::1,10.0.0.2", "5432,5432"),
        ("two/db", ("two", "10.0.0.2", "5432"), "10.0.0.2,fd00::1", "5432,5432"),
        ("none,one/db", None, "10.0.0.1,", "5432,5432"),  # libpq says what is wrong with the other
        ("none/db", None, "", "5432"),
        ("slow,one/db?connect_timeout=1", None, "10.0.0.1,", "5432,5432"),
        ("[fe80::1%25eth0]/db", None, "fe80::1%eth0", "5432"),
        ("10.0.0.7,[::7]:2/db", None, "10.0.0.7,::7", "5432,2"),
        ("one,%2Frun%2Fpg/db", None, "10.0.0.1,", "5432,5432"),
    ],
)
async def test_every_address_of_every_host_is_tried_the_last_one_that_was_right_first(
    place: str, last: Place | None, addresses: str, ports: str
) -> None:
    found = await each_server(arguments(place), last)
    assert ",".join(server["hostaddr"] for server in found) == addresses
    assert ",".join(server["port"] for server in found) == ports
    assert all(server["host"] for server in found)


@pytest.mark.parametrize("place", ["one/db?hostaddr=10.0.0.9,10.0.0.8", "one,two/db?hostaddr=10.0.0.9", "/db"])
async def test_where_no_host_is_named_or_addresses_do_not_fit_libpq_decides(place: str) -> None:
    assert await each_server(arguments(place), None) == [{}]


@pytest.mark.parametrize(
    ("place", "servers"),
    [
        ("none/db?hostaddr=10.0.0.9", [("none", "10.0.0.9", "5432")]),
        ("/db?hostaddr=10.0.0.9,10.0.0.8&port=2", [("", "10.0.0.9", "2"), ("", "10.0.0.8", "2")]),
        ("/db?hostaddr=10.0.0.9,10.0.0.8&port=2,3", [("", "10.0.0.9", "2"), ("", "10.0.0.8", "3")]),
        ("one,two/db?hostaddr=10.0.0.9,10.0.0.8", [("one", "10.0.0.9", "5432"), ("two", "10.0.0.8", "5432")]),
    ],
)
async def test_given_addresses_are_not_looked_up(place: str, servers: list[Place]) -> None:
    found = await each_server(arguments(place), None)
    assert [(server["host"], server["hostaddr"], server["port"]) for server in found] == servers


@pytest.mark.parametrize(
    ("place", "attributes"),
    [("one/db", "any"), ("two/db", "primary"), ("two/db?target_session_attrs=any", "any"), ("one,one/db", "primary")],
)
async def test_of_several_addresses_the_primary_is_taken(place: str, attributes: str) -> None:
    """Otherwise a name that leads to primary and standby would lead to the standby again and again."""
    found = await each_server(arguments(place), None)
    assert {server["target_session_attrs"] for server in found} == {attributes}


async def test_a_load_balanced_url_begins_anywhere() -> None:
    asked = arguments("one,two/db?load_balance_hosts=random")
    first = {(await each_server(asked, None))[0]["hostaddr"] for _ in range(100)}
    assert first == {"10.0.0.1", "fd00::1", "10.0.0.2"}


@pytest.mark.parametrize("place", ["one/db", "two/db", "many/db", "two,two/db", "one,two,one/db"])
async def test_all_addresses_together_take_no_longer_than_connecting_may(place: str) -> None:
    asked = arguments(place)
    seconds = sum(int(server["connect_timeout"]) for server in await each_server(asked, None))
    assert seconds < connecting_seconds(asked, TIMEOUT) <= TIMEOUT.total_seconds()


async def test_a_call_that_was_too_late_for_the_last_server_is_followed_by_one_that_begins_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tried = []

    async def connect(_conninfo: str, *, hostaddr: str, **_more: Any) -> None:
        tried.append(hostaddr)
        if len(tried) % 3 == 0:
            await asyncio.Event().wait()
        raise psycopg.OperationalError("nobody answers")

    monkeypatch.setattr(psycopg.AsyncConnection, "connect", connect)
    connector = Connector(arguments("many/db"), {})
    for _ in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await connector()
    assert [address[-1] for address in tried] == ["1", "2", "3", "3", "4", "1"]
