"""Checks that requests can be accepted: that the tables are of this version, and that a write reaches the disk."""

from uuid import uuid4

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store import migrations
from aigen_bridge.store.database import Database
from aigen_bridge.store.requests import insert_requests

PROBE = {"probe": "x" * 1000}
"""An event of typical size."""


class WriteProof:
    """Checks whether the database can accept requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prove(self) -> None:
        """Raises `StoreUnavailableError` if requests cannot be accepted."""
        found, expected = await migrations.current(self._database), migrations.head()
        if found is None or migrations.is_older(found):  # a newer one is fine: upgrades migrate first
            raise StoreUnavailableError(
                f"The database is at revision {found}, this version needs {expected}: run 'aigen-bridge migrate'."
            )
        await self._write()

    async def _write(self) -> None:
        """Accepts a request, rolls back to a savepoint and commits: the WAL is flushed, and nothing becomes visible."""
        async with self._database.transaction() as connection:
            probe = await connection.begin_nested()
            await insert_requests(connection, [NewRequest(uuid4(), uuid4(), PROBE)])
            await probe.rollback()
