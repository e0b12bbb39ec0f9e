"""The certificate with which a process serves TLS. It can be replaced; connections that are open keep theirs.

uvicorn makes the application and the TLS context separately in each process, so they meet in `SERVED`.
"""

import ssl
from collections.abc import Callable
from typing import Any


class ServedTls:
    """The TLS context of new connections."""

    def __init__(self) -> None:
        self._make: Callable[[], ssl.SSLContext] | None = None
        self._current: ssl.SSLContext | None = None

    def open(self, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
        """Returns the context to listen with. `make` reads the files."""
        context = make()
        context.sni_callback = self._choose
        if context.verify_mode is ssl.CERT_REQUIRED:
            context.num_tickets = 0  # who resumes a session of TLS 1.3 is not asked for a certificate again
        self._make, self._current = make, context
        return context

    def renew(self) -> None:
        """Reads the files again. Raises OSError if they cannot be used, or do not belong together."""
        if self._make is not None:
            self._current = self._make()

    def _choose(self, connection: ssl.SSLObject, _name: str | None, _context: ssl.SSLContext) -> None:
        """Chooses the context of each handshake. OpenSSL calls it also if the caller names no host."""
        assert self._current is not None  # noqa: S101 - `open` has set it
        connection.context = self._current


SERVED = ServedTls()


def served_context(_config: Any, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    """Returns the context to listen with, as uvicorn's `ssl_context_factory`."""
    return SERVED.open(make)
