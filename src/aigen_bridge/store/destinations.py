"""The breakers of the destinations, which all workers share: admission, concurrency limits and held entries."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.destination import (
    LASTS,
    AttemptResult,
    BreakerConfig,
    BreakerState,
    Destination,
    Hold,
    found_it_away,
    is_outage,
    next_state,
    proves_absence,
    with_breaker,
)
from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.incident import Cause, Occurrence, incident_key
from aigen_bridge.domain.outbox import Claim, Dead, Done, Held, Settlement
from aigen_bridge.domain.queues import PER_ODOO
from aigen_bridge.domain.request import Step
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.leases import DETAIL_MAX
from aigen_bridge.store.pauses import paused_time
from aigen_bridge.store.readable import FAR_FUTURE
from aigen_bridge.store.rows import from_row
from aigen_bridge.store.wakeup import EVERYTHING, notify

RECENT_ATTEMPTS = 500
"""The number of recent attempts, of all steps, that are searched for the success of another entry."""
FULL_PAUSE = timedelta(seconds=0.5)
"""The poll interval of a worker while others use up the concurrency limit. It polls because they may die."""
PAUSED_WAIT = timedelta(seconds=2)
"""The poll interval of a worker while its destination is paused. A notification wakes it sooner, if it gets any."""
HELD_MAX = 10_000
"""Held entries are counted up to this number."""

REGISTRY = "unnest(CAST(:destination AS text[]), CAST(:queue AS text[])) AS registry (destination, queue)"
"""SQL for the queues of the destinations with a breaker. Its parameters are those of `registry_columns`."""

_REGISTER = text("INSERT INTO destinations (name) VALUES (:name) ON CONFLICT DO NOTHING")
_NEEDS_CARE = text("""
    SELECT FROM destinations
    WHERE name = :name AND (failures > 0 OR opened_at IS NOT NULL OR paused_at IS NOT NULL OR concurrency IS NOT NULL)
""")
_LOCK = text("""
    SELECT failures, opened_at IS NOT NULL AS is_open, now() - probe_at AS probe_overdue,
        allowance, concurrency, paused_at IS NOT NULL AS is_paused, paused_at, paused_by,
        pause_reason
    FROM destinations WHERE name = :name FOR UPDATE
""")
_WAIT = text("""
    SELECT failures, opened_at IS NOT NULL AS is_open, extract(epoch FROM probe_at - now()) AS seconds,
        allowance, concurrency, paused_at IS NOT NULL AS is_paused
    FROM destinations WHERE name = :name
""")
_IS_IN_FLIGHT = "state = 'pending' AND lease_owner IS NOT NULL AND due_at > now()"
# The partial indexes on leased deliveries need the literals.
_IN_FLIGHT = {
    step.value: text(f"SELECT count(*) FROM outbox WHERE step = '{step}' AND {_IS_IN_FLIGHT}")  # noqa: S608 - values of an enum
    for step in Step
}
_IN_FLIGHT_ELSEWHERE = {
    step: text(f"SELECT count(*) FROM outbox WHERE step LIKE '{step}:%' AND step = :queue AND {_IS_IN_FLIGHT}")  # noqa: S608 - values of an enum
    for step in PER_ODOO
}
PROBED_WITHIN = "15 seconds"
"""An outage counts until this long after its next probe was due: without probes, nobody knows whether it lasts."""
OUTAGE_SECONDS = f"""
    extract(epoch FROM greatest(
        least(now(), d.probe_at + interval '{PROBED_WITHIN}', d.paused_at) - d.opened_at, interval '0'))
"""
"""SQL: the seconds for which `destinations AS d` has been out, without those of the pause that lasts."""
PAUSED_SECONDS = "extract(epoch FROM greatest(now() - d.paused_at, interval '0'))"
"""SQL: the seconds for which `destinations AS d` has been paused."""
_RECORD_PROBE = text("UPDATE destinations SET probe_at = now() + make_interval(secs => :seconds) WHERE name = :name")
_WRITE = text(f"""
    UPDATE destinations AS d SET
        out_seconds = d.out_seconds + CASE WHEN :is_open THEN 0 ELSE {OUTAGE_SECONDS} END,
        failures = :failures,
        allowance = :concurrency_limit,
        opened_at = CASE WHEN :is_open THEN coalesce(opened_at, now()) END,
        probe_at = CASE WHEN :is_open THEN now() + make_interval(secs => :seconds) END,
        error_code = CASE WHEN :is_open THEN coalesce(:code, error_code) END,
        error_detail = CASE WHEN :is_open THEN coalesce(:detail, error_detail) END,
        error_since = CASE WHEN :is_open THEN
            CASE WHEN coalesce(:code, error_code) = error_code THEN error_since ELSE now() END END
    WHERE name = :name
    RETURNING error_since <= now() - make_interval(secs => :lasts) AS lasts
