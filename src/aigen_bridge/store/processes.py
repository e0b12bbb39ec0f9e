"""Counts the bridge's processes that are connected to the database."""

from dataclasses import dataclass

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.store.database import LISTENER
from aigen_bridge.store.rows import from_row

_PROCESSES = text("""
    SELECT (SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = :listener)
            AS workers,
        (SELECT count(DISTINCT (application_name, client_addr)) FROM pg_stat_activity
            WHERE datname = current_database() AND application_name LIKE 'aigen-bridge api %') AS apis
""")


@dataclass(frozen=True, slots=True)
class Processes:
    """Connected processes. `workers` are those that listen for entries; `apis` is a lower bound."""

    workers: int
    apis: int


async def connected(connection: AsyncConnection) -> Processes:
    """Counts the connected processes."""
    return from_row(Processes, (await connection.execute(_PROCESSES, {"listener": LISTENER})).one())
