"""Checks `X-Odoo-Database`: a copy of an Odoo database must not act in the name of the original.

The addon sends `<uuid>; <name>` with every call, the name percent-encoded. A copy that Odoo itself makes gets another
uuid and another name. A raw copy under the same name cannot be distinguished from the original.
"""

import re
import time
from collections.abc import Awaitable, Callable, Mapping
from urllib.parse import unquote

from fastapi import Request

from aigen_bridge import metrics
from aigen_bridge.api.errors import WrongDatabaseError
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.delivery import DATABASE_UUID
from aigen_bridge.store.fresh import Fresh

HEADER = "X-Odoo-Database"
ALLOWED = "the uuid and the percent-encoded name of one database, such as 9b2f1b0e-2d64-4c0e-8a39-6d1f0e4b7c55; odoo"
FRESH_SECONDS = 5.0
"""The time for which known uuids are reused."""

PATTERN = rf"^{DATABASE_UUID}; (?:[A-Za-z0-9._~-]|%[0-9A-Fa-f]{{2}})+$"
"""The form that the addon sends. Other characters of a name and blanks around the semicolon are accepted, too."""
_FORM = re.compile(rf"({DATABASE_UUID})[ \t]*;[ \t]*((?:[^\s;%]|%[0-9A-Fa-f]{{2}})+)")


class KnownDatabases:
    """The uuid of each Odoo's database, as far as Odoo has told it.

    `read` reads them from the store, once for all calls that wait. A call waits for it at most `patience` seconds.
    """

    def __init__(self, read: Callable[[], Awaitable[Mapping[str, str]]], *, patience: float) -> None:
        self._read = read
        self._shared = Fresh(self._read_now, fresh=0, patience=patience)
        self._known: Mapping[str, str] = {}
        self._read_at = float("-inf")

    async def is_other(self, odoo: str, uuid: str) -> bool:
        """Returns whether the database of this Odoo has another uuid. Raises `StoreUnavailableError`.

        A uuid that differs is compared with what is stored now, because an operator may have just confirmed it.
        """
        asked_at = time.monotonic()
        await self._refresh(asked_at - FRESH_SECONDS)
        if self._differs(odoo, uuid):
            await self._refresh(asked_at)
        return self._differs(odoo, uuid)

    def _differs(self, odoo: str, uuid: str) -> bool:
        return self._known.get(odoo, uuid).lower() != uuid.lower()

    async def close(self) -> None:
        """Cancels the running query."""
        await self._shared.close()

    async def _refresh(self, earliest: float) -> None:
        """Reads the uuids, unless they were read after `earliest`. A query that began before that does not count."""
        while self._read_at <= earliest:
            await self._shared.get()

    async def _read_now(self) -> None:
        began_at = time.monotonic()
        self._known, self._read_at = await self._read(), began_at


async def check_database(request: Request, *, client: str, odoo: str) -> None:
    """Raises `WrongDatabaseError` if the call comes from another database than that of the client's Odoo.

    Without the header, which an older addon does not send, nothing is checked. Raises `InvalidMessageError` if it is
    malformed, and `StoreUnavailableError`.
    """
    if not (given := request.headers.getlist(HEADER)):
        return
    uuid, name = _parsed(", ".join(given))
    found = f"The call comes from Odoo database {name[:100]!r}"
    if name != request.app.state.parts.settings.all_odoos[odoo].database:
        raise _refusal(f"{found}, but client {client!r} speaks for another one (Odoo {odoo!r}).")
    if await request.app.state.databases.is_other(odoo, uuid):
        raise _refusal(f"{found}, but client {client!r} speaks for another one of this name (Odoo {odoo!r}).")


def _parsed(value: str) -> tuple[str, str]:
    try:
        if parts := _FORM.fullmatch(value.strip()):
            return parts[1], unquote(parts[2], errors="strict")
    except UnicodeDecodeError:
        pass
    error = FieldError(field=HEADER, sent=value[:100], allowed=ALLOWED, message=f"must be {ALLOWED}")
    raise InvalidMessageError("The call", [error])


def _refusal(detail: str) -> WrongDatabaseError:
    metrics.AUTHENTICATION_FAILURES.labels("wrong_database").inc()
    return WrongDatabaseError("wrong_database", detail)
