"""Checks that requests can be accepted: the rights on the tables, their version, and that a write reaches the disk."""

from uuid import uuid4

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store import migrations
from aigen_bridge.store.accepts import Booking, insert_requests
from aigen_bridge.store.database import Database
from aigen_bridge.store.rights import refuse_missing_rights

PROBE = {"probe": "x" * 1000}
"""An event of typical size."""


async def prove_writable(database: Database) -> None:
    """Raises `StoreUnavailableError` if requests cannot be accepted, or could not be carried out.

    Accepts a request, rolls back to a savepoint and commits: the WAL is flushed, and nothing becomes visible.
    """
    await refuse_missing_rights(database)  # first: without SELECT the revision cannot be read
    found, expected = await migrations.current(database), migrations.head()
    if found is None or migrations.is_older(found):  # a newer one is fine: upgrades migrate first
        raise StoreUnavailableError(
            f"The database is at revision {found}, this version needs {expected}: run 'aigen-bridge migrate'."
        )
    async with database.transaction() as connection:
        savepoint = await connection.begin_nested()
        await insert_requests(connection, [NewRequest(uuid4(), uuid4(), PROBE)], Booking())
        await savepoint.rollback()
