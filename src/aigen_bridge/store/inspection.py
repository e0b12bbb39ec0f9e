"""Read-only checks of the database and its contents, for `doctor`."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from sqlalchemy import Row, TextClause, text

from aigen_bridge.domain.budget import BudgetState
from aigen_bridge.domain.catalogue import Catalogue
from aigen_bridge.domain.destination import N8N, BreakerConfig, Destination, with_breaker
from aigen_bridge.domain.errors import UnreadableRequestError
from aigen_bridge.domain.generation import State
from aigen_bridge.domain.request import FailureCode, Status
from aigen_bridge.store import migrations
from aigen_bridge.store.addons import Addons
from aigen_bridge.store.budgets import Budgets
from aigen_bridge.store.catalogue import read_catalogue
from aigen_bridge.store.connection import TIMEOUT
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.destinations import REGISTRY, Destinations, DestinationState, registry_columns
from aigen_bridge.store.image_state import ImageStoreState, read_state
from aigen_bridge.store.pauses import N8N_IS_PAUSED, STANDING_DEADLINE, paused_time
from aigen_bridge.store.processes import Processes, connected
from aigen_bridge.store.readable import out_of_range, since
from aigen_bridge.store.replication import Replication, replication
from aigen_bridge.store.rights import refuse_missing_rights
from aigen_bridge.store.rows import COLUMNS, from_row, to_request
from aigen_bridge.store.schema import requests
from aigen_bridge.store.session import PID, is_pooled

CONNECTIONS = 6
RECENT_ATTEMPTS = 1000
NEWEST = 3
"""The number of requests or jobs that a finding names."""
READ_MAX = 1000
"""The most requests that are checked for readability: of those with pending entries, and of the newest."""

_SERVER = text("""
    SELECT current_setting('server_version') AS version, current_setting('transaction_read_only') = 'on' AS read_only,
        pg_is_in_recovery() AS standby, pg_database_size(current_database()) AS bytes
""")

_INVALID_INDEXES = text("""
    SELECT CAST(CAST(i.indexrelid AS regclass) AS text) FROM pg_index AS i
    WHERE NOT i.indisvalid AND i.indrelid IN (SELECT to_regclass(name) FROM unnest(CAST(:tables AS text[])) AS t (name))
    ORDER BY 1
""")

_IS_UNKNOWN = "o.step LIKE '%:%' AND o.step <> ALL (CAST(:queue AS text[]))"
"""SQL: no worker claims `outbox AS o`, because its Odoo is not in the settings."""

_WAITING = text(f"""
    SELECT w.kind, w.number, {since(f"w.oldest_at + {paused_time('registry.destination', 'w.oldest_at')}")}
        AS oldest_age
    FROM (
        SELECT o.step AS kind, count(*) AS number, min(o.due_at) AS oldest_at FROM outbox AS o
        WHERE o.state = 'pending' AND o.due_at <= now() AND NOT ({_IS_UNKNOWN}) AND NOT EXISTS (
            SELECT FROM {REGISTRY} JOIN destinations AS d ON d.name = registry.destination
            WHERE (d.opened_at IS NOT NULL OR d.paused_at IS NOT NULL) AND registry.queue = o.step
        ) GROUP BY o.step
    ) AS w LEFT JOIN {REGISTRY} ON registry.queue = w.kind ORDER BY w.kind
""")  # noqa: S608 - a constant of this package

_UNKNOWN = text(f"""
    SELECT split_part(o.step, ':', 2) AS kind, count(*) AS number, {since("min(o.created_at)")} AS oldest_age
    FROM outbox AS o WHERE o.state = 'pending' AND {_IS_UNKNOWN} GROUP BY 1 ORDER BY 1
""")  # noqa: S608 - constants of this module

_DEAD = text(f"""
    SELECT step AS kind, count(*) AS number, {since("min(finished_at)")} AS oldest_age FROM outbox
    WHERE state = 'dead' GROUP BY step
    UNION ALL
    SELECT 'callback', count(*), {since("min(created_at)")} FROM quarantine WHERE state = 'open' HAVING count(*) > 0
    ORDER BY kind
""")  # noqa: S608 - constants of this package

_OVERDUE = text(f"""
    SELECT count(*) AS number, {since(f"min({STANDING_DEADLINE})")} AS oldest_age FROM requests AS r
    WHERE r.status = 'dispatched' AND r.callback_deadline_at < now() - interval '1 minute'
        AND {STANDING_DEADLINE} < now() - interval '1 minute' AND NOT {N8N_IS_PAUSED}
""")  # noqa: S608 - a constant of this package

_WITH_PENDING_ENTRY = text(f"""
    SELECT o.created_at AS began_at, o.due_at, o.give_up_at, {COLUMNS}
    FROM (
        SELECT request_id, created_at, due_at, give_up_at FROM outbox
        WHERE state = 'pending' AND request_id IS NOT NULL ORDER BY due_at LIMIT {READ_MAX}
    ) AS o
    JOIN requests AS r ON r.request_id = o.request_id
