"""The servers that the database's URL names: their addresses, and the order and time in which they are tried."""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from itertools import chain
from random import shuffle
from typing import Any

SECONDS_MIN, SECONDS_MAX = 2, 5.0
"""Bounds of the connect timeout for one server. libpq raises anything below 2 s to 2 s."""
UNLIMITED = 86400
"""Seconds that stand for a connect timeout of 0 or less."""
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


def seconds_for_answer(arguments: Mapping[str, Any]) -> int:
    """Returns how long the first answer of a server may take once it is connected: as long as connecting."""
    seconds = int(arguments["connect_timeout"])
    return max(SECONDS_MIN, seconds) if seconds > 0 else UNLIMITED


def each_server_in_thread(arguments: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Returns what `each_server` does to callers that block their thread, whether an event loop runs in it or not."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, each_server(arguments, None)).result()


async def each_server(arguments: Mapping[str, Any], last: Place | None) -> list[dict[str, Any]]:
    """Returns the arguments for each address of each host: the place, `connect_timeout` and `target_session_attrs`.

    The addresses of one name share its time. Of several servers of which any may be the primary, and of several
    addresses of one host, the `last` one is tried first and those before it at the end, so an unresponsive one costs
    time only once. Names without an address come last: libpq says so. One empty dict if no host is named, or if hosts
    and addresses do not fit: libpq then says so, too.
    """
    hosts, addresses, ports = (_each(arguments, name) for name in ("host", "hostaddr", "port"))
    if hosts == addresses == [""] or len({len(hosts), len(addresses)}) > 1:
        return [{}]
    patience = seconds_for_answer(arguments) if len(hosts) > 1 else None
    named = zip(hosts, addresses, ports, strict=True)
    found = chain(*await asyncio.gather(*(_places(*each, patience) for each in named)))
    places = _in_turn(list(found), last, arguments)
    shared = _shared(arguments, len(places))
    return [{"host": host, "hostaddr": address, "port": port} | shared for host, address, port in places]


def _in_turn(places: list[Place], last: Place | None, arguments: Mapping[str, Any]) -> list[Place]:
    if arguments.get("load_balance_hosts") == "random":
        shuffle(places)
    elif number_of_hosts(arguments) == 1 or arguments.get("target_session_attrs", "any") != "any":
        start = places.index(last) if last in places else 0
        places = [*places[start:], *places[:start]]
    return sorted(places, key=_has_no_address)


def _shared(arguments: Mapping[str, Any], places: int) -> dict[str, str]:
    """Returns the arguments for each of so many places."""
    seconds, hosts = int(arguments["connect_timeout"]), number_of_hosts(arguments)
    if places > hosts and seconds > 0:  # libpq waits without end for 0
        seconds = max(SECONDS_MIN, seconds * hosts // places)
    wanted = arguments.get("target_session_attrs") or ("primary" if places > 1 else "any")
    return {"connect_timeout": str(seconds), "target_session_attrs": wanted}


def _each(arguments: Mapping[str, Any], name: str) -> list[str]:
    """Returns one value for each host. A port may stand for all."""
    values = str(arguments.get(name) or "").split(",")
    is_shared = values == [""] or name == "port"
    return values * (number_of_hosts(arguments) if is_shared and len(values) == 1 else 1)


async def _places(host: str, address: str, port: str, patience: float | None) -> list[Place]:
    """Returns the addresses of a host. One without an address if it has none, or none is found within `patience`."""
    port = port or USUAL_PORT
    if address or host.startswith("/"):
        return [(host, address, port)]
    if _is_address(host):
        return [(host, host, port)]
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(patience):
            found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except OSError:  # a TimeoutError is one, too; another host may have an address
        return [(host, "", port)]
    return [(host, str(address[0]), port) for *_, address in found]


def _is_address(host: str) -> bool:
    """Returns whether the host is an IP address, possibly with an IPv6 zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _has_no_address(place: Place) -> bool:
    host, address, _ = place
    return not (address or host.startswith("/"))
