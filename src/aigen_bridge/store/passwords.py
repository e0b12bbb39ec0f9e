"""The database's password, which can change while the process runs."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import psycopg
import structlog

C = TypeVar("C")
log = structlog.get_logger(__name__)


class Passwords:
    """The password of a role, and those before it until PostgreSQL accepts it. So the role may change after the file.

    None leaves the password to libpq, which takes it from its own file, for example.
    """

    def __init__(self, password: str | None) -> None:
        self._known = [password]

    def replace(self, password: str | None) -> None:
        """Tries this password first from now on."""
        self._known = [password, *(known for known in self._known if known != password)]

    async def connect(self, connect: Callable[[str | None], Awaitable[C]]) -> C:
        """Calls `connect` with the newest password that PostgreSQL accepts."""
        *newer, oldest = self._known
        for password in newer:
            try:
                connection = await connect(password)
            except psycopg.OperationalError as error:
                if not _asked_for_a_password(error):
                    raise
            else:
                self._forget_before(password)
                return connection
        connection = await connect(oldest)
        if newer:
            log.warning("store.password_refused", action="the one before is used; change the role's, or the file")
        return connection

    def _forget_before(self, accepted: str | None) -> None:
        if accepted in self._known:
            del self._known[self._known.index(accepted) + 1 :]


def _asked_for_a_password(error: psycopg.OperationalError) -> bool:
    """Returns whether the connection failed after PostgreSQL had asked for a password. libpq reports no SQLSTATE."""
    return error.pgconn is not None and bool(error.pgconn.used_password)
