"""The servers that the database's URL names: their addresses, and the order and time in which they are tried."""

import asyncio
import socket
from collections.abc import Mapping
from datetime import timedelta
from itertools import chain
from random import shuffle
from typing import Any

SECONDS_MIN, SECONDS_MAX = 2, 5.0
"""Bounds of the connect timeout for one server. libpq raises anything below 2 s to 2 s."""
USUAL_PORT = "5432"

Place = tuple[str, str, str]
"""Host, address (empty for a Unix socket) and port of one server."""


def number_of_hosts(arguments: Mapping[str, Any]) -> int:
    """Returns how many hosts the arguments name; 1 if it is left to libpq's default."""
    return len(str(arguments.get("host") or arguments.get("hostaddr") or "").split(","))


def seconds_for_one(timeout: timedelta, hosts: int) -> int:
    """Returns the connect timeout with which so many hosts are tried within the timeout."""
    return max(SECONDS_MIN, int(min(SECONDS_MAX, timeout.total_seconds() / (hosts + 1))))


def connecting_seconds(arguments: Mapping[str, Any], timeout: timedelta) -> float:
    """Returns how long connecting may take: the timeout, or longer if trying every host takes longer."""
    return max(timeout.total_seconds(), int(arguments["connect_timeout"]) * number_of_hosts(arguments) + 1.0)


async def each_server(arguments: Mapping[str, Any], last: Place | None) -> list[dict[str, Any]]:
    """Returns the arguments `host`, `hostaddr`, `port` and `connect_timeout` for each address of each host.

    The addresses of one name share its time. Of several servers of which any may be the primary, and of several
    addresses of one host, the `last` one is tried first and those before it at the end, so an unresponsive one costs
    time only once. One empty dict if no host is named or no address was found, or if hosts and addresses do not fit:
    libpq then says so.
    """
    hosts, addresses, ports = (_each(arguments, name) for name in ("host", "hostaddr", "port"))
    if hosts == addresses == [""] or len({len(hosts), len(addresses)}) > 1:
        return [{}]
    named = zip(hosts, addresses, ports, strict=True)
    places = list(chain(*await asyncio.gather(*(_places(host, address, port) for host, address, port in named))))
    if arguments.get("load_balance_hosts") == "random":
        shuffle(places)
    elif len(hosts) == 1 or arguments.get("target_session_attrs", "any") != "any":
        start = places.index(last) if last in places else 0
        places = [*places[start:], *places[:start]]
    seconds = int(arguments["connect_timeout"])
    if len(places) > len(hosts) and seconds > 0:  # libpq waits without end for 0
        seconds = max(SECONDS_MIN, seconds * len(hosts) // len(places))
    shared = {"connect_timeout": str(seconds)}
    return [{"host": host, "hostaddr": address, "port": port} | shared for host, address, port in places] or [{}]


def _each(arguments: Mapping[str, Any], name: str) -> list[str]:
    """Returns one value for each host. A port may stand for all."""
    values = str(arguments.get(name) or "").split(",")
    is_shared = values == [""] or name == "port"
    return values * (number_of_hosts(arguments) if is_shared and len(values) == 1 else 1)


async def _places(host: str, address: str, port: str) -> list[Place]:
    port = port or USUAL_PORT
    if address or host.startswith(("/", "@")):
        return [(host, address, port)]
    try:
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP
        )
    except OSError:  # another host may have an address
        return []
    return [(host, str(address[0]), port) for *_, address in found]
