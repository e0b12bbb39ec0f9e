"""The database's password, which can change while the process runs."""

from collections.abc import Awaitable, Callable, Sequence
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
        """Calls `connect` with the newest password that PostgreSQL accepts.

        Other refusals may follow an accepted password, such as by the role's connection limit, so the error names
        all of them.
        """
        *newer, oldest = self._known
        errors: list[psycopg.OperationalError] = []
        for password in newer:
            try:
                connection = await connect(password)
            except psycopg.OperationalError as error:
                errors.append(error)
                if not _asked_for_a_password(error):
                    raise _together(errors) from None
            else:
                self._forget_before(password)
                return connection
        try:
            connection = await connect(oldest)
        except psycopg.OperationalError as error:
            raise _together([*errors, error]) from None
        if newer:
            log.warning("store.password_refused", action="the one before is used; change the role's, or the file")
        return connection

    def _forget_before(self, accepted: str | None) -> None:
        if accepted in self._known:
            del self._known[self._known.index(accepted) + 1 :]


def _together(errors: Sequence[psycopg.OperationalError]) -> psycopg.OperationalError:
    """Returns one error for those of several passwords, the newest first, of the last one's type."""
    messages, last = dict.fromkeys(map(str, errors)), errors[-1]
    return type(last)("; with the password before: ".join(messages)) if len(messages) > 1 else last


def _asked_for_a_password(error: psycopg.OperationalError) -> bool:
    """Returns whether the connection failed after PostgreSQL had asked for a password. libpq reports no SQLSTATE."""
    return error.pgconn is not None and bool(error.pgconn.used_password)
