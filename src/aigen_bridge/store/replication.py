"""Read-only checks of the servers behind the database's URL: which is the primary, and how far its standbys are."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import psycopg
from sqlalchemy import text

from aigen_bridge.store.connection import connect_arguments, reason, secrets_hidden
from aigen_bridge.store.database import Database
from aigen_bridge.store.hosts import USUAL_PORT, each_server
from aigen_bridge.store.rows import from_row

_ROLE = """
    SELECT pg_is_in_recovery(), CAST(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
        ELSE pg_current_wal_lsn() END - pg_lsn '0/0' AS bigint)
"""
_STANDBYS = text("""
    SELECT concat_ws(' at ', NULLIF(r.application_name, ''), host(r.client_addr)) AS name, r.sync_state,
        r.replay_lag AS lag, CAST(pg_current_wal_lsn() - r.replay_lsn AS bigint) AS behind
    FROM pg_stat_replication AS r LEFT JOIN pg_replication_slots AS slot ON slot.active_pid = r.pid
    WHERE slot.slot_type IS DISTINCT FROM 'logical' AND r.state IS DISTINCT FROM 'backup' AND NOT pg_is_in_recovery()
    ORDER BY r.application_name, r.pid
""")
_SETTINGS = text("""
    SELECT current_setting('synchronous_standby_names') AS standby_names,
        current_setting('synchronous_commit') AS synchronous_commit, current_user AS role
""")


@dataclass(frozen=True, slots=True)
class Server:
    """One address of the URL. `position` is in its WAL, in bytes. `error` says why it cannot be asked."""

    name: str
    is_standby: bool = False
    position: int = 0
    error: str = ""


@dataclass(frozen=True, slots=True)
class Standby:
    """A standby as the primary sees it. All but `name` is None for roles without `pg_monitor`, and `name` is empty.

    `lag` is None if nothing was written lately; `behind` is in bytes.
    """

    name: str
    sync_state: str | None
    lag: timedelta | None
    behind: int | None


@dataclass(frozen=True, slots=True)
class Replication:
    """The standbys of the primary, and the settings that decide whether a commit waits for them."""

    standby_names: str
    synchronous_commit: str
    role: str
    standbys: Sequence[Standby]

    @property
    def is_synchronous(self) -> bool:
        """Whether a commit waits for a standby."""
        return bool(self.standby_names) and self.synchronous_commit != "local"


async def replication(database: Database) -> Replication:
    """Returns what the primary knows of its standbys."""
    async with database.reading() as connection:
        settings = (await connection.execute(_SETTINGS)).one()
        rows = (await connection.execute(_STANDBYS)).all()
    return from_row(Replication, settings, standbys=[from_row(Standby, row) for row in rows])


async def servers(url: str, patience: timedelta) -> list[Server]:
    """Asks each address of the URL for its role, all at once."""
    arguments = connect_arguments(url, name="aigen-bridge doctor", timeout=patience, settings={})
    arguments["target_session_attrs"] = "any"
    asked = [_ask(arguments | server, patience) for server in await each_server(arguments, None)]
    return await asyncio.gather(*asked)


async def _ask(arguments: dict[str, Any], patience: timedelta) -> Server:
    host, address, port = (arguments.get(name) or "" for name in ("host", "hostaddr", "port"))
    name = f"{host or address}:{port or USUAL_PORT}" + (f" ({address})" if host and address not in {"", host} else "")
    try:
        with secrets_hidden(arguments):
            async with (
                asyncio.timeout(patience.total_seconds()),
                await psycopg.AsyncConnection.connect(**arguments, autocommit=True) as connection,
            ):
                is_standby, position = await (await connection.execute(_ROLE)).fetchone() or (False, 0)
    except (psycopg.Error, OSError) as error:  # a TimeoutError is an OSError
        return Server(name, error=reason(error))
    return Server(name, is_standby, position or 0)
