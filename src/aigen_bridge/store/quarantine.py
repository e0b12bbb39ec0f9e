"""Callbacks that could not be used, kept whole: nothing authenticated is ever dropped."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.store import incidents
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.schema import quarantine

FROM_N8N = "n8n"
"""The version of what came by N8N's last resort instead of by a version of the callback."""
UNDELIVERED, EXECUTION_FAILED = "n8n_undelivered", "n8n_execution_failed"
"""Why it came that way: a result that can be replayed, or only the report that an execution failed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCallback:
    """A callback as it came: `payload` is the event, `image` what came beside it, `headers` hold no secret."""

    client: str
    version: str
    request_id: UUID | None
    error_code: str
    error_detail: str
    headers: Mapping[str, str]
    payload: bytes
    image: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedCallback(RefusedCallback):
    """A callback in quarantine. `times_seen` counts the same callback coming again."""

    id: int
    state: str
    times_seen: int
    created_at: datetime
    seen_at: datetime


class Quarantine:
    """The quarantine in PostgreSQL."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def keep(self, refused: RefusedCallback) -> int:
        """Keep a callback; the same one again is counted, not kept twice. Returns its number."""
        async with self._database.transaction(patient=True) as connection:
            number = await keep(connection, refused)
            await incidents.note(connection, [occurrence(refused, number)], self._deadlines.digest)
            return number

    async def get(self, number: int) -> QuarantinedCallback | None:
        """The callback with this number, or None."""
        async with self._database.reading(patient=True) as connection:
            row = (await connection.execute(select(quarantine).where(quarantine.c.id == number))).one_or_none()
        return _callback(row) if row else None


async def keep(connection: AsyncConnection, refused: RefusedCallback, state: str = "open") -> int:
    """Keep a callback in the caller's transaction; `state` other than `open` if no person has to see to it."""
    row = {name: getattr(refused, name) for name in RefusedCallback.__slots__}
    row["headers"] = dict(refused.headers)
    row["fingerprint"] = _fingerprint(refused)
    row |= {"state": state, "handled_at": None if state == "open" else func.now()}
    statement = insert(quarantine).values(row)
    statement = statement.on_conflict_do_update(
        index_elements=["fingerprint"],
        index_where=text("state = 'open'"),
        set_={"times_seen": quarantine.c.times_seen + 1, "seen_at": func.now()},
    )
    return int((await connection.execute(statement.returning(quarantine.c.id))).scalar_one())


def occurrence(refused: RefusedCallback, number: int) -> Occurrence:
    """What people are told of it."""
    detail = f"callback-{number} from {refused.client}: {refused.error_detail}"
    cause = Cause.WORKFLOW_FAILED if refused.version == FROM_N8N else Cause.CALLBACK_QUARANTINED
    return Occurrence(cause, detail, refused.request_id)


def _fingerprint(refused: RefusedCallback) -> bytes:
    kind = f"{refused.client} {refused.version} {refused.error_code}"
    if refused.version == FROM_N8N:  # a reset N8N numbers its executions anew: the same words, about another request
        kind += f" {refused.request_id}"
    digest = hashlib.sha256(f"{kind}\n".encode())
    for part in (refused.payload, refused.image or b""):
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()


def _callback(row: Row[Any]) -> QuarantinedCallback:
    names = [*RefusedCallback.__slots__, *QuarantinedCallback.__slots__]
    return QuarantinedCallback(**{name: getattr(row, name) for name in names})
