"""Pauses and limits destinations, and reads their status.

Workers read the row of a destination with every claim, so a change holds for all of them at once, and outlives them.
The breaker stays below a pause as it is. Its time stands still: the pause is added to what `out_seconds` and
`destination_pauses` keep.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import (
    Availability,
    BreakerConfig,
    Destination,
    DestinationStatus,
    SeenLimit,
)
from aigen_bridge.domain.queues import odoo_of
from aigen_bridge.domain.request import Status
from aigen_bridge.store.database import Database
from aigen_bridge.store.destinations import HELD_MAX, REGISTRY, Destinations, limit_in_force, lock_destination
from aigen_bridge.store.operations import record
from aigen_bridge.store.wakeup import EVERYTHING, notify

KEPT_FOR = "30 days"
"""The time for which pauses are kept after their end, and longer while something waits since before."""

# The time of day, because the transaction may have waited for one that ended an earlier pause.
_PAUSE = text("""
    WITH paused AS (
        UPDATE destinations SET paused_at = clock_timestamp(), paused_by = :by, pause_reason = :reason
        WHERE name = :name RETURNING name, paused_at
    )
    INSERT INTO destination_pauses (destination, began_at) SELECT name, paused_at FROM paused
""")
# Every claim reads the pauses of its destination. Those before all that waits do not concern it. What waits is looked
# through only if there is an old pause.
_FORGET = text(f"""
    DELETE FROM destination_pauses WHERE ended_at < now() - interval '{KEPT_FOR}' AND ended_at < least(
        now(),
        (SELECT min(created_at) FROM outbox WHERE state = 'pending'),
        (SELECT min(dispatched_at) FROM requests WHERE status = '{Status.DISPATCHED}')
    )
""")  # noqa: S608 - constants of this package
# While a breaker is open, its outage counts from `opened_at`, which includes the pause. A probe is due at once.
_RESUME = text("""
    WITH ended_pause AS (
        UPDATE destination_pauses SET ended_at = greatest(clock_timestamp(), began_at)
        WHERE destination = :name AND ended_at IS NULL
    )
    UPDATE destinations AS d SET
        out_seconds = d.out_seconds
            + extract(epoch FROM greatest(coalesce(d.opened_at, ended.at) - d.paused_at, interval '0')),
        probe_at = CASE WHEN d.opened_at IS NOT NULL THEN ended.at END,
        error_since = d.error_since + (ended.at - greatest(d.paused_at, d.error_since)),
        paused_at = NULL, paused_by = NULL, pause_reason = NULL
    FROM clock_timestamp() AS ended (at) WHERE d.name = :name
""")
NOT_PAUSED = {"paused": False}
_LIMIT = text("UPDATE destinations SET concurrency = :concurrency, allowance = NULL WHERE name = :name")

_STATUS = text(f"""
    SELECT r.destination, d.opened_at, d.probe_at, d.paused_at, d.paused_by, d.pause_reason, d.error_code,
        d.error_detail, d.concurrency, d.allowance, w.backlog, w.oldest, w.in_flight
    FROM (SELECT destination, array_agg(queue) AS queues FROM {REGISTRY} GROUP BY destination) AS r
    LEFT JOIN destinations AS d ON d.name = r.destination,
        LATERAL (
            SELECT sum(pending.number) AS backlog, min(pending.oldest) AS oldest, sum(leased.number) AS in_flight
            FROM unnest(r.queues) AS q (queue),
                LATERAL (
                    SELECT count(*) AS number, min(created_at) FILTER (WHERE created_at <= now()) AS oldest FROM (
                        SELECT created_at FROM outbox WHERE state = 'pending' AND step = q.queue
                        ORDER BY due_at LIMIT {HELD_MAX}
                    ) AS few
                ) AS pending,
                LATERAL (
                    SELECT count(*) AS number FROM (
                        SELECT FROM outbox WHERE state = 'pending' AND step = q.queue AND lease_owner IS NOT NULL
                            AND due_at > now() LIMIT {HELD_MAX}
                    ) AS few
                ) AS leased
        ) AS w
