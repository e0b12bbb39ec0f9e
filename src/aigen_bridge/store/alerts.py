"""Claims and settles alerts, the outbox entries of incidents."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, text

from aigen_bridge.domain.destination import Destination, with_breaker
from aigen_bridge.domain.incident import Cause, Incident, OccurrenceRecord, every_key, incident_key, read_key
from aigen_bridge.domain.outbox import AlertClaim, Lease, Notified, Outcome, Settlement
from aigen_bridge.domain.request import Step
from aigen_bridge.store import incidents
from aigen_bridge.store.batching import Batcher
from aigen_bridge.store.connection import PATIENCE
from aigen_bridge.store.database import Database
from aigen_bridge.store.leases import CLAIM, CLAIMED, LeaseStore, claim_parameters, lease_fields, settle_entries
from aigen_bridge.store.rows import from_row

SETTLE_MAX = 200
"""The most alerts settled in one transaction."""
LATEST = 5
"""Occurrences that a message lists. It only counts the others."""

_CLAIM = text(f"""
    {CLAIM}
    SELECT {CLAIMED}, c.incident_id, i.cause, i.times, i.told_times AS notified_times, i.opened_at, i.seen_at,
        i.recovered_at, (
        SELECT json_agg(json_build_object('at', at, 'detail', detail, 'request_id', request_id) ORDER BY id DESC)
        FROM (
            SELECT o.id, o.at, o.detail, o.request_id FROM occurrences AS o
            WHERE o.incident_id = i.id ORDER BY o.id DESC LIMIT :latest
        ) AS latest
    ) AS latest
    FROM claimed AS c JOIN incidents AS i ON i.id = c.incident_id ORDER BY c.entry_id
""")  # noqa: S608 - constants of this package

_NOTIFIED = text("""
    UPDATE incidents AS i SET told_at = now(), told_times = n.times, told_over = n.recovered
    FROM unnest(CAST(:id AS bigint[]), CAST(:times AS int[]), CAST(:recovered AS bool[])) AS n (id, times, recovered)
    WHERE i.id = n.id
""")

# An incident whose end has not been reported is due at once. One with new occurrences is due after the alert window.
_ENQUEUE_NEXT = text("""
    INSERT INTO outbox (incident_id, step, created_at, due_at)
    SELECT i.id, 'alert', at, at
    FROM incidents AS i, CAST(
        now() + CASE WHEN i.recovered_at IS NULL OR i.told_over THEN make_interval(secs => :alert_window)
            ELSE interval '0' END AS timestamptz
    ) AS due (at)
    WHERE i.id = ANY (CAST(:id AS bigint[]))
        AND (i.times > i.told_times OR (i.recovered_at IS NOT NULL AND NOT i.told_over))
    ON CONFLICT DO NOTHING
""")


class Alerts(LeaseStore):
    """Alerts in PostgreSQL. Occurrences of one cause within `alert_window` are reported together.

    `destinations` are those with a breaker.
    """

    def __init__(
        self, database: Database, alert_window: timedelta, destinations: Collection[Destination] | None = None
    ) -> None:
        super().__init__(database)
        self._alert_window = alert_window
        self._destinations = with_breaker() if destinations is None else destinations
        self._settlements = Batcher(self.settle_all, limit=SETTLE_MAX, timeout=database.timeout * PATIENCE)

    async def claim(
        self,
        lane: str,
        *,
        limit: int,
        lease: timedelta,
        owner: str,
        in_progress: Collection[Lease] = (),  # noqa: ARG002 - there is one queue of alerts
    ) -> list[AlertClaim]:
        """Leases up to `limit` due alerts to `owner`."""
        wanted = claim_parameters((lane,), limit, lease, owner)
        async with self._database.transaction(prepared=True) as connection:
            rows = (await connection.execute(_CLAIM, wanted | {"latest": LATEST})).all()
        return [_claim(row, Step.ALERT) for row in rows]

    async def settle(self, settlement: Settlement[AlertClaim]) -> Outcome | None:
        """Records how the attempt ended. Returns after the commit; None if the lease was lost."""
        return await self._settlements(settlement)

    async def settle_all(self, settlements: Sequence[Settlement[AlertClaim]]) -> list[Outcome | None]:
        """Does the same as `settle` for several claims in one commit."""
        async with self._database.transaction() as connection:
            await incidents.lock(connection)
            leased = await settle_entries(connection, settlements)
            notified = {
                s.claim.incident.id: s.effect
                for s in settlements
                if s.claim.key in leased and isinstance(s.effect, Notified)
            }
            if notified:
                await connection.execute(_NOTIFIED, _columns(notified))
                following = {"id": list(notified), "alert_window": self._alert_window.total_seconds()}
                await connection.execute(_ENQUEUE_NEXT, following)
        return [s.outcome if s.claim.key in leased else None for s in settlements]

    async def end_quiet_incidents(self) -> None:
        """Ends the incidents that have not occurred again within the alert window.

        Incidents of an outage end when its breaker closes.
        """
        outages = {incident_key(cause, each.odoo) for each in self._destinations for cause in each.causes}
        quiet = every_key(odoo for each in self._destinations for odoo in each.odoos) - outages
        async with self._database.transaction() as connection:
            await incidents.recover(connection, *quiet, quiet=self._alert_window)


def _columns(notified: dict[int, Notified]) -> dict[str, Any]:
    return {
        "id": list(notified),
        "times": [n.times for n in notified.values()],
        "recovered": [n.recovered for n in notified.values()],
    }


def _claim(row: Row[Any], step: Step) -> AlertClaim:
    fields = lease_fields(row, step)
    try:
        return AlertClaim(**fields, incident=_incident(row))
    except (ValueError, TypeError, LookupError) as error:
        unreadable = f"Incident {row.incident_id} is stored, but cannot be read: {type(error).__name__}: {error}."
        return AlertClaim(**fields | {"unreadable": unreadable}, incident=_only_id(row))


def _only_id(row: Row[Any]) -> Incident:
    """Returns a placeholder for an incident that cannot be read. Only its id is valid."""
    return Incident(
        id=row.incident_id,
        cause=Cause.REQUEST_ORPHANED,
        times=0,
        notified_times=0,
        opened_at=row.claimed_at,
        seen_at=row.claimed_at,
        recovered_at=None,
        latest=(),
    )


def _incident(row: Row[Any]) -> Incident:
    latest = [
        OccurrenceRecord(
            datetime.fromisoformat(each["at"]), each["detail"], UUID(each["request_id"]) if each["request_id"] else None
        )
        for each in row.latest or ()
    ]
    cause, odoo = read_key(row.cause)
    return from_row(Incident, row, id=row.incident_id, cause=cause, odoo=odoo, latest=tuple(latest))
