"""Outbox entries that belong to an incident: claimed with what is to be told, settled with what was."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from aigen_bridge.domain.incident import LASTING, OUTAGES, Cause, Happened, Incident
from aigen_bridge.domain.outcome import Done, Outcome, Told
from aigen_bridge.domain.request import Step
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.leases import CLAIM, CLAIMED, Lease, Leases, Settlement, claim_parameters, lease_fields, write

LATEST = 5
"""Occurrences that a message names; it counts the others."""

_CLAIM = text(f"""
    {CLAIM}
    SELECT {CLAIMED}, c.incident_id, i.cause, i.times, i.told_times, i.opened_at, i.seen_at, i.recovered_at, (
        SELECT json_agg(json_build_object('at', at, 'detail', detail, 'request_id', request_id) ORDER BY id DESC)
        FROM (
            SELECT o.id, o.at, o.detail, o.request_id FROM occurrences AS o
            WHERE o.incident_id = i.id ORDER BY o.id DESC LIMIT :latest
        ) AS latest
    ) AS latest
    FROM claimed AS c JOIN incidents AS i ON i.id = c.incident_id ORDER BY c.entry_id
""")  # noqa: S608 - a constant of ours

_TOLD = text("""
    WITH told AS (
        UPDATE incidents AS i SET told_at = now(), told_times = t.times, told_over = t.recovered
        FROM unnest(CAST(:id AS bigint[]), CAST(:times AS int[]), CAST(:recovered AS bool[]))
            AS t (id, times, recovered)
        WHERE i.id = t.id
        RETURNING i.id, i.times > i.told_times AS more, i.recovered_at IS NOT NULL AND NOT i.told_over AS over
    )
    INSERT INTO outbox (incident_id, step, created_at, due_at)
    SELECT id, 'alert', at, at
    FROM told, CAST(now() + CASE WHEN over THEN interval '0' ELSE make_interval(secs => :digest) END AS timestamptz)
        AS due (at)
    WHERE more OR over
    ON CONFLICT DO NOTHING
""")


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClaim(Lease):
    """A lease on an alert, with its incident as it was when it was claimed."""

    incident: Incident

    @property
    def about(self) -> dict[str, str]:
        """The cause, as far as it could be read."""
        cause = {} if self.unreadable else {"cause": self.incident.cause.value}
        return {"incident_id": str(self.incident.id)} | cause


class Alerts(Leases):
    """The alerts in PostgreSQL. `digest`: repeated ones of a cause are folded for so long."""

    def __init__(self, database: Database, digest: timedelta) -> None:
        super().__init__(database)
        self._digest = digest

    async def claim(self, step: Step, *, limit: int, lease: timedelta, owner: str) -> list[AlertClaim]:
        """Lease up to `limit` due alerts to `owner`."""
        wanted = claim_parameters(step, limit, lease, owner)
        async with self._database.transaction(prepared=True) as connection:
            rows = (await connection.execute(_CLAIM, wanted | {"latest": LATEST})).all()
        return [_claim(row, step) for row in rows]

    async def settle(self, settlements: Sequence[Settlement[AlertClaim]]) -> list[Outcome | None]:
        """Write how the claims ended. None for a claim whose entry was no longer ours."""
        async with self._database.transaction() as connection:
            await incidents.lock(connection)
            ours = await write(connection, settlements)
            told = {
                s.claim.incident.id: s.outcome.effect
                for s in settlements
                if s.claim.key in ours and isinstance(s.outcome, Done) and isinstance(s.outcome.effect, Told)
            }
            await connection.execute(_TOLD, _columns(told) | {"digest": self._digest.total_seconds()})
        return [s.outcome if s.claim.key in ours else None for s in settlements]

    async def quieten(self) -> None:
        """Ends the incidents that have not happened again within the digest window.

        Incidents of an outage end with its breaker instead.
        """
        causes = sorted(set(Cause) - {*OUTAGES.values(), *LASTING.values()})
        async with self._database.transaction() as connection:
            await incidents.recover(connection, *causes, quiet=self._digest)


def _columns(told: dict[int, Told]) -> dict[str, Any]:
    return {
        "id": list(told),
        "times": [t.times for t in told.values()],
        "recovered": [t.recovered for t in told.values()],
    }


def _claim(row: Row[Any], step: Step) -> AlertClaim:
    lease = lease_fields(row, step)
    try:
        return AlertClaim(**lease, incident=_incident(row))
    except (ValueError, TypeError, LookupError) as error:
        unreadable = f"Incident {row.incident_id} is stored, but cannot be read: {type(error).__name__}: {error}."
        return AlertClaim(**lease | {"unreadable": unreadable}, incident=_only_id(row))


def _only_id(row: Row[Any]) -> Incident:
    """Stands for an incident that cannot be read: its id is right, the rest says nothing."""
    return Incident(
        id=row.incident_id,
        cause=Cause.REQUEST_FORGOTTEN,
        times=0,
        told_times=0,
        opened_at=row.claimed_at,
        seen_at=row.claimed_at,
        recovered_at=None,
        latest=(),
    )


def _incident(row: Row[Any]) -> Incident:
    latest = [
        Happened(datetime.fromisoformat(it["at"]), it["detail"], UUID(it["request_id"]) if it["request_id"] else None)
        for it in row.latest or ()
    ]
    return Incident(
        id=row.incident_id,
        cause=Cause(row.cause),
        times=row.times,
        told_times=row.told_times,
        opened_at=row.opened_at,
        seen_at=row.seen_at,
        recovered_at=row.recovered_at,
        latest=tuple(latest),
    )