""")  # noqa: S608 - a constant of this module
_WORKED_SINCE = text(f"""
    SELECT EXISTS (
        SELECT FROM (
            SELECT entry_id, step, outcome, finished_at FROM attempts ORDER BY id DESC LIMIT {RECENT_ATTEMPTS}
        ) AS recent
        WHERE step = :step AND outcome = 'done' AND finished_at > (
            SELECT max(started_at) FROM attempts WHERE entry_id = :entry_id AND number = 1
        ) AND EXISTS (SELECT FROM outbox AS o WHERE o.id = recent.entry_id AND o.step = ANY (CAST(:queues AS text[])))
    )
""")  # noqa: S608 - a constant of this module
_IS_KNOWN = text("SELECT FROM incidents WHERE cause = :cause AND recovered_at IS NULL")
_HELD = text(f"""
    SELECT o.request_id, d.name, greatest(least(d.opened_at, d.paused_at), o.created_at) AS since,
        o.created_at + {paused_time("d.name", "o.created_at")} AS began_at, d.paused_at IS NOT NULL AS is_paused
    FROM {REGISTRY}
    JOIN destinations AS d ON d.name = registry.destination AND (d.opened_at IS NOT NULL OR d.paused_at IS NOT NULL)
    JOIN outbox AS o ON o.step = registry.queue AND o.state = 'pending'
    WHERE o.request_id = ANY (CAST(:request_id AS uuid[]))
""")  # noqa: S608 - a constant of this module
_STATES = text(f"""
    SELECT registry.destination, d.opened_at, d.probe_at, coalesce(d.failures, 0) AS failures,
        d.allowance AS concurrency_limit, d.error_code, d.error_detail, d.paused_at, d.paused_by, d.pause_reason,
        CASE WHEN d.opened_at IS NULL AND d.paused_at IS NULL THEN 0 ELSE (
            SELECT count(*) FROM (
                SELECT FROM outbox AS o WHERE o.state = 'pending' AND o.step = ANY (array_agg(registry.queue))
                LIMIT {HELD_MAX}
            ) AS few
        ) END AS held
    FROM {REGISTRY} LEFT JOIN destinations AS d ON d.name = registry.destination
    GROUP BY registry.destination, d.name ORDER BY registry.destination
""")  # noqa: S608 - a constant of this module


@dataclass(frozen=True, slots=True)
class Admission:
    """The number of entries that a worker may claim now. `is_open`: the breaker is open, so the entry is a probe.

    `is_stale`: no worker has probed for a while, so only a probe shows whether the destination is still away. `most` is
    the most calls in flight over all workers, if a limit is shared and operators have changed it.
    """

    limit: int
    is_open: bool = False
    is_stale: bool = False
    most: int | None = None


@dataclass(frozen=True, slots=True)
class DestinationState:
    """The breaker of a destination, and who has paused it.

    While it is open or paused, `held` entries wait, at least that many at `HELD_MAX`. While it is open and not paused,
    the next probe is due at `probe_at`.
    """

    destination: Destination
    opened_at: datetime | None
    probe_at: datetime | None
    failures: int
    concurrency_limit: float | None
    error_code: str | None
    error_detail: str | None
    held: int
    paused_at: datetime | None = None
    paused_by: str | None = None
    pause_reason: str | None = None


class Destinations:
    """Reads the breakers. `breakers` holds their configuration, which limits how long requests are held."""

    def __init__(self, database: Database, breakers: Mapping[Destination, BreakerConfig] | None = None) -> None:
        self._database = database
        self._destinations = {each.name: each for each in (with_breaker() if breakers is None else breakers)}
        self._holds = {each.name: config.hold for each, config in (breakers or {}).items()}

    async def states(self) -> list[DestinationState]:
        """Returns every destination with a breaker, ordered by name."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(_STATES, registry_columns(self._destinations.values()))).all()
        return [from_row(DestinationState, row, destination=self._destinations[row.destination]) for row in rows]

    async def held(self, request_ids: Sequence[UUID]) -> dict[UUID, Hold]:
        """Returns those of the requests that are held because a destination is away or paused."""
        async with self._database.reading() as connection:
            parameters = registry_columns(self._destinations.values()) | {"request_id": list(request_ids)}
            rows = (await connection.execute(_HELD, parameters)).all()
        return {
            row.request_id: Hold(
                row.name, row.since, _end(row.began_at, self._holds[row.name]), is_paused=row.is_paused
            )
            for row in rows
            if row.name in self._holds
        }


def registry_columns(destinations: Collection[Destination]) -> dict[str, list[str]]:
    """Returns the parameters of `REGISTRY` for these destinations."""
    queues = [(destination.name, queue) for destination in destinations for queue in destination.queues]
    return {"destination": [name for name, _ in queues], "queue": [queue for _, queue in queues]}