""")  # noqa: S608 - a constant of this package
_NEWEST = text(f"SELECT {COLUMNS} FROM requests AS r ORDER BY created_at DESC, request_id DESC LIMIT {READ_MAX}")  # noqa: S608 - a constant of this package

_PERIOD = "now() - make_interval(secs => :seconds)"
# The state `doubtful` is recorded whenever a grant may have been paid for, even if another followed at once.
_DOUBTS = text(f"""
    SELECT CAST(request_id AS text) AS what, count(*) OVER () AS number FROM generation_changes
    WHERE state = '{State.DOUBTFUL}' AND at > {_PERIOD}
    GROUP BY request_id ORDER BY max(at) DESC LIMIT {NEWEST}
""")  # noqa: S608 - constants of this package
_UNDECIDED = text(f"""
    SELECT CAST(request_id AS text) AS what, count(*) OVER () AS number FROM requests
    WHERE status = '{Status.FAILED}' AND error_code = '{FailureCode.MAYBE_PAID}' AND updated_at > {_PERIOD}
    ORDER BY updated_at DESC LIMIT {NEWEST}
""")  # noqa: S608 - constants of this package
_OTHER_JOBS = text(f"""
    SELECT job_id || ' at ' || provider || ' for request ' || request_id AS what, count(*) OVER () AS number
    FROM provider_jobs WHERE is_other AND named_at > {_PERIOD} ORDER BY named_at DESC LIMIT {NEWEST}
""")  # noqa: S608 - constants of this module
_BEAT_AGE = text(f"SELECT {since('at')} AS age FROM api_beats")  # noqa: S608 - a constant of this package

_LAST_DISPATCH = text(f"""
    SELECT outcome = 'done' AS accepted, now() - finished_at AS ago, http_status
    FROM (
        SELECT id, step, outcome, http_status, finished_at FROM attempts ORDER BY id DESC LIMIT {RECENT_ATTEMPTS}
    ) AS recent
    WHERE step = '{N8N.step}' AND (outcome = 'done' OR http_status IN (401, 403))
    ORDER BY id DESC LIMIT 1