""")  # noqa: S608 - constants of this package


class ChangeableDestinations(Destinations):
    """The destinations, with what operators change of them. `breakers` are those that have a breaker."""

    def __init__(self, database: Database, breakers: Mapping[Destination, BreakerConfig]) -> None:
        super().__init__(database, breakers)
        self._configs = {each.name: config for each, config in breakers.items()}

    async def overview(self, odoo: str | None = None) -> list[DestinationStatus]:
        """Returns every destination. An operator with an Odoo sees what concerns this Odoo.

        That leaves out why the last call failed to what several Odoos share: it may quote the request of another.
        """
        seen = self._seen(odoo)
        queues = [(each.name, queue) for each in seen for queue in each.queues if odoo in {None, odoo_of(queue)}]
        columns = {"destination": [name for name, _ in queues], "queue": [queue for _, queue in queues]}
        async with self._database.reading() as connection:
            found = {row.destination: row for row in await connection.execute(_STATUS, columns)}
        return [
            _status(
                each, self._configs[each.name], found[each.name], is_of_others=odoo is not None and len(each.odoos) > 1
            )
            for each in seen
        ]

    async def pause(self, name: str, action: OperatorAction) -> bool:
        """Pauses a destination for the reason in `note`. Returns whether it was not paused before: the first counts."""
        async with self._database.transaction() as connection:
            if (await lock_destination(connection, name)).is_paused:
                return False
            await connection.execute(_FORGET)
            await connection.execute(_PAUSE, {"name": name, "by": action.by, "reason": action.note})
            after = {"paused": True, "reason": action.note}
            await self._record(connection, action, "pause", name, NOT_PAUSED, after)
        return True

    async def resume(self, name: str, action: OperatorAction, seen: datetime | None = None) -> bool:
        """Resumes a destination. Returns whether it was paused; with `seen`, whether that pause began then."""
        async with self._database.transaction() as connection:
            found = await lock_destination(connection, name)
            if not found.is_paused or seen not in {None, found.paused_at}:
                return False
            paused = {"since": found.paused_at.isoformat(), "by": found.paused_by, "reason": found.pause_reason}
            await connection.execute(_RESUME, {"name": name})
            await self._record(connection, action, "resume", name, {"paused": True} | paused, NOT_PAUSED)
            await notify(connection, EVERYTHING)
        return True

    async def limit(self, name: str, concurrency: int | None, action: OperatorAction, seen: SeenLimit = "any") -> bool:
        """Limits the calls in flight; None restores the setting. Returns whether that changed anything.

        Changes nothing if the limit in force is not the one that was `seen`.
        """
        configured = self._configs[name].concurrency_limit
        async with self._database.transaction() as connection:
            before = (await lock_destination(connection, name)).concurrency
            if before == concurrency or seen not in {"any", before or configured}:
                return False
            await connection.execute(_LIMIT, {"name": name, "concurrency": concurrency})
            changed = {"concurrency": before}, {"concurrency": concurrency}
            await self._record(connection, action, "limit", name, *changed)
            await notify(connection, EVERYTHING)
        return True

    async def _record(
        self,
        connection: AsyncConnection,
        action: OperatorAction,
        name: str,
        destination: str,
        before: Mapping[str, Any],
        after: Mapping[str, Any],
    ) -> None:
        """Records the action as one that concerns the Odoo, if it is the only one that the destination serves."""
        odoos = self._destinations[destination].odoos
        concerned = replace(action, odoo=odoos[0] if len(odoos) == 1 else action.odoo)
        await record(connection, concerned, name, f"destination {destination}", None, before=before, after=after)

    def _seen(self, odoo: str | None) -> Sequence[Destination]:
        return [each for each in self._destinations.values() if odoo is None or odoo in each.odoos]


def _status(destination: Destination, config: BreakerConfig, row: Row[Any], *, is_of_others: bool) -> DestinationStatus:
    state = Availability.PAUSED if row.paused_at else Availability.OPEN if row.opened_at else Availability.CLOSED
    return DestinationStatus(
        name=destination.name,
        label=destination.label,
        state=state,
        since=row.paused_at or row.opened_at,
        away_since=row.opened_at,
        probe_at=None if row.paused_at else row.probe_at,
        backlog=int(row.backlog),
        oldest=row.oldest,
        in_flight=int(row.in_flight),
        concurrency=row.concurrency or config.concurrency_limit,
        configured=config.concurrency_limit,
        allowance=limit_in_force(config, row.concurrency, row.allowance),
        paused_by=row.paused_by,
        pause_reason=row.pause_reason,
        error_code=row.error_code,
        error_detail=None if is_of_others else row.error_detail,
    )