async def admit(connection: AsyncConnection, destination: Destination, config: BreakerConfig, wanted: int) -> Admission:
    """Returns how many entries of a destination may be claimed now.

    While it is paused, none. With a concurrency limit, an open breaker or a pause, it locks the destination until the
    end of the transaction.
    """
    if config.concurrency_limit is None and not await _needs_care(connection, destination.name):
        return Admission(wanted)
    found = await lock_destination(connection, destination.name)
    if found.is_paused:
        return Admission(0)
    if found.is_open:
        due, stale = found.probe_overdue >= timedelta(0), found.probe_overdue > 2 * config.probe_every
        return Admission(min(1, wanted) if due else 0, is_open=True, is_stale=stale)
    most = limit_in_force(config, found.concurrency, found.allowance)
    if most is None:
        return Admission(wanted)
    free = most - await _in_flight(connection, destination)
    return Admission(max(0, min(wanted, free)), most=found.concurrency if config.concurrency_limit else None)


async def record_probe(connection: AsyncConnection, destination: Destination, config: BreakerConfig) -> None:
    """Records that a probe was claimed. The next one is due after `probe_every`."""
    await connection.execute(_RECORD_PROBE, {"name": destination.name, "seconds": config.probe_every.total_seconds()})


async def wait_to_claim(connection: AsyncConnection, destination: Destination, config: BreakerConfig) -> timedelta:
    """Returns how long a worker waits before the next claim when entries are due but none may be claimed."""
    row = (await connection.execute(_WAIT, {"name": destination.name})).one_or_none()
    if row is None:
        return timedelta(0)
    if row.is_paused:
        return PAUSED_WAIT
    if row.seconds is not None:
        return timedelta(seconds=max(0.0, float(row.seconds)))
    most = limit_in_force(config, row.concurrency, row.allowance)
    is_free = most is None or await _in_flight(connection, destination) < most
    return timedelta(0) if is_free else FULL_PAUSE


@dataclass(frozen=True, slots=True)
class BreakerUpdate:
    """The incidents of a destination that attempts caused or ended.

    `settlements` are the attempts, with `Held` for those that are held. `recovered` are keys of incidents.
    """

    settlements: Sequence[Settlement[Claim]]
    occurrences: Sequence[Occurrence] = ()
    recovered: Sequence[str] = ()

    async def record(self, connection: AsyncConnection, alert_window: timedelta) -> None:
        """Records the incidents. Called last in a transaction, because others that record one wait for its end."""
        await incidents.record(connection, self.occurrences, alert_window)
        if self.recovered:
            await incidents.recover(connection, *self.recovered)
            await notify(connection, EVERYTHING)


async def update_breaker(
    connection: AsyncConnection,
    destination: Destination,
    config: BreakerConfig,
    settlements: Sequence[Settlement[Claim]],
) -> BreakerUpdate:
    """Updates the breaker after these attempts. `BreakerUpdate.record` records the incidents.

    The outcome becomes `Held`, and the attempt does not count, if the breaker was open before, or if the entry found
    the destination away in all specified attempts and is young enough to be held. While the destination is paused, no
    failure counts: the breaker stays as it is or closes, and what fails is held.
    """
    failed = [s for s in settlements if is_outage(s.outcome)]
    name = destination.name
    if config.concurrency_limit is None and not failed and not await _needs_care(connection, name):
        return BreakerUpdate(settlements)
    found = await lock_destination(connection, name)
    config = _in_force(config, found.concurrency)
    before = _breaker_state(found, config)
    results = [await _attempt_result(connection, destination, s, settlements) for s in settlements]
    counted = [each for each in results if not (found.is_paused and is_outage(each.outcome))]
    updated = next_state(before, counted, config)
    lasts = False
    if updated != before or (updated.is_open and failed and not found.is_paused):
        lasts = await _write(connection, name, config, updated, failed)
    causes = [destination.outage] if destination.outage and updated.is_open and not before.is_open else []
    causes += await _lasting_cause(connection, destination, failed) if lasts else []
    judged = [
        _held(s) if (before.is_open or found.is_paused) and s in failed else _held_if_away(s, each, config)
        for s, each in zip(settlements, results, strict=True)
    ]
    ended = destination.causes if before.is_open and not updated.is_open else ()
    occurrences = [_occurrence(cause, destination.odoo, failed[0]) for cause in causes]
    return BreakerUpdate(judged, occurrences, [incident_key(cause, destination.odoo) for cause in ended])


def _held_if_away(settlement: Settlement[Claim], result: AttemptResult, config: BreakerConfig) -> Settlement[Claim]:
    """Holds an entry that found the destination away. If other entries succeeded, it is due after `probe_every`."""
    now = settlement.claim.claimed_at + settlement.took
    if not found_it_away(result) or now - settlement.claim.began_at >= config.hold:
        return settlement
    if proves_absence(result):
        return _held(settlement)
    return _held(settlement, now + config.probe_every) if isinstance(result.outcome, Dead) else settlement