""")  # noqa: S608 - a constant of this package


@dataclass(frozen=True, slots=True)
class Server:
    """The PostgreSQL server. `standby`: it replicates another server. `bytes`: the size of the database."""

    version: str
    read_only: bool
    standby: bool
    bytes: int


@dataclass(frozen=True, slots=True)
class Backlog:
    """Waiting items of one kind. `oldest_age` is zero if `count` is zero."""

    kind: str
    count: int
    oldest_age: timedelta


@dataclass(frozen=True, slots=True)
class Recent:
    """Things of one kind in the examined period: how many, and the newest of them, at most `NEWEST`."""

    number: int
    newest: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class KeyTrial:
    """The last dispatch that shows whether N8N accepts the API key, and how long ago it was."""

    accepted: bool
    ago: timedelta
    http_status: int | None


class Inspection:
    """The checks. Each raises `StoreUnavailableError` if the database does not answer or has no tables.

    `destinations` are those with a breaker.
    """

    def __init__(self, database: Database, destinations: Collection[Destination] | None = None) -> None:
        self._database = database
        self._destinations = with_breaker() if destinations is None else destinations

    async def server(self) -> Server:
        """Returns the properties of the server."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_SERVER)).one()
        return from_row(Server, row)

    async def replication(self) -> Replication:
        """Returns what the primary knows of its standbys."""
        return await replication(self._database)

    async def is_pooled(self) -> bool:
        """Returns whether a pooler is in between."""
        async with self._database.reading() as connection:
            pid = await connection.scalar(text(PID))
            opened: Any = (await connection.get_raw_connection()).driver_connection
            return is_pooled(opened, pid)

    async def revision(self) -> str | None:
        """Returns the migration revision of the database; None if it was never migrated."""
        return await migrations.current(self._database)

    async def refuse_missing_rights(self) -> None:
        """Raises `UnsuitableDatabaseError` if the role lacks a right on an existing table."""
        await refuse_missing_rights(self._database)

    async def invalid_indexes(self) -> list[str]:
        """Returns the indexes of the bridge's tables whose building was interrupted, or is going on."""
        async with self._database.reading() as connection:
            return list(await connection.scalars(_INVALID_INDEXES, {"tables": list(requests.metadata.tables)}))

    async def clock(self, now: Callable[[], datetime]) -> tuple[timedelta, timedelta]:
        """Returns how far the database's clock is ahead of `now`, and the uncertainty of that."""
        async with self._database.reading() as connection:
            await connection.execute(text("SELECT 1"))  # connects first, which keeps connecting out of the measurement
            before = now()
            database_now: datetime = (await connection.execute(text("SELECT clock_timestamp()"))).scalar_one()
            after = now()
        return database_now - before - (after - before) / 2, (after - before) / 2

    async def waiting(self) -> list[Backlog]:
        """Returns the backlog of due outbox entries by queue, without those whose destination is away or paused."""
        return await self._backlogs(_WAITING, registry_columns(self._destinations))

    async def unknown_odoos(self) -> list[Backlog]:
        """Returns the entries that no worker claims, by the name of their Odoo, which is not in the settings."""
        return await self._backlogs(_UNKNOWN, {"queue": registry_columns(self._destinations)["queue"]})

    async def destinations(self) -> list[DestinationState]:
        """Returns the breakers of the destinations."""
        return await Destinations(self._database, dict.fromkeys(self._destinations, BreakerConfig())).states()

    async def database_uuids(self) -> dict[str, str]:
        """Returns the known uuid of the database of each Odoo, by the Odoo's name."""
        async with self._database.reading() as connection:
            rows = await connection.execute(text("SELECT name, database_uuid FROM odoos"))
            return {row.name: row.database_uuid for row in rows}

    async def catalogue(self) -> Catalogue:
        """Returns the catalogue of models."""
        async with self._database.reading() as connection:
            return await read_catalogue(connection)

    async def has_budgets(self) -> bool:
        """Returns whether there is a budget."""
        async with self._database.reading() as connection:
            return bool(await connection.scalar(text("SELECT EXISTS (SELECT FROM budgets)")))

    async def budgets(self) -> list[BudgetState]:
        """Returns the budgets with their usage."""
        return await Budgets(self._database).states()

    async def addons(self) -> dict[str, str | None]:
        """Returns the version of the addon of each Odoo that has sent requests."""
        return await Addons(self._database).known()

    async def image_store(self) -> ImageStoreState:
        """Returns what the database knows of the image store."""
        return await read_state(self._database)

    async def dead(self) -> list[Backlog]:
        """Returns the open dead letters by queue; those in quarantine as `callback`."""
        return await self._backlogs(_DEAD, {})

    async def overdue(self) -> Backlog:
        """Returns the requests whose deadline has passed and that no sweep has failed."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_OVERDUE)).one()
        return Backlog("overdue", row.number, row.oldest_age or timedelta(0))

    async def unreadable(self) -> dict[UUID, str]:
        """Returns the requests that cannot be read, or that have an entry that cannot be read, with the reason."""
        async with self._database.reading() as connection:
            rows = [row for statement in (_WITH_PENDING_ENTRY, _NEWEST) for row in await connection.execute(statement)]
        return {row.request_id: reason for row in rows if (reason := _why_unreadable(row))}

    async def processes(self) -> Processes:
        """Counts the connected processes."""
        async with self._database.reading() as connection:
            return await connected(connection)

    async def doubts(self, period: timedelta) -> Recent:
        """Returns the requests that may have been paid for without a trace."""
        return await self._recent(_DOUBTS, period)

    async def undecided(self, period: timedelta) -> Recent:
        """Returns the requests that failed as `maybe_paid` and were not sent again."""
        return await self._recent(_UNDECIDED, period)

    async def other_jobs(self, period: timedelta) -> Recent:
        """Returns the jobs that were submitted beside the known job of their request."""
        return await self._recent(_OTHER_JOBS, period)

    async def beat_age(self) -> timedelta | None:
        """Returns the time since an API process last recorded that it can hear N8N; None if none ever did."""
        async with self._database.reading() as connection:
            age: timedelta | None = await connection.scalar(_BEAT_AGE)
        return age

    async def key_trial(self) -> KeyTrial | None:
        """Returns whether N8N accepted the API key when it was last sent; None if no recent attempt shows it."""
        async with self._database.reading() as connection:
            row = (await connection.execute(_LAST_DISPATCH)).one_or_none()
        return from_row(KeyTrial, row) if row else None

    async def _recent(self, statement: TextClause, period: timedelta) -> Recent:
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement, {"seconds": period.total_seconds()})).all()
        return Recent(rows[0].number if rows else 0, tuple(row.what for row in rows))

    async def _backlogs(self, statement: TextClause, parameters: Mapping[str, Any]) -> list[Backlog]:
        async with self._database.reading() as connection:
            rows = (await connection.execute(statement, parameters)).all()
        return [Backlog(row.kind, row.number, row.oldest_age) for row in rows]


def _why_unreadable(row: Row[Any]) -> str | None:
    if columns := out_of_range(row):
        return f"{', '.join(columns)} before the year 1 or after the year 9999"
    try:
        to_request(row)
    except UnreadableRequestError as error:
        return error.detail
    return None


@asynccontextmanager
async def inspection(
    url: str,
    patience: timedelta = TIMEOUT,
    destinations: Collection[Destination] | None = None,
    *,
    prepared_statements: bool = True,
) -> AsyncIterator[Inspection]:
    """Opens the database for inspection. Connects on the first check."""
    engine = open_engine(
        url,
        pool_size=CONNECTIONS,
        name="aigen-bridge doctor",
        timeout=patience,
        prepared_statements=prepared_statements,
    )
    database = Database(engine, patience)
    try:
        yield Inspection(database, destinations)
    finally:
        await database.close()
