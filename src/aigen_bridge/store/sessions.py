"""Sessions of the console. The table has the SHA-256 of each token, so a copy of the database opens no session."""

import hashlib
import secrets
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.session import LIFETIME, Role, Session
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import record
from aigen_bridge.store.rows import from_row

TOKEN_BYTES = 32
KEPT_FOR = "30 days"
"""The time for which ended sessions are kept."""
SEEN_EVERY = "1 minute"

_COLUMNS = "id, name, role, odoo, key_digest, created_at, seen_at, expires_at"
_IS_OPEN = "ended_at IS NULL AND expires_at > now()"
_IS_SEEN = "odoo IS NOT DISTINCT FROM coalesce(CAST(:odoo AS text), odoo)"
_OPEN = text(f"""
    INSERT INTO console_sessions (token_digest, name, role, odoo, key_digest, expires_at)
    VALUES (:token_digest, :name, :role, :odoo, :key_digest, now() + make_interval(secs => :seconds))
    RETURNING {_COLUMNS}
""")  # noqa: S608 - constants of this module
_PURGE = text(f"""
    DELETE FROM console_sessions WHERE id IN (
        SELECT id FROM console_sessions WHERE expires_at < now() - interval '{KEPT_FOR}' LIMIT 1000
    )
""")  # noqa: S608 - a constant of this module
_FIND = text(f"""
    SELECT {_COLUMNS}, seen_at < now() - interval '{SEEN_EVERY}' AS is_stale
    FROM console_sessions WHERE token_digest = :token_digest AND {_IS_OPEN}
""")  # noqa: S608 - constants of this module
_SEE = text("UPDATE console_sessions SET seen_at = now() WHERE id = :id")
_LIST = text(f"""
    SELECT {_COLUMNS} FROM console_sessions WHERE {_IS_OPEN} AND {_IS_SEEN} ORDER BY id DESC LIMIT 200
""")  # noqa: S608 - constants of this module
_END = text(f"""
    UPDATE console_sessions SET ended_at = now()
    WHERE id = :id AND {_IS_OPEN} AND {_IS_SEEN} RETURNING name
""")  # noqa: S608 - constants of this module


class Sessions:
    """The sessions in PostgreSQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def open(self, name: str, role: Role, *, odoo: str | None, key_digest: bytes | None, note: str) -> str:
        """Opens a session, records the sign-in with `note`, and returns the session's token."""
        token = secrets.token_urlsafe(TOKEN_BYTES)
        row = {"name": name, "role": role.value, "odoo": odoo, "key_digest": key_digest, "token_digest": digest(token)}
        async with self._database.transaction() as connection:
            await connection.execute(_PURGE)
            await connection.execute(_OPEN, row | {"seconds": LIFETIME.total_seconds()})
            await record(connection, OperatorAction(name, note, odoo), "sign-in", "console", None)
        return token

    async def find(self, token: str) -> Session | None:
        """Returns the session with this token, if it has not ended. Notes that it is in use, at most once a minute."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_FIND, {"token_digest": digest(token)})).one_or_none()
            if row is not None and row.is_stale:
                await connection.execute(_SEE, {"id": row.id})
        return None if row is None else _session(row)

    async def current(self, odoo: str | None) -> list[Session]:
        """Returns at most 200 sessions that have not ended, newest first. With `odoo`, only those of this Odoo."""
        async with self._database.reading() as connection:
            return [_session(row) for row in await connection.execute(_LIST, {"odoo": odoo})]

    async def close(self, number: int, action: OperatorAction) -> bool:
        """Ends the operator's own session. Returns False if it has ended."""
        async with self._database.transaction() as connection:
            return await _end(connection, number, action, "sign-out")

    async def revoke(self, number: int, action: OperatorAction) -> bool:
        """Ends somebody's session. Returns False if it has ended."""
        async with self._database.transaction() as connection:
            return await _end(connection, number, action, "revoke")

    async def refuse(self, name: str, note: str) -> None:
        """Records that somebody who is known was refused."""
        async with self._database.transaction() as connection:
            await record(connection, OperatorAction(name, note), "sign-in-refused", "console", None)


async def _end(connection: AsyncConnection, number: int, action: OperatorAction, name: str) -> bool:
    ended = (await connection.execute(_END, {"id": number, "odoo": action.odoo})).one_or_none()
    if ended is None:
        return False
    target = "console" if name == "sign-out" else f"session of {ended.name}"
    await record(connection, action, name, target, None)
    return True


def digest(token: str) -> bytes:
    """Returns the SHA-256 of a token."""
    return hashlib.sha256(token.encode(errors="replace")).digest()


def _session(row: Row[Any]) -> Session:
    return from_row(Session, row, role=Role(row.role))