async def _attempt_result(
    connection: AsyncConnection,
    destination: Destination,
    settlement: Settlement[Claim],
    batch: Sequence[Settlement[Claim]],
) -> AttemptResult:
    result = AttemptResult(settlement.outcome, settlement.took, settlement.claim.attempt)
    if not found_it_away(result):
        return result
    worked = any(isinstance(s.outcome, Done) for s in batch)
    if not worked:
        others = {"step": destination.step.value, "queues": list(destination.queues)}
        worked = bool(await connection.scalar(_WORKED_SINCE, others | {"entry_id": settlement.claim.entry_id}))
    return replace(result, others_worked=worked)


async def _lasting_cause(
    connection: AsyncConnection, destination: Destination, failed: Sequence[Settlement[Claim]]
) -> list[Cause]:
    """Returns the cause of an error that has lasted, unless its incident is open already."""
    cause = destination.lasting.get(_error(failed[0]).code) if failed else None
    if cause is None:
        return []
    known = {"cause": incident_key(cause, destination.odoo)}
    if (await connection.execute(_IS_KNOWN, known)).first() is not None:
        return []
    return [cause]


def _occurrence(cause: Cause, odoo: str, settlement: Settlement[Claim]) -> Occurrence:
    return Occurrence(cause, _error(settlement).detail, settlement.claim.request.request_id, odoo)


async def _needs_care(connection: AsyncConnection, name: str) -> bool:
    """Returns whether a destination without a limit in the settings has failed, or was paused or limited."""
    return (await connection.execute(_NEEDS_CARE, {"name": name})).one_or_none() is not None


async def lock_destination(connection: AsyncConnection, name: str) -> Row[Any]:
    """Locks the row of a destination and returns it. Inserts the row if the destination is new in the registry."""
    row = (await connection.execute(_LOCK, {"name": name})).one_or_none()
    if row is None:
        await connection.execute(_REGISTER, {"name": name})
        row = (await connection.execute(_LOCK, {"name": name})).one()
    return row


async def _in_flight(connection: AsyncConnection, destination: Destination) -> int:
    number = 0
    for queue in destination.queues:
        statement = _IN_FLIGHT.get(queue)
        if statement is None:
            statement = _IN_FLIGHT_ELSEWHERE[destination.step]
        number += await connection.scalar(statement, {"queue": queue}) or 0
    return number


async def _write(
    connection: AsyncConnection,
    name: str,
    config: BreakerConfig,
    updated: BreakerState,
    failed: Sequence[Settlement[Claim]],
) -> bool:
    """Writes the state of the breaker. Returns whether its error has lasted for `LASTS`."""
    error = _error(failed[0]) if failed else None
    row = {
        "name": name,
        "failures": updated.failures,
        "concurrency_limit": updated.concurrency_limit if config.concurrency_limit else None,
        "is_open": updated.is_open,
        "seconds": config.probe_every.total_seconds(),
        "code": error.code if error else None,
        "detail": error.detail[:DETAIL_MAX] if error else None,
        "lasts": LASTS.total_seconds(),
    }
    return bool((await connection.execute(_WRITE, row)).scalar_one())


def _in_force(config: BreakerConfig, concurrency: int | None) -> BreakerConfig:
    """Returns the limits with the one that an operator has set, if any. Without one in the settings, none adapts."""
    if concurrency is None or config.concurrency_limit is None:
        return config
    return replace(config, concurrency_limit=concurrency)


def limit_in_force(config: BreakerConfig, concurrency: int | None, allowance: float | None) -> int | None:
    """Returns the most calls in flight over all workers now; None without a limit.

    `concurrency` is what operators have set, `allowance` what slow answers have left of it or of the setting.
    """
    if config.concurrency_limit is None:
        return concurrency
    return int(_allowed(_in_force(config, concurrency), allowance))


def _breaker_state(row: Row[Any], config: BreakerConfig) -> BreakerState:
    return BreakerState(row.failures, row.is_open, _allowed(config, row.allowance))


def _allowed(config: BreakerConfig, allowance: float | None) -> float:
    most = float(config.concurrency_limit or 1)
    return most if allowance is None else min(allowance, most)


def _end(began_at: datetime, hold: timedelta) -> datetime:
    return min(began_at, FAR_FUTURE - hold) + hold


def _error(settlement: Settlement[Claim]) -> StepError:
    if isinstance(settlement.outcome, Done):
        raise TypeError("a successful attempt has no error")
    return settlement.outcome.error


def _held(settlement: Settlement[Claim], at: datetime | None = None) -> Settlement[Claim]:
    return replace(settlement, outcome=Held(_error(settlement), at))
