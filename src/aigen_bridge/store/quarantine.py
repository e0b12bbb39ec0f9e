"""The quarantine: stores callbacks that could not be used, complete. No authenticated callback is dropped."""

import hashlib

from sqlalchemy import func, select, text
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import N8N_REPORT, QuarantinedCallback, RefusedCallback
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.schema import quarantine
from aigen_bridge.store.transitions import Deadlines


class Quarantine:
    """The quarantine in PostgreSQL."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def keep(self, refused: RefusedCallback) -> int:
        """Stores a callback and returns its number. A repeated callback only increments a counter."""
        async with self._database.transaction(patient=True) as connection:
            number = await keep(connection, refused)
            await incidents.record(connection, [occurrence(refused, number)], self._deadlines.alert_window)
            return number

    async def get(self, number: int) -> QuarantinedCallback | None:
        """Returns the callback with this number, or None."""
        async with self._database.reading(patient=True) as connection:
            row = (await connection.execute(select(quarantine).where(quarantine.c.id == number))).one_or_none()
        return from_row(QuarantinedCallback, row) if row else None


async def keep(connection: AsyncConnection, refused: RefusedCallback, state: str = "open") -> int:
    """Stores a callback in the caller's transaction. `state` is other than `open` if no operator has to handle it."""
    row = {
        "client": refused.client,
        "version": refused.version,
        "request_id": refused.request_id,
        "error_code": refused.error_code,
        "error_detail": refused.error_detail,
        "headers": dict(refused.headers),
        "payload": refused.payload,
        "image": refused.image,
        "fingerprint": _fingerprint(refused),
        "state": state,
        "handled_at": None if state == "open" else func.now(),
    }
    statement = insert(quarantine).values(row)
    statement = statement.on_conflict_do_update(
        index_elements=["fingerprint"],
        index_where=text("state = 'open'"),
        set_={"times_seen": quarantine.c.times_seen + 1, "seen_at": func.now()},
    )
    return int((await connection.execute(statement.returning(quarantine.c.id))).scalar_one())


def occurrence(refused: RefusedCallback, number: int) -> Occurrence:
    """Returns the occurrence that operators are notified of."""
    detail = f"callback-{number} from {refused.client}: {refused.error_detail}"
    cause = Cause.WORKFLOW_FAILED if refused.version == N8N_REPORT else Cause.CALLBACK_QUARANTINED
    return Occurrence(cause, detail, refused.request_id)


def _fingerprint(refused: RefusedCallback) -> bytes:
    kind = f"{refused.client} {refused.version} {refused.error_code}"
    if refused.version == N8N_REPORT:  # after a reset, N8N reuses execution ids: the same text may mean another request
        kind += f" {refused.request_id}"
    digest = hashlib.sha256(f"{kind}\n".encode())
    for part in (refused.payload, refused.image or b""):
        digest.update(hashlib.sha256(part).digest())
    return digest.digest()
