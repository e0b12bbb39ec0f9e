"""Network access for fetching images: resolves a name, checks its addresses and connects, all in one place."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from ipaddress import ip_address
from typing import Self

import httpcore

from aigen_bridge.domain.address import IPAddress, IPNetwork, is_public
from aigen_bridge.domain.errors import PermanentError, TransientError

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""(name, port) -> the name's addresses, best first. Raises OSError."""

CONNECT_SECONDS = 5.0
"""Connect timeout for each address: an unreachable one must leave time for the next ones."""
UNKNOWN_NAME_TRIES = 3
"""Attempts before an unknown name becomes a permanent error. A new name may not have propagated through the DNS yet,
and a resolver that is starting reports the same error. A few cheap attempts can save paid work."""
_UNKNOWN_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


async def resolve(host: str, port: int) -> list[str]:
    """Resolves a name with the system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects only to public addresses and to addresses in `trusted_networks`.

    The check happens where the connection is opened, so it cannot be bypassed. The connection uses the checked address
    and does not resolve the name again, which prevents DNS rebinding. The caller adds TLS with the name.
    Raises `PermanentError`, `TransientError` and httpcore's errors.
    Each instance serves one connection and closes it when its context ends.
    """

    def __init__(
        self, resolver: Resolver, trusted_networks: tuple[IPNetwork, ...], network: httpcore.AsyncNetworkBackend
    ) -> None:
        self._resolver = resolver
        self._trusted_networks = trusted_networks
        self._network = network
        self._stream: httpcore.AsyncNetworkStream | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        # httpcore leaks a connection that is cancelled during its TLS handshake
        if self._stream is not None:
            await self._stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's signature
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connects to the first address of the host that accepts, provided that all of its addresses are permitted."""
        *others, last = await self._addresses(host, port)
        options = (port, timeout, local_address, socket_options)
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                self._stream = await self._network.connect_tcp(str(address), *options)
                return self._stream
        self._stream = await self._network.connect_tcp(str(last), *options)
        return self._stream

    async def _addresses(self, host: str, port: int) -> list[IPAddress]:
        """Returns the host's checked addresses, at least one."""
        addresses = [ip_address(text) for text in await self._resolved(host, port)]
        for address in addresses:
            if not is_public(address) and not any(address in network for network in self._trusted_networks):
                # One bad address is enough: a name that is both public and private is an attack or a mistake.
                raise PermanentError(
                    "image_address_refused",
                    f"The image's host {host} is at {address}, which is neither public nor in a trusted network.",
                )
        return addresses

    async def _resolved(self, host: str, port: int) -> Sequence[str]:
        try:
            ip_address(host)
        except ValueError:
            return await self._looked_up(host, port)
        return [host]

    async def _looked_up(self, host: str, port: int) -> Sequence[str]:
        try:
            found = await self._resolver(host, port)
        except OSError as error:
            if error.errno not in _UNKNOWN_NAME:
                raise TransientError("dns", f"The name {host} could not be resolved ({error}).") from error
            found = []
        if not found:
            detail = f"The name {host} of the image's host is not known."
            raise TransientError("dns_name_unknown", detail, tries=UNKNOWN_NAME_TRIES)
        return found
