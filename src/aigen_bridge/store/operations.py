"""What people do about dead letters. Each deed is one transaction, and its record is part of it."""

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import Change, ImageRequest, Status, Step
from aigen_bridge.store import changes
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.rows import to_request
from aigen_bridge.store.schema import operations, outbox, quarantine, requests
from aigen_bridge.store.wakeup import CHANNEL

_DELIVER_AGAIN = text(f"""
    INSERT INTO outbox (request_id, step, created_at, due_at)
    SELECT :request_id, 'deliver', at, at FROM CAST(now() + make_interval(secs => :delay) AS timestamptz) AS due (at)
    ON CONFLICT DO NOTHING
    RETURNING pg_notify('{CHANNEL}', 'deliver')
""")  # noqa: S608 - a constant of ours


_TELL_AGAIN = text(f"""
    INSERT INTO outbox (incident_id, step, created_at, due_at)
    SELECT incident_id, 'alert', at, at
    FROM outbox, CAST(now() + make_interval(secs => :delay) AS timestamptz) AS due (at) WHERE id = :id
    ON CONFLICT DO NOTHING
    RETURNING pg_notify('{CHANNEL}', 'alert')
""")  # noqa: S608 - a constant of ours


@dataclass(frozen=True, slots=True)
class Deed:
    """Who does it, and why (a discard needs a reason)."""

    by: str
    note: str | None = None


@dataclass(frozen=True, slots=True)
class Handled:
    """It is done, for the request with this id; an alert has none. `status` is how a replayed one stands now."""

    request_id: UUID | None
    status: Status | None = None


class Operations:
    """The deeds, in PostgreSQL. False or None: the dead letter was not open (any more)."""

    def __init__(self, database: Database, deadlines: Deadlines) -> None:
        self._database = database
        self._deadlines = deadlines

    async def replay_entry(self, number: int, deed: Deed, *, delay: timedelta = timedelta(0)) -> Handled | None:
        """Owe again what an entry owed, due after `delay`, with all its tries."""
        async with self._database.transaction() as connection:
            found = await self._take(connection, number, "superseded")
            if found is None:
                return None
            step, request_id = found
            status = None
            if request_id is None:
                await connection.execute(_TELL_AGAIN, {"id": number, "delay": delay.total_seconds()})
            else:
                await self._owe_again(connection, step, await _read(connection, request_id), deed, delay)
                status = (await _read(connection, request_id)).status
            await record(connection, deed, "replay", f"entry-{number}", request_id)
            return Handled(request_id, status)

    async def discard_entry(self, number: int, deed: Deed) -> Handled | None:
        """Give an entry up for good."""
        async with self._database.transaction() as connection:
            found = await self._take(connection, number, "cancelled")
            if found is None:
                return None
            await record(connection, deed, "discard", f"entry-{number}", found[1])
            return Handled(found[1])

    async def send_again(
        self, number: int, request_id: UUID, deed: Deed, *, delay: timedelta = timedelta(0)
    ) -> ImageRequest | None:
        """Send the request of a failed execution again, and close N8N's report of it. None: it was not open."""
        async with self._database.transaction() as connection:
            await changes.lock(connection, [request_id])
            if not await _close(connection, number, "replayed"):
                return None
            await self._queue_again(connection, request_id, deed, delay)
            await record(connection, deed, "replay", f"callback-{number}", request_id)
            return await _read(connection, request_id)

    async def _queue_again(self, connection: AsyncConnection, request_id: UUID, deed: Deed, delay: timedelta) -> None:
        change = Change(
            request_id=request_id,
            before=frozenset({Status.FAILED}),
            after=Status.QUEUED,
            note=f"replayed by {deed.by}",
            delay=delay,
        )
        if not await changes.make(connection, [change], self._deadlines):
            raise ContradictionError(
                "request_moved_on", f"Request {request_id} has not failed at the bridge; there is nothing to replay."
            )

    async def close_callback(self, number: int, state: str, deed: Deed) -> bool:
        """Mark a quarantined callback `replayed` or `discarded`."""
        action = "replay" if state == "replayed" else "discard"
        async with self._database.transaction() as connection:
            row = await _close(connection, number, state)
            if row is not None:
                await record(connection, deed, action, f"callback-{number}", row.request_id)
        return row is not None

    async def complete(self, change: Change, image: CheckedImage, deed: Deed) -> bool:
        """Complete a request by hand, with this image; False when it has moved on since it was read."""
        async with self._database.transaction(patient=True) as connection:
            # Locked first: a replayed delivery leaves the version as it is, and the move has to see its entry.
            await changes.lock(connection, [change.request_id])
            moved = await changes.make(connection, [change], self._deadlines, image.content)
            if moved:
                await record(connection, deed, "complete", "request", change.request_id)
        return bool(moved)

    async def _take(self, connection: AsyncConnection, number: int, state: str) -> tuple[Step, UUID | None] | None:
        """End the dead entry with this number, its request held first. None: another operator handled it."""
        dead = (outbox.c.id == number, outbox.c.state == "dead")
        row = (await connection.execute(select(outbox.c.request_id, outbox.c.step).where(*dead))).one_or_none()
        if row is None:
            return None
        await changes.lock(connection, [row.request_id] if row.request_id else [])
        ended = await connection.execute(outbox.update().where(*dead).values(state=state))
        return (Step(row.step), row.request_id) if ended.rowcount else None

    async def _owe_again(
        self, connection: AsyncConnection, step: Step, request: ImageRequest, deed: Deed, delay: timedelta
    ) -> None:
        if step is Step.DELIVER:
            entry = {"request_id": request.request_id, "delay": delay.total_seconds()}
            await connection.execute(_DELIVER_AGAIN, entry)
            return
        after = Status.QUEUED if step is Step.DISPATCH else Status.RECEIVED
        change = Change(
            request_id=request.request_id,
            before=frozenset({Status.FAILED}),
            after=after,
            awaited=replace(request.awaited, expires_at=None) if request.awaited else None,
            note=f"replayed by {deed.by}",
            delay=delay,
        )
        if not await changes.make(connection, [change], self._deadlines):
            raise ContradictionError(
                "request_moved_on", f"Request {request.request_id} is {request.status}; there is nothing to replay."
            )


async def _close(connection: AsyncConnection, number: int, state: str) -> Row[tuple[UUID | None]] | None:
    """Close an open callback; its row, or None when it was not open."""
    statement = (
        quarantine.update()
        .where(quarantine.c.id == number, quarantine.c.state == "open")
        .values(state=state, handled_at=func.now())
        .returning(quarantine.c.request_id)
    )
    row: Row[tuple[UUID | None]] | None = (await connection.execute(statement)).one_or_none()
    return row


async def _read(connection: AsyncConnection, request_id: UUID) -> ImageRequest:
    return to_request((await connection.execute(select(requests).where(requests.c.request_id == request_id))).one())


async def record(connection: AsyncConnection, deed: Deed, action: str, target: str, request_id: UUID | None) -> None:
    """Keep who did what; in the transaction of the deed."""
    row: dict[str, Any] = {"client": deed.by, "action": action, "target": target, "request_id": request_id}
    await connection.execute(operations.insert(), row | {"note": deed.note})
