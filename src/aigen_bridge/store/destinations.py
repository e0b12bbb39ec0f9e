"""How the systems that we call stand, for all workers together: the breaker, and what Odoo may get at once."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.destination import DESTINATIONS, Answered, Condition, Destination, Gate, after, is_outage
from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.incident import OUTAGES, Occurrence
from aigen_bridge.domain.outcome import Done, Held
from aigen_bridge.domain.request import Step
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.leases import DETAIL_MAX, Claim, Settlement
from aigen_bridge.store.wakeup import EVERYTHING, notify

FULL_PAUSE = timedelta(seconds=0.5)
"""Other workers are calling it as often at once as it may be called: a look every so often, in case they die."""

_LOOK = text("SELECT FROM destinations WHERE name = :name AND (failures > 0 OR opened_at IS NOT NULL)")
_TAKE = text("""
    SELECT failures, opened_at IS NOT NULL AS is_open, probe_at <= now() AS probe_due, allowance
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
        error_detail = CASE WHEN :is_open THEN coalesce(:detail, error_detail) END
    WHERE name = :name
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
    """How many entries a worker may take now. `is_open`: the breaker is; what is admitted is a probe."""

    limit: int
    is_open: bool = False


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
    """Reads how they stand."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def states(self) -> list[DestinationState]:
        """Every destination, by name."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_STATES)).all()
        return [DestinationState(Destination(row.name), *row[1:]) for row in rows]


async def admit(connection: AsyncConnection, step: Step, gate: Gate, wanted: int) -> Admission:
    """How many entries of a step may be taken now. Where a limit has to be exact, others wait for this transaction."""
    if gate.at_once is None and not await _is_troubled(connection, step):
        return Admission(wanted)
    found = (await connection.execute(_TAKE, {"name": DESTINATIONS[step]})).one()
    if found.is_open:
        return Admission(1 if found.probe_due else 0, is_open=True)
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
    """Note what these tries say of their destination; while its breaker was open, those that failed do not count."""
    failed = [s for s in settlements if is_outage(s.outcome)]
    if gate.at_once is None and not failed and not await _is_troubled(connection, step):
        return list(settlements)
    before = _condition((await connection.execute(_TAKE, {"name": DESTINATIONS[step]})).one(), gate)
    now = after(before, [Answered(s.outcome, s.took) for s in settlements], gate)
    if now != before or (now.is_open and failed):
        await _write(connection, step, gate, now, failed)
    if now.is_open and not before.is_open:
        occurrence = Occurrence(
            OUTAGES[DESTINATIONS[step]], _error(failed[0]).detail, failed[0].claim.request.request_id
        )
        await incidents.note(connection, [occurrence], digest)
    if before.is_open and not now.is_open:
        await incidents.recover(connection, OUTAGES[DESTINATIONS[step]])
        await notify(connection, EVERYTHING)
    return [_held(s) if before.is_open and s in failed else s for s in settlements]


async def _is_troubled(connection: AsyncConnection, step: Step) -> bool:
    return (await connection.execute(_LOOK, {"name": DESTINATIONS[step]})).one_or_none() is not None


async def _write(
    connection: AsyncConnection, step: Step, gate: Gate, now: Condition, failed: Sequence[Settlement[Claim]]
) -> None:
    error = _error(failed[0]) if failed else None
    row = {
        "name": DESTINATIONS[step],
        "failures": now.failures,
        "allowance": now.allowance if gate.at_once else None,
        "is_open": now.is_open,
        "seconds": gate.probe_every.total_seconds(),
        "code": error.code if error else None,
        "detail": error.detail[:DETAIL_MAX] if error else None,
    }
    await connection.execute(_WRITE, row)


def _condition(row: Row[Any], gate: Gate) -> Condition:
    most = float(gate.at_once or 1)
    return Condition(row.failures, row.is_open, most if row.allowance is None else min(row.allowance, most))


def _error(settlement: Settlement[Claim]) -> StepError:
    if isinstance(settlement.outcome, Done):
        raise TypeError("a try that was done has no error")
    return settlement.outcome.error


def _held(settlement: Settlement[Claim]) -> Settlement[Claim]:
    return replace(settlement, outcome=Held(_error(settlement)))
