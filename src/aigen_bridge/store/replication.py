"""Read-only checks of the servers behind the database's URL: which is the primary, and how far its standbys are."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import psycopg
from sqlalchemy import text

from aigen_bridge.store.connection import connect_arguments, reason, secrets_hidden
from aigen_bridge.store.cut import Cut, cut_after
from aigen_bridge.store.database import Database
from aigen_bridge.store.hosts import USUAL_PORT, each_server
from aigen_bridge.store.rows import from_row

_ROLE = """
    SELECT pg_postmaster_start_time(), pg_is_in_recovery(),
        CAST(CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()
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
        current_setting('synchronous_commit') AS synchronous_commit, current_user AS role,
        CASE WHEN current_setting('archive_mode') <> 'off'
            AND a.last_failed_time > coalesce(a.last_archived_time, '-infinity')
            THEN a.last_failed_wal END AS unarchived
    FROM pg_stat_archiver AS a
""")


@dataclass(frozen=True, slots=True)
class Server:
    """One address of the URL. `position` is in its WAL, in bytes. `error` says why it cannot be asked.

    `started` identifies the server: it is the same through all of its addresses and poolers.
    """

    name: str
    host: str = ""
    is_ipv6: bool = False
    started: datetime | None = None
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
    """The standbys of the primary, and the settings that decide whether a commit waits for them.

    `unarchived` is the file of the write-ahead log that `archive_command` could not archive when it was last run.
    """

    standby_names: str
    synchronous_commit: str
    role: str
    standbys: Sequence[Standby]
    unarchived: str | None = None

    @property
    def is_synchronous(self) -> bool:
        """True if a commit waits for a standby."""
        return bool(self.standby_names) and self.synchronous_commit != "local"


async def replication(database: Database) -> Replication:
    """Returns what the primary knows of its standbys."""
    async with database.reading() as connection:
        settings = (await connection.execute(_SETTINGS)).one()
        rows = (await connection.execute(_STANDBYS)).all()
    return from_row(Replication, settings, standbys=[from_row(Standby, row) for row in rows])


async def servers(url: str, patience: timedelta) -> list[Server]:
    """Asks each server of the URL for its role, all at once."""
    arguments = connect_arguments(url, name="aigen-bridge doctor", timeout=patience, settings={})
    arguments["target_session_attrs"] = "any"
    asked = [_ask(arguments | server, patience.total_seconds()) for server in await each_server(arguments, None)]
    return distinct(await asyncio.gather(*asked))


def distinct(found: Sequence[Server]) -> list[Server]:
    """Leaves out further addresses of the same server.

    An address that does not answer is left out if the name leads to a server by its other kind of addresses, IPv4 or
    IPv6. Many servers listen on one kind.
    """
    answering: dict[datetime | None, Server] = {}
    for server in found:
        answering.setdefault(server.started, server)
    reached = {(server.host, server.is_ipv6) for server in found if not server.error}
    return [
        server
        for server in found
        if ((server.host, not server.is_ipv6) not in reached if server.error else answering[server.started] is server)
    ]


async def _ask(arguments: dict[str, Any], seconds: float) -> Server:
    host, address, port = (arguments.get(name) or "" for name in ("host", "hostaddr", "port"))
    name = f"{host or address}:{port or USUAL_PORT}" + (f" ({address})" if host and address not in {"", host} else "")
    asked = Server(name, host, ":" in address)
    with cut_after(seconds) as cut:
        try:
            started, is_standby, position = await _role(arguments, cut)
        except (psycopg.Error, OSError) as error:
            return replace(asked, error=f"no answer within {seconds:g} s" if cut.made else reason(error))
    return replace(asked, started=started, is_standby=is_standby, position=position or 0)


async def _role(arguments: dict[str, Any], cut: Cut) -> Any:
    with secrets_hidden(arguments):
        async with await psycopg.AsyncConnection.connect(**arguments, autocommit=True) as connection:
            cut.watch(connection)
            return await (await connection.execute(_ROLE)).fetchone()
