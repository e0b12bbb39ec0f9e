"""The network as the fetcher of images sees it: names are resolved, checked and connected to in one place."""

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
"""(name, port) -> its addresses, best first. Raises OSError."""

CONNECT_SECONDS = 5.0
"""For each address: a dead one must not eat the time of those that follow."""
UNKNOWN_NAME_TRIES = 3
"""A name that does not exist passes for transient at first: it was handed out a moment ago and may be on its way
through the DNS, and a resolver that is starting says the same. Paid work is worth a few cheap tries."""
_UNKNOWN_NAME = frozenset({socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)})


async def resolve(host: str, port: int) -> list[str]:
    """The system's resolver."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [str(sockaddr[0]) for *_, sockaddr in found]


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to public addresses and those in `trusted_networks`, to nothing else.

    It stands where the connection is opened, so there is no way around it and nothing between check and use: what
    is connected to is the address that was checked, not the name again (DNS rebinding). TLS is put on top by the
    caller, with the name. Raises `PermanentError` and `TransientError` of ours, and httpcore's errors.
    One for each connection, which leaving the context closes.
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
        # httpcore forgets a connection that is cancelled in the middle of its TLS handshake
        if self._stream is not None:
            await self._stream.aclose()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ASYNC109 - httpcore's shape
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect to the first address of the host that answers, if all of them may be reached."""
        *others, last = await self._addresses(host, port)
        options = (port, timeout, local_address, socket_options)
        for address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                self._stream = await self._network.connect_tcp(str(address), *options)
                return self._stream
        self._stream = await self._network.connect_tcp(str(last), *options)
        return self._stream

    async def _addresses(self, host: str, port: int) -> list[IPAddress]:
        """Where the host is; never empty."""
        addresses = [ip_address(text) for text in await self._resolved(host, port)]
        for address in addresses:
            if not is_public(address) and not any(address in network for network in self._trusted_networks):
                # One is enough: a name that is public and private at once is an attack or a mistake.
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
