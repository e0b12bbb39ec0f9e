"""Operator actions on dead letters and requests. Each action is recorded in its own transaction.

A request that is sent again is settled before, because what was known of it is lost then, and after, which reserves
its estimate again.
"""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypedDict
from uuid import UUID

from sqlalchemy import Row, func, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain import generation
from aigen_bridge.domain.dead_letter import (
    EXECUTION_FAILED,
    N8N_REPORT,
    Handled,
    OperatorAction,
    ReplayLease,
    refuse_discarding,
    repeated_step,
    replayed,
)
from aigen_bridge.domain.errors import ContradictionError, ReplayLeaseLostError, UnknownRequestError
from aigen_bridge.domain.image import CheckedImage, ImageRef
from aigen_bridge.domain.money import NO_RATES, Rates
from aigen_bridge.domain.queues import step_of
from aigen_bridge.domain.request import ImageRequest, Status, Step, Transition, VersionedTransition
from aigen_bridge.store import generation_rows, incidents, transitions
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import ImageStore
from aigen_bridge.store.ledger import settle_locked
from aigen_bridge.store.rows import to_request
from aigen_bridge.store.schema import operations, outbox, quarantine, requests
from aigen_bridge.store.transitions import Deadlines, LockedRequests
from aigen_bridge.store.wakeup import CHANNEL

_ENQUEUE_AGAIN = text(f"""
    INSERT INTO outbox (request_id, step, created_at, due_at)
    SELECT :request_id, :step, at, at FROM CAST(now() + make_interval(secs => :delay) AS timestamptz) AS due (at)
    ON CONFLICT DO NOTHING
    RETURNING pg_notify('{CHANNEL}', step)
""")  # noqa: S608 - a constant of this package

_ALERT_AGAIN = text(f"""
    INSERT INTO outbox (incident_id, step, created_at, due_at)
    SELECT incident_id, 'alert', at, at
    FROM outbox, CAST(now() + make_interval(secs => :delay) AS timestamptz) AS due (at) WHERE id = :id
    ON CONFLICT DO NOTHING
    RETURNING pg_notify('{CHANNEL}', 'alert')
""")  # noqa: S608 - a constant of this package

_COUNT_REPLAYED = text("""
    UPDATE replay_jobs SET replayed = replayed + 1 WHERE id = :job AND fence = :fence AND finished_at IS NULL
""")


class Change(TypedDict):
    """The fields that an action changed: JSON objects, as `record` takes them."""

    before: Mapping[str, Any] | None
    after: Mapping[str, Any] | None


_ENQUEUED_AGAIN = Change(before={"entry": "dead"}, after={"entry": "pending"})


