"""Ports for programs that cannot pick one themselves, or that start again at the same port."""

import socket
from contextlib import suppress
from random import Random


def free_port() -> int:
    """Returns a port that is not in use, and below those that the system gives to outgoing connections."""
    while True:
        with suppress(OSError), socket.create_server(("127.0.0.1", Random().randrange(10_000, 32_000))) as sock:
            return int(sock.getsockname()[1])
