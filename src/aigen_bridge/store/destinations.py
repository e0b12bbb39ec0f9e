"""How the systems that we call stand, for all workers together: the breaker, and what Odoo may get at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.destination import (
    DESTINATIONS,
    Answered,
    Condition,
    Destination,
    Gate,
    Hold,
    after,
    found_it_away,
    is_outage,
    proves_absence,
)
from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.incident import LASTING, LASTS, OUTAGES, Cause, Occurrence
from aigen_bridge.domain.outcome import Dead, Done, Held
from aigen_bridge.domain.request import Step
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.leases import DETAIL_MAX, Claim, Settlement
from aigen_bridge.store.readable import FAR_FUTURE
from aigen_bridge.store.wakeup import EVERYTHING, notify

RECENT_ATTEMPTS = 500
"""Attempts, of all steps, among which another entry's success is looked for."""
FULL_PAUSE = timedelta(seconds=0.5)
"""Other workers are calling it as often at once as it may be called: a look every so often, in case they die."""

_LOOK = text("SELECT FROM destinations WHERE name = :name AND (failures > 0 OR opened_at IS NOT NULL)")
_TAKE = text("""
    SELECT failures, opened_at IS NOT NULL AS is_open, now() - probe_at AS probe_overdue, allowance
    FROM destinations WHERE name = :name FOR UPDATE
""")
_DELIVERING = text("""
    SELECT count(*) FROM outbox WHERE step = 'deliver' AND lease_owner IS NOT NULL AND due_at > now()
""")
_PAUSE = text("""
    SELECT failures, opened_at IS NOT NULL AS is_open, extract(epoch FROM probe_at - now()) AS seconds, allowance, (
        SELECT count(*) FROM outbox WHERE step = 'deliver' AND lease_owner IS NOT NULL AND due_at > now()
    ) AS delivering
    FROM destinations WHERE name = :name
""")
_PROBING = text("UPDATE destinations SET probe_at = now() + make_interval(secs => :seconds) WHERE name = :name")
_WRITE = text("""
    UPDATE destinations SET
        failures = :failures,
        allowance = :allowance,
        opened_at = CASE WHEN :is_open THEN coalesce(opened_at, now()) END,
        probe_at = CASE WHEN :is_open THEN now() + make_interval(secs => :seconds) END,
        error_code = CASE WHEN :is_open THEN coalesce(:code, error_code) END,
        error_detail = CASE WHEN :is_open THEN coalesce(:detail, error_detail) END,
        error_since = CASE WHEN :is_open THEN
            CASE WHEN coalesce(:code, error_code) = error_code THEN error_since ELSE now() END END
    WHERE name = :name
    RETURNING error_since <= now() - make_interval(secs => :lasts) AS lasts
""")
_WORKED_SINCE = text(f"""
    SELECT EXISTS (
        SELECT FROM (SELECT step, outcome, finished_at FROM attempts ORDER BY id DESC LIMIT {RECENT_ATTEMPTS}) AS recent
        WHERE step = :step AND outcome = 'done' AND finished_at > (
            SELECT max(started_at) FROM attempts WHERE entry_id = :entry_id AND number = 1
        )
    )
""")  # noqa: S608 - a constant of this module
_IS_KNOWN = text("SELECT FROM incidents WHERE cause = :cause AND recovered_at IS NULL")
_HELD = text("""
    SELECT o.request_id, d.name, greatest(d.opened_at, o.created_at) AS since, o.created_at
    FROM unnest(CAST(:name AS text[]), CAST(:step AS text[])) AS called (name, step)
    JOIN destinations AS d ON d.name = called.name AND d.opened_at IS NOT NULL
    JOIN outbox AS o ON o.step = called.step AND o.state = 'pending'
    WHERE o.request_id = ANY (CAST(:request_id AS uuid[]))
""")
_STATES = text("""
    SELECT d.name, d.opened_at, d.probe_at, d.failures, d.allowance, d.error_code, d.error_detail,
        CASE WHEN d.opened_at IS NULL THEN 0 ELSE (
            SELECT count(*) FROM outbox AS o WHERE o.state = 'pending'
                AND o.step = CASE d.name WHEN 'n8n' THEN 'dispatch' ELSE 'deliver' END
        ) END AS held
    FROM destinations AS d ORDER BY d.name
""")