class Operations:
    """The actions in PostgreSQL. They return False or None if the dead letter is not open, or not any more.

    `rates` are the exchange rates that entries of the ledger record.
    """

    def __init__(self, database: Database, deadlines: Deadlines, images: ImageStore, rates: Rates = NO_RATES) -> None:
        self._database = database
        self._deadlines = deadlines
        self._images = images
        self._rates = rates

    async def replay_entry(
        self, number: int, action: OperatorAction, *, delay: timedelta = timedelta(0)
    ) -> Handled | None:
        """Enqueues a dead entry again, due after `delay`, with all its attempts.

        Raises `ContradictionError` when its request has moved on.
        """
        async with self._database.transaction() as connection:
            found = await self._end(connection, number, "superseded")
            if found is None:
                return None
            step, locked = found
            if step is Step.ALERT:
                await connection.execute(_ALERT_AGAIN, {"id": number, "delay": delay.total_seconds()})
                await record(connection, action, "replay", f"entry-{number}", None, **_ENQUEUED_AGAIN)
                return Handled(None)
            request_id = locked.request_ids[0]
            request = await _read(connection, request_id)
            await self._enqueue_again(connection, locked, replayed(step, request, action, delay), delay, step)
            again = await _read(connection, request_id)
            await record(connection, action, "replay", f"entry-{number}", request_id, **_moved(request, again))
            return Handled(request_id, again.status)

    async def discard_entry(self, number: int, action: OperatorAction) -> Handled | None:
        """Closes a dead entry for good."""
        async with self._database.transaction() as connection:
            found = await self._end(connection, number, "cancelled")
            if found is None:
                return None
            step, locked = found
            request_id = next(iter(locked.request_ids), None)
            if step is Step.MARK and request_id:
                refuse_discarding(await _read(connection, request_id))
            change = Change(before={"state": "dead"}, after={"state": "discarded"})
            await record(connection, action, "discard", f"entry-{number}", request_id, **change)
            return Handled(request_id)

    async def send_again(
        self, number: int, request_id: UUID, action: OperatorAction, *, delay: timedelta = timedelta(0)
    ) -> ImageRequest | None:
        """Sends the request of a failed execution to N8N again, and closes N8N's report of the failure.

        Raises `ContradictionError` when the request has moved on.
        """
        async with self._database.transaction() as connection:
            locked = await transitions.lock(connection, [request_id])
            if not await _close(connection, number, "replayed"):
                return None
            request = await _read(connection, request_id)
            await self._enqueue_again(connection, locked, replayed(Step.DISPATCH, request, action, delay), delay)
            again = await _read(connection, request_id)
            await record(connection, action, "replay", f"callback-{number}", request_id, **_moved(request, again))
            return again

    async def replay_request(self, request_id: UUID, action: OperatorAction) -> ImageRequest:
        """Sends a request again that the bridge failed, or enqueues a dead delivery or mark again. Returns the request.

        Its dead letters are closed. Raises `UnknownRequestError`, and `NotReplayableError` if neither is the case: of
        several calls at once, one sends the request.
        """
        async with self._database.transaction() as connection:
            locked = await transitions.lock(connection, [request_id])
            request = await _read(connection, request_id)
            step = None if request.is_replayable else await _end_dead_entry(connection, request_id)
            if step is None:
                now = (await connection.execute(select(func.now()))).scalar_one()
                step = repeated_step(request, now, self._deadlines.image_url)
                await _close_failed_executions(connection, request_id)
            transition = replayed(step, request, action, timedelta(0))
            await self._enqueue_again(connection, locked, transition, timedelta(0), step)
            again = await _read(connection, request_id)
            await record(connection, action, "replay", "request", request_id, **_moved(request, again))
            return again

    async def close_callback(self, number: int, state: str, action: OperatorAction) -> bool:
        """Marks a quarantined callback `replayed` or `discarded`."""
        name = "replay" if state == "replayed" else "discard"
        async with self._database.transaction() as connection:
            row = await _close(connection, number, state)
            if row is not None:
                change = Change(before={"state": "open"}, after={"state": state})
                await record(connection, action, name, f"callback-{number}", row.request_id, **change)
        return row is not None

    async def complete(self, transition: VersionedTransition, image: CheckedImage, action: OperatorAction) -> bool:
        """Completes a request by hand with this image; False when others moved the request since it was read."""
        ref = ImageRef(transition.request_id, image.described.sha256)
        content = await self._images.place(ref, image.content)
        async with self._database.transaction(patient=True) as connection:
            # The lock comes before the image is sent to PostgreSQL: no other writer can intervene, so it is sent once.
            return await self._apply(connection, "complete", transition, action, content)

    async def cancel(self, transition: Transition, action: OperatorAction) -> bool:
        """Cancels a request for an operator. Returns False if the request has ended."""
        async with self._database.transaction() as connection:
            return await self._apply(connection, "cancel", transition, action)

    async def _apply(
        self,
        connection: AsyncConnection,
        name: str,
        transition: Transition,
        action: OperatorAction,
        content: bytes | None = None,
    ) -> bool:
        """Applies the transition of an action and records it. Returns False if the transition does not apply."""
        locked = await transitions.lock(connection, [transition.request_id])
        status = select(requests.c.status).where(requests.c.request_id == transition.request_id)
        change = Change(before={"status": await connection.scalar(status)}, after={"status": transition.after.value})
        moved = await locked.apply([transition], self._deadlines, content)
        if moved:
            await record(connection, action, name, "request", transition.request_id, **change)
        return bool(moved)

    async def _end(self, connection: AsyncConnection, number: int, state: str) -> tuple[Step, LockedRequests] | None:
        """Locks the request of a dead entry, if any, and ends the entry. Returns None if the entry is not dead."""
        dead = (outbox.c.id == number, outbox.c.state == "dead")
        row = (await connection.execute(select(outbox.c.request_id, outbox.c.step).where(*dead))).one_or_none()
        if row is None:
            return None
        locked = await transitions.lock(connection, [row.request_id] if row.request_id else [])
        ended = await connection.execute(outbox.update().where(*dead).values(state=state))
        return (step_of(row.step), locked) if ended.rowcount else None

    async def _enqueue_again(
        self,
        connection: AsyncConnection,
        locked: LockedRequests,
        transition: Transition | None,
        delay: timedelta,
        step: Step = Step.DELIVER,
    ) -> None:
        """Applies the transition of a replay. If there is none, only enqueues the step again."""
        if transition is None:
            await locked.touch()
            row = {"request_id": locked.request_ids[0], "step": step.value, "delay": delay.total_seconds()}
            await connection.execute(_ENQUEUE_AGAIN, row)
        else:
            await self._reopen(connection, locked, transition)

    async def _reopen(self, connection: AsyncConnection, locked: LockedRequests, transition: Transition) -> None:
        """Applies the transition of a replay, and settles the request before and after it."""
        before = await settle_locked(connection, [transition.request_id], self._rates)
        if not await locked.apply([transition], self._deadlines):
            raise ContradictionError("request_moved_on", f"Request {transition.request_id} has moved on.")
        if transition.after is Status.QUEUED:
            found = await generation_rows.read(connection, [transition.request_id])
            kept = {request_id: generation.replay(each.generation) for request_id, each in found.items()}
            await generation_rows.write(connection, found, kept)
        await settle_locked(connection, [transition.request_id], self._rates)
        await incidents.record(connection, before.absurd, self._deadlines.alert_window)


