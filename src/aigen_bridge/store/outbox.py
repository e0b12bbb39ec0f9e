"""The outbox: what is owed for requests. Claimed, worked on, settled with what it means for the request."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.destination import Gate
from aigen_bridge.domain.errors import UnreadableRequestError
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.domain.outcome import Advance, Complete, Dead, Delivered, Done, Effect, Fail, Outcome
from aigen_bridge.domain.request import Change, FailedBy, Status, Step
from aigen_bridge.store import changes, destinations, incidents
from aigen_bridge.store.changes import Deadlines
from aigen_bridge.store.database import Database
from aigen_bridge.store.leases import (
    CLAIM,
    CLAIMED,
    Claim,
    Due,
    Leases,
    Settlement,
    claim_parameters,
    lease_fields,
    write,
)
from aigen_bridge.store.rows import COLUMNS, only_ids, to_request
from aigen_bridge.store.schema import images

_CLAIM = text(f"""
    {CLAIM}
    SELECT {CLAIMED}, {COLUMNS} FROM claimed AS c JOIN requests AS r ON r.request_id = c.request_id ORDER BY c.entry_id
""")  # noqa: S608 - a constant of ours

_DELIVERED = text("""
    UPDATE requests AS r SET delivered_at = now()
    FROM unnest(CAST(:request_id AS uuid[]), CAST(:version AS int[])) AS d (request_id, version)
    WHERE r.request_id = d.request_id AND r.version = d.version
""")


class Outbox(Leases):
    """The entries that belong to a request. `gates` say how much a destination gets, and when nothing."""

    def __init__(self, database: Database, deadlines: Deadlines, gates: Mapping[Step, Gate] | None = None) -> None:
        super().__init__(database)
        self._deadlines = deadlines
        self._gates = gates or {}

    async def claim(self, step: Step, *, limit: int, lease: timedelta, owner: str) -> list[Claim]:
        """Lease up to `limit` due entries of a step to `owner`, the longest due first, as its gate allows."""
        wanted = claim_parameters(step, limit, lease, owner)
        async with self._database.transaction(prepared=True) as connection:
            gate = self._gates.get(step)
            if gate is None:
                return await _claim(connection, step, wanted)
            admission = await destinations.admit(connection, step, gate, limit)
            if not admission.is_open:
                return await _claim(connection, step, wanted | {"limit": admission.limit})
            if not admission.limit:
                return []  # not before the next probe: that looks at all that is held
            if not admission.is_stale:
                old = wanted | {"older_than": gate.hold.total_seconds()}
                if given_up := await _claim(connection, step, old, held=True):
                    return given_up
            probe = await _claim(connection, step, wanted | {"limit": admission.limit})
            if probe:
                await destinations.probing(connection, step, gate)
            return probe

    async def next_due(self, step: Step) -> Due:
        """When there is something to claim; a destination that gets nothing now is not asked in a hurry."""
        due = await super().next_due(step)
        gate = self._gates.get(step)
        if gate is None or due.after is None or due.after > timedelta(0):
            return due
        async with self._database.reading() as connection:
            pause = await destinations.pause(connection, step, gate)
        return Due(pause, shut=pause > timedelta(0))

    async def settle(self, settlements: Sequence[Settlement[Claim]]) -> list[Outcome | None]:
        """Write how the claims ended, in one commit. None for a claim whose entry was no longer ours.

        A try that failed because its destination is out comes back as `Held`.
        """
        large = any(isinstance(_effect(s.outcome), Complete) for s in settlements)
        async with self._database.transaction(prepared=True, patient=large) as connection:
            # Requests before entries, as callbacks do: one order of locks, no deadlock.
            await changes.lock(connection, [s.claim.request.request_id for s in settlements])
            judged = await self._report(connection, settlements)
            ours = await write(connection, judged)
            await self._apply(connection, [s for s in judged if s.claim.key in ours])
        return [s.outcome if s.claim.key in ours else None for s in judged]

    async def _report(
        self, connection: AsyncConnection, settlements: Sequence[Settlement[Claim]]
    ) -> list[Settlement[Claim]]:
        judged = {s.claim.key: s for s in settlements}
        for step, gate in self._gates.items():
            concerned = [s for s in settlements if s.claim.step is step]
            if concerned:
                reported = await destinations.report(connection, step, gate, concerned, self._deadlines.digest)
                judged |= {s.claim.key: s for s in reported}
        return list(judged.values())

    async def _apply(self, connection: AsyncConnection, settled: Sequence[Settlement[Claim]]) -> None:
        effects = [(s.claim, effect) for s in settled if (effect := _effect(s.outcome))]
        moves = [_change(claim, effect) for claim, effect in effects if isinstance(effect, Advance | Complete | Fail)]
        moved = await changes.make(connection, moves, self._deadlines)
        for claim, effect in effects:
            if isinstance(effect, Complete) and claim.request.request_id in moved:
                row = {"request_id": claim.request.request_id, "content": effect.image.content}
                await connection.execute(images.insert(), row)
        delivered = [(c.request.request_id, e.version) for c, e in effects if isinstance(e, Delivered)]
        if delivered:
            ids, versions = zip(*delivered, strict=True)
            await connection.execute(_DELIVERED, {"request_id": list(ids), "version": list(versions)})
        await incidents.note(connection, _undelivered(settled), self._deadlines.digest)


async def _claim(
    connection: AsyncConnection, step: Step, wanted: Mapping[str, Any], *, held: bool = False
) -> list[Claim]:
    rows = (await connection.execute(_CLAIM, wanted)).all() if wanted["limit"] else ()
    return [_read(row, step, held=held) for row in rows]


def _read(row: Row[Any], step: Step, *, held: bool) -> Claim:
    """The claim. An entry whose request cannot be read is claimed, too, and the worker makes it a dead letter."""
    lease = lease_fields(row, step)
    try:
        return Claim(**lease, request=to_request(row), held_too_long=held)
    except UnreadableRequestError as error:
        return Claim(**lease | {"unreadable": error.detail}, request=only_ids(row))


def _undelivered(settled: Sequence[Settlement[Claim]]) -> list[Occurrence]:
    return [
        Occurrence(Cause.DELIVERY_FAILED, s.outcome.error.detail, s.claim.request.request_id)
        for s in settled
        if s.claim.step is Step.DELIVER and isinstance(s.outcome, Dead)
    ]


def _effect(outcome: Outcome) -> Effect:
    return outcome.effect if isinstance(outcome, Done | Dead) else None


def _change(claim: Claim, effect: Advance | Complete | Fail) -> Change:
    request_id = claim.request.request_id
    if isinstance(effect, Complete):
        received, image = frozenset({Status.RECEIVED}), effect.image.described
        return Change(request_id=request_id, before=received, after=Status.COMPLETED, image=image)
    if isinstance(effect, Advance):
        return Change(request_id=request_id, before=frozenset({Status.QUEUED}), after=effect.to)
    return Change(
        request_id=request_id,
        before=frozenset({Status.QUEUED, Status.RECEIVED}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=effect.code,
        error_message=effect.message,
    )
