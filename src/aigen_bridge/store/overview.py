"""Reads the state of the whole bridge for the console's first page.

Open pages poll it, so the callers of a process share one read: what may change at any moment is at most `FRESH_SECONDS`
old, the counts of a day `DAY_FRESH_SECONDS`. The cost does not grow with the tables: each count stops at a limit, and
each age is read from the end of an index. The ORDER BY clauses make PostgreSQL use that index.

With `odoo`, a read shows that Odoo only. Rows are filtered by it after the limit of their statement, so that many
requests of others do not make it slow.
"""

import contextlib
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import CALLBACK_KIND, DEAD_LETTER_KINDS, N8N_KIND, N8N_REPORT
from aigen_bridge.domain.destination import BreakerConfig, Destination
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.incident import incident_key, read_key
from aigen_bridge.domain.overview import Counts, OpenIncident, OverviewFacts
from aigen_bridge.domain.queues import odoo_of
from aigen_bridge.domain.request import Step
from aigen_bridge.store.database import Database
from aigen_bridge.store.destination_changes import ChangeableDestinations
from aigen_bridge.store.destinations import REGISTRY
from aigen_bridge.store.fresh import Fresh
from aigen_bridge.store.hops import EXAMINED, hop_times, longest_waits
from aigen_bridge.store.outcomes import DAY, HOUR, count_outcomes
from aigen_bridge.store.pauses import paused_time
from aigen_bridge.store.processes import connected
from aigen_bridge.store.readable import since
from aigen_bridge.store.rows import from_row

FRESH_SECONDS, DAY_FRESH_SECONDS = 2.0, 60.0
DAY_PATIENCE_SECONDS = 0.3
"""A read goes on without newer counts of the day after this time: a first one takes seconds at a million requests."""
MOST = 10_000
"""The most waiting entries and dead letters that are counted."""

_NOW = text("SELECT now()")

_LATE = text(f"""
    SELECT registry.destination AS name, max(first.age) AS age FROM {REGISTRY}, LATERAL (
        SELECT {since(f"due_at + {paused_time('registry.destination', 'due_at')}")} AS age
        FROM outbox WHERE state = 'pending' AND step = queue AND due_at < now()
        ORDER BY due_at LIMIT 1
    ) AS first
    GROUP BY registry.destination
""")  # noqa: S608 - constants of this package

_INCIDENTS = text("""
    SELECT i.cause, i.times, i.opened_at, i.seen_at, latest.detail, latest.request_id
    FROM incidents AS i LEFT JOIN LATERAL (
        SELECT detail, request_id FROM occurrences WHERE incident_id = i.id ORDER BY id DESC LIMIT 1
    ) AS latest ON true
    WHERE i.recovered_at IS NULL ORDER BY i.opened_at, i.cause
""")
_INCIDENTS_OF_ODOO = text(f"""
    SELECT i.cause, own.times, i.opened_at, i.seen_at, own.detail, own.request_id
    FROM incidents AS i, LATERAL (
        SELECT count(*) AS times, (array_agg(few.detail ORDER BY few.id DESC))[1] AS detail,
            (array_agg(few.request_id ORDER BY few.id DESC))[1] AS request_id
        FROM (
            SELECT id, detail, request_id FROM occurrences WHERE incident_id = i.id ORDER BY id DESC LIMIT {EXAMINED}
        ) AS few
        JOIN requests AS r ON r.request_id = few.request_id AND r.odoo = :odoo
    ) AS own
    WHERE i.recovered_at IS NULL AND (own.times > 0 OR i.cause = ANY (CAST(:outages AS text[])))
    ORDER BY i.opened_at, i.cause
""")  # noqa: S608 - a constant of this module

_DEAD_LETTERS = f"""
    SELECT split_part(step, ':', 1) AS kind, count(*) AS counted
    FROM (SELECT step, request_id FROM outbox WHERE state = 'dead' ORDER BY finished_at DESC LIMIT {MOST}) AS few
        {{of_odoo}}
    GROUP BY 1
    UNION ALL
    SELECT CASE version WHEN '{N8N_REPORT}' THEN '{N8N_KIND}' ELSE '{CALLBACK_KIND}' END, count(*)
    FROM (SELECT version, request_id FROM quarantine WHERE state = 'open' ORDER BY created_at DESC LIMIT {MOST}) AS few
        {{of_odoo}}
    GROUP BY 1
"""  # noqa: S608 - constants of this package
# The LIMIT makes PostgreSQL look up each request, instead of reading all of them for a hash.
_OF_ODOO = """
    CROSS JOIN LATERAL (SELECT FROM requests AS r WHERE r.request_id = few.request_id AND r.odoo = :odoo LIMIT 1) AS own
"""
_DEAD, _DEAD_OF_ODOO = (text(_DEAD_LETTERS.format(of_odoo=each)) for each in ("", _OF_ODOO))