async def _close(connection: AsyncConnection, number: int, state: str) -> Row[tuple[UUID | None]] | None:
    """Closes an open callback. Returns its row, or None if it is not open."""
    statement = (
        quarantine.update()
        .where(quarantine.c.id == number, quarantine.c.state == "open")
        .values(state=state, handled_at=func.now())
        .returning(quarantine.c.request_id)
    )
    row: Row[tuple[UUID | None]] | None = (await connection.execute(statement)).one_or_none()
    return row


async def _close_failed_executions(connection: AsyncConnection, request_id: UUID) -> None:
    """Closes N8N's open reports of failed executions of a request that is sent again."""
    await connection.execute(
        quarantine.update()
        .where(
            quarantine.c.request_id == request_id,
            quarantine.c.state == "open",
            quarantine.c.version == N8N_REPORT,
            quarantine.c.error_code == EXECUTION_FAILED,
        )
        .values(state="replayed", handled_at=func.now())
    )


async def _end_dead_entry(connection: AsyncConnection, request_id: UUID) -> Step | None:
    """Ends a request's dead delivery, otherwise its dead mark. Returns its step; None if there was none."""
    for step in (Step.DELIVER, Step.MARK):
        is_of_step = func.split_part(outbox.c.step, ":", 1) == step
        is_dead = (outbox.c.request_id == request_id, is_of_step, outbox.c.state == "dead")
        if (await connection.execute(outbox.update().where(*is_dead).values(state="superseded"))).rowcount:
            return step
    return None


async def _read(connection: AsyncConnection, request_id: UUID) -> ImageRequest:
    row = (await connection.execute(select(requests).where(requests.c.request_id == request_id))).one_or_none()
    if row is None:
        raise UnknownRequestError(request_id)
    return to_request(row)


def changed(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> Change:
    """Returns the fields that differ, as they were and as they are. None: there was nothing, or is nothing any more."""
    old, new = before or {}, after or {}
    names = [name for name in {**old, **new} if old.get(name) != new.get(name)]
    return Change(
        before=None if before is None else {name: old.get(name) for name in names},
        after=None if after is None else {name: new.get(name) for name in names},
    )


def _moved(before: ImageRequest, after: ImageRequest) -> Change:
    """Returns the change of a request that is sent again. A delivery that is enqueued again leaves its status."""
    if before.status is after.status:
        return _ENQUEUED_AGAIN
    return Change(before={"status": before.status.value}, after={"status": after.status.value})


async def record(
    connection: AsyncConnection,
    action: OperatorAction,
    name: str,
    target: str,
    request_id: UUID | None,
    *,
    before: Mapping[str, Any] | None = None,
    after: Mapping[str, Any] | None = None,
) -> None:
    """Records an operator action in its transaction, which a background replay counts if it acts.

    `before` and `after` are the fields that changed, without prompts and secrets. It concerns the Odoo of the request,
    otherwise that of `action`.
    """
    if action.lease is not None:
        await _count_replayed(connection, action.lease)
    of_request = select(requests.c.odoo).where(requests.c.request_id == request_id).scalar_subquery()
    row: dict[str, Any] = {"client": action.by, "action": name, "target": target, "request_id": request_id}
    row |= {"note": action.note, "before": before, "after": after}
    row["odoo"] = func.coalesce(of_request, action.odoo)
    await connection.execute(operations.insert().values(row))


async def _count_replayed(connection: AsyncConnection, lease: ReplayLease) -> None:
    """Counts a letter of a background replay. Raises `ReplayLeaseLostError`, so that the letter is not replayed."""
    if not (await connection.execute(_COUNT_REPLAYED, {"job": lease.job, "fence": lease.fence})).rowcount:
        raise ReplayLeaseLostError(lease.job)
