"""The database's password, which can change while the process runs."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import structlog

from aigen_bridge.store.url import parse

C = TypeVar("C")
log = structlog.get_logger(__name__)


class Passwords:
    """The password of a URL, and the one before it until PostgreSQL has accepted the new one.

    So the file may change before the role does. Without a password in the URL, libpq takes it from elsewhere each time.
    """

    def __init__(self, url: str) -> None:
        self._known = [parse(url).get("password")]

    def replace(self, url: str) -> None:
        """Tries the URL's password first from now on."""
        new = parse(url).get("password")
        self._known = [new, *(password for password in self._known if password != new)]

    async def connect(self, connect: Callable[..., Awaitable[C]]) -> C:
        """Calls `connect` with the newest `password` that PostgreSQL accepts, or without one if the URL has none."""
        for password in self._known[:-1]:
            try:
                connection = await connect(password=password)
            except psycopg.OperationalError as error:
                if not _asked_for_a_password(error):
                    raise
                log.warning("store.password_refused", action="the one before is tried; change the role's, or the file")
            else:
                self._forget_after(password)
                return connection
        return await connect(**({"password": self._known[-1]} if self._known[-1] else {}))

    def _forget_after(self, password: str | None) -> None:
        if password in self._known:
            del self._known[self._known.index(password) + 1 :]


def _asked_for_a_password(error: psycopg.OperationalError) -> bool:
    """Returns whether the connection failed after PostgreSQL had asked for a password. libpq reports no SQLSTATE."""
    return error.pgconn is not None and bool(error.pgconn.used_password)