@dataclass(frozen=True, slots=True)
class Admission:
    """How many entries a worker may take now. `is_open`: the breaker is open, and what is admitted is a probe.

    `is_stale`: no worker has probed for a while, so that only a probe can tell whether it is still away.
    """

    limit: int
    is_open: bool = False
    is_stale: bool = False


@dataclass(frozen=True, slots=True)
class DestinationState:
    """How a destination stands. While its breaker is open, `held` entries wait and `probe_at` is the next try."""

    name: Destination
    opened_at: datetime | None
    probe_at: datetime | None
    failures: int
    allowance: float | None
    error_code: str | None
    error_detail: str | None
    held: int


class Destinations:
    """Reads the state of the destinations. `gates` say how long requests are held for one that is away."""

    def __init__(self, database: Database, gates: Mapping[Step, Gate] | None = None) -> None:
        self._database = database
        self._gates = gates or {}

    async def states(self) -> list[DestinationState]:
        """Every destination, by name."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_STATES)).all()
        return [DestinationState(Destination(row.name), *row[1:]) for row in rows]

    async def held(self, request_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        """Returns those of the requests that wait for a destination that is away."""
        holds = {DESTINATIONS[step].value: (step, gate.hold) for step, gate in self._gates.items()}
        called = {"name": list(holds), "step": [step.value for step, _ in holds.values()]}
        async with self._database.reading() as connection:
            rows = (await connection.execute(_HELD, called | {"request_id": list(request_ids)})).all()
        return {r.request_id: Hold(Destination(r.name), r.since, _end(r.created_at, holds[r.name][1])) for r in rows}


def _end(began_at: datetime, hold: timedelta) -> datetime:
    return min(began_at, FAR_FUTURE - hold) + hold


async def admit(connection: AsyncConnection, step: Step, gate: Gate, wanted: int) -> Admission:
    """How many entries of a step may be taken now. Where a limit has to be exact, others wait for this transaction."""
    if gate.at_once is None and not await _is_troubled(connection, step):
        return Admission(wanted)
    found = (await connection.execute(_TAKE, {"name": DESTINATIONS[step]})).one()
    if found.is_open:
        due, stale = found.probe_overdue >= timedelta(0), found.probe_overdue > 2 * gate.probe_every
        return Admission(1 if due else 0, is_open=True, is_stale=stale)
    if gate.at_once is None:
        return Admission(wanted)
    free = int(_condition(found, gate).allowance) - (await connection.scalar(_DELIVERING) or 0)
    return Admission(max(0, min(wanted, free)))


async def probing(connection: AsyncConnection, step: Step, gate: Gate) -> None:
    """A probe is on its way: no other before the next one is due."""
    await connection.execute(_PROBING, {"name": DESTINATIONS[step], "seconds": gate.probe_every.total_seconds()})


async def pause(connection: AsyncConnection, step: Step, gate: Gate) -> timedelta:
    """How long a worker that got nothing, though something is due, shall wait before it asks again."""
    row = (await connection.execute(_PAUSE, {"name": DESTINATIONS[step]})).one()
    if row.seconds is not None:
        return timedelta(seconds=max(0.0, float(row.seconds)))
    if gate.at_once is None or row.delivering < int(_condition(row, gate).allowance):
        return timedelta(0)
    return FULL_PAUSE


async def report(
    connection: AsyncConnection, step: Step, gate: Gate, settlements: Sequence[Settlement[Claim]], digest: timedelta
) -> list[Settlement[Claim]]:
    """Records what these tries say of their destination.

    A failed try is held, and does not count, when the breaker was open before, and when its entry found the
    destination away in all specified tries and is young enough to be held.
    """
    failed = [s for s in settlements if is_outage(s.outcome)]
    if gate.at_once is None and not failed and not await _is_troubled(connection, step):
        return list(settlements)
    before = _condition((await connection.execute(_TAKE, {"name": DESTINATIONS[step]})).one(), gate)
    tries = [await _answered(connection, s, settlements) for s in settlements]
    now = after(before, tries, gate)
    lasting = False
    if now != before or (now.is_open and failed):
        lasting = await _write(connection, step, gate, now, failed)
    causes = [OUTAGES[DESTINATIONS[step]]] if now.is_open and not before.is_open else []
    causes += await _lasting_cause(connection, step, failed) if lasting else []
    await incidents.note(connection, [_occurrence(cause, failed[0]) for cause in causes], digest)
    if before.is_open and not now.is_open:
        await incidents.recover(connection, *_causes(DESTINATIONS[step]))
        await notify(connection, EVERYTHING)
    return [
        _held(s) if before.is_open and s in failed else _held_alone(s, tried, gate)
        for s, tried in zip(settlements, tries, strict=True)
    ]


def _held_alone(settlement: Settlement[Claim], tried: Answered, gate: Gate) -> Settlement[Claim]:
    """Holds an entry that found the destination away by itself. If others got through, it waits for a while."""
    now = settlement.claim.claimed_at + settlement.took
    if not found_it_away(tried) or now - settlement.claim.began_at >= gate.hold:
        return settlement
    if proves_absence(tried):
        return _held(settlement)
    return _held(settlement, now + gate.probe_every) if isinstance(tried.outcome, Dead) else settlement


async def _answered(
    connection: AsyncConnection, settlement: Settlement[Claim], beside: Sequence[Settlement[Claim]]
) -> Answered:
    tried = Answered(settlement.outcome, settlement.took, settlement.claim.attempt)
    if not found_it_away(tried):
        return tried
    worked = any(isinstance(s.outcome, Done) for s in beside)
    if not worked:
        entry = {"step": settlement.claim.step.value, "entry_id": settlement.claim.entry_id}
        worked = bool(await connection.scalar(_WORKED_SINCE, entry))
    return replace(tried, others_worked=worked)


async def _lasting_cause(connection: AsyncConnection, step: Step, failed: Sequence[Settlement[Claim]]) -> list[Cause]:
    """Returns the incident of an error that has lasted, unless it is open already."""
    cause = LASTING.get((DESTINATIONS[step], _error(failed[0]).code)) if failed else None
    if cause is None or (await connection.execute(_IS_KNOWN, {"cause": cause.value})).first() is not None:
        return []
    return [cause]


def _causes(destination: Destination) -> list[Cause]:
    return [OUTAGES[destination], *(cause for (name, _), cause in LASTING.items() if name is destination)]


def _occurrence(cause: Cause, settlement: Settlement[Claim]) -> Occurrence:
    return Occurrence(cause, _error(settlement).detail, settlement.claim.request.request_id)


async def _is_troubled(connection: AsyncConnection, step: Step) -> bool:
    return (await connection.execute(_LOOK, {"name": DESTINATIONS[step]})).one_or_none() is not None


async def _write(
    connection: AsyncConnection, step: Step, gate: Gate, now: Condition, failed: Sequence[Settlement[Claim]]
) -> bool:
    """Writes the condition; returns whether the error has lasted for `LASTS`."""
    error = _error(failed[0]) if failed else None
    row = {
        "name": DESTINATIONS[step],
        "failures": now.failures,
        "allowance": now.allowance if gate.at_once else None,
        "is_open": now.is_open,
        "seconds": gate.probe_every.total_seconds(),
        "code": error.code if error else None,
        "detail": error.detail[:DETAIL_MAX] if error else None,
        "lasts": LASTS.total_seconds(),
    }
    return bool((await connection.execute(_WRITE, row)).scalar_one())


def _condition(row: Row[Any], gate: Gate) -> Condition:
    most = float(gate.at_once or 1)
    return Condition(row.failures, row.is_open, most if row.allowance is None else min(row.allowance, most))


def _error(settlement: Settlement[Claim]) -> StepError:
    if isinstance(settlement.outcome, Done):
        raise TypeError("a try that was done has no error")
    return settlement.outcome.error


def _held(settlement: Settlement[Claim], at: datetime | None = None) -> Settlement[Claim]:
    return replace(settlement, outcome=Held(_error(settlement), at))