class Overview:
    """Reads the overview. `breakers` holds the destinations with a breaker. Raises `StoreUnavailableError`."""

    def __init__(self, database: Database, breakers: Mapping[Destination, BreakerConfig]) -> None:
        self._database = database
        self._breakers = breakers
        self._views: dict[str | None, _View] = {}

    async def read(self, odoo: str | None = None) -> OverviewFacts:
        """Returns the facts; with `odoo`, those of this Odoo."""
        if odoo not in self._views:
            self._views[odoo] = _View(self._database, self._breakers, odoo)
        return await self._views[odoo].read()

    async def aclose(self) -> None:
        """Ends queries that are under way."""
        for each in self._views.values():
            await each.aclose()


class _View:
    """The overview as the operators of one Odoo see it, or those of all."""

    def __init__(self, database: Database, breakers: Mapping[Destination, BreakerConfig], odoo: str | None) -> None:
        self._database = database
        self._odoo = odoo
        self._seen = [each for each in breakers if odoo is None or odoo in each.odoos]
        self._destinations = ChangeableDestinations(database, breakers)
        self._day: Counts | None = None
        self._fresh_day = Fresh(self._read_day, fresh=DAY_FRESH_SECONDS, patience=DAY_PATIENCE_SECONDS)
        self._facts = Fresh(self._read, fresh=FRESH_SECONDS, patience=database.timeout.total_seconds())

    async def read(self) -> OverviewFacts:
        """Returns the facts, read at most `FRESH_SECONDS` ago."""
        return await self._facts.get()

    async def aclose(self) -> None:
        """Ends queries that are under way."""
        await self._facts.close()
        await self._fresh_day.close()

    async def _recent_day(self) -> Counts | None:
        """Returns the last known counts of the day, and waits only shortly for newer ones."""
        with contextlib.suppress(StoreUnavailableError):
            self._day = await self._fresh_day.get()
        return self._day

    async def _read_day(self) -> Counts:
        async with self._database.reading() as connection:
            return await count_outcomes(connection, DAY, self._odoo)

    async def _read(self) -> OverviewFacts:
        day, destinations = await self._recent_day(), await self._destinations.overview(self._odoo)
        deliveries = [queue for each in self._seen if each.step is Step.DELIVER for queue in self._queues(each)]
        async with self._database.reading() as connection:
            at: datetime = (await connection.execute(_NOW)).scalar_one()
            processes = await connected(connection)
            return OverviewFacts(
                at=at,
                hour=await count_outcomes(connection, HOUR, self._odoo),
                day=day,
                destinations=tuple(destinations),
                incidents=await self._read_incidents(connection),
                workers=processes.workers,
                apis=processes.apis,
                late=await self._read_late(connection),
                dead=await self._read_dead(connection),
                hops=await hop_times(connection, self._odoo),
                waits=await longest_waits(connection, deliveries, self._odoo),
            )

    def _queues(self, destination: Destination) -> list[str]:
        return [queue for queue in destination.queues if self._odoo in {None, odoo_of(queue)}]

    async def _read_late(self, connection: AsyncConnection) -> dict[str, timedelta]:
        registry = [(each.name, queue) for each in self._seen for queue in self._queues(each)]
        columns = {"destination": [name for name, _ in registry], "queue": [queue for _, queue in registry]}
        return {row.name: row.age for row in await connection.execute(_LATE, columns)}

    async def _read_incidents(self, connection: AsyncConnection) -> tuple[OpenIncident, ...]:
        if self._odoo is None:
            rows = await connection.execute(_INCIDENTS)
        else:
            outages = [incident_key(cause, each.odoo) for each in self._seen for cause in each.causes]
            rows = await connection.execute(_INCIDENTS_OF_ODOO, {"odoo": self._odoo, "outages": outages})
        return tuple(found for row in rows if (found := _incident(row)))

    async def _read_dead(self, connection: AsyncConnection) -> dict[str, int]:
        found = await (
            connection.execute(_DEAD_OF_ODOO, {"odoo": self._odoo}) if self._odoo else connection.execute(_DEAD)
        )
        counted = {row.kind: row.counted for row in found}
        return {kind: counted.get(kind, 0) for kind in DEAD_LETTER_KINDS}


def _incident(row: Row[Any]) -> OpenIncident | None:
    """Returns an incident; None if a newer version recorded its cause."""
    try:
        cause, odoo = read_key(row.cause)
    except ValueError:
        return None
    return from_row(OpenIncident, row, cause=cause, odoo=odoo)
