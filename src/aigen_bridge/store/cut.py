"""Cuts a connection at its deadline."""

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import psycopg

Connection = psycopg.Connection[Any] | psycopg.AsyncConnection[Any]


class Cut:
    """Shuts down a connection at its deadline. Whatever waits on it fails at once, even if the network is dead.

    Cancelling is not enough: psycopg then asks the server to cancel the statement, and waits for its answer.
    """

    def __init__(self) -> None:
        self.made = False
        self._connection: Connection | None = None

    def watch(self, connection: Connection) -> None:
        """Registers the connection to shut down at the deadline. Shuts it down at once if the deadline has passed."""
        self._connection = connection
        if self.made:  # the deadline passed before there was a connection
            self.make()

    def make(self) -> None:
        """Shuts the connection down now."""
        self.made = True
        if self._connection and not self._connection.closed:
            with suppress(OSError), socket.socket(fileno=os.dup(self._connection.fileno())) as duplicate:
                duplicate.shutdown(socket.SHUT_RDWR)


@contextmanager
def cut_after(seconds: float) -> Iterator[Cut]:
    """Shuts down the connection that the block watches, unless the block ends within `seconds`."""
    cut = Cut()
    timer = asyncio.get_running_loop().call_later(seconds, cut.make)
    try:
        yield cut
    finally:
        timer.cancel()


@contextmanager
def cut_in_thread_after(seconds: float, *connections: Connection) -> Iterator[list[Cut]]:
    """Shuts these connections down unless the block, which blocks its thread, ends within `seconds`."""
    cuts = [Cut() for _ in connections]
    for cut, connection in zip(cuts, connections, strict=True):
        cut.watch(connection)

    def cut_all() -> None:
        for cut in cuts:
            cut.make()

    timer = threading.Timer(seconds, cut_all)
    timer.daemon = True
    timer.start()
    try:
        yield cuts
    finally:
        timer.cancel()
        timer.join()  # before anybody closes the connections, whose numbers others may get
