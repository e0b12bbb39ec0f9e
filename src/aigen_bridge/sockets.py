"""Binds a socket before its server starts, to pick a free port and know it at once."""

import errno
import socket

EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - the addresses that mean all addresses
"""The address of this machine at which it is reached when it listens on all addresses."""


def bind(host: str, port: int) -> socket.socket:
    """Binds a socket, not yet listening. `port` 0 picks a free one. `::` takes calls over IPv4, too.

    Raises `OSError`, which names the host and the port and says what to do.
    """
    try:
        found = socket.getaddrinfo(unbracketed(host) or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, *_, address = min(found, key=lambda one: one[0] != socket.AF_INET)  # localhost is 127.0.0.1
        return _bound(family, address)
    except UnicodeError:
        raise OSError(f"Cannot listen on {host!r}, which is not a host name.") from None
    except OSError as error:
        raise OSError(_explained(error, host, port)) from error


def _bound(family: int, address: tuple[object, ...]) -> socket.socket:
    sock = socket.socket(
        family, socket.SOCK_STREAM, socket.IPPROTO_TCP
    )  # without the protocol, asyncio does not set TCP_NODELAY
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        sock.bind(address)
    except OSError:
        sock.close()
        raise
    return sock


def _explained(error: OSError, host: str, port: int) -> str:
    where = f"Cannot listen on {authority(host, port)}"
    if error.errno == errno.EADDRINUSE:
        return f"{where}: another program does. Stop it, or choose another port."
    if error.errno == errno.EACCES:
        return f"{where}: this user may not. Choose a port above 1023."
    return f"{where} ({error.strerror or error}). Choose an address of this machine, such as 127.0.0.1, ::1 or 0.0.0.0."


def unbracketed(host: str) -> str:
    """Returns a host without the brackets that an IPv6 address has in a URL."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def authority(host: str, port: int) -> str:
    """Returns host and port as in a URL."""
    name = unbracketed(host)
    return f"[{name}]:{port}" if ":" in name else f"{name}:{port}"


def local_url(host: str, port: int) -> str:
    """Returns the URL at which this machine reaches its own server on this address."""
    return f"http://{authority(EVERYWHERE.get(unbracketed(host), host), port)}"
