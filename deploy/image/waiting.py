"""Waiting with a limit, and what else every part of the proof needs."""
# ruff: noqa: INP001 - a folder of scripts

import socket
import time
from collections.abc import Callable

PATIENCE = 60
"""Seconds to wait for anything."""


class ProofFailedError(Exception):
    """Something is not as it should be."""


def until(met: Callable[[], bool], what: str) -> None:
    """Return once it is met. Raises `ProofFailedError` when it is not met in time."""
    deadline = time.monotonic() + PATIENCE
    while not met():
        if time.monotonic() > deadline:
            raise ProofFailedError(f"after {PATIENCE} s it is still not true that {what}")
        time.sleep(0.05)


def seconds(act: Callable[[], object]) -> float:
    """How long it took."""
    started = time.monotonic()
    act()
    return time.monotonic() - started


def free_port() -> int:
    """A port on loopback that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])
