"""Proof that requests can be accepted: with the tables of this version, and by a write that reaches the disk."""

from uuid import uuid4

from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store import migrations
from aigen_bridge.store.database import Database
from aigen_bridge.store.requests import insert_requests

PROBE = {"probe": "x" * 1000}
"""About the size of an event."""


class WriteProof:
    """Asks the database whether the bridge can take requests."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def prove(self) -> None:
        """Requests can be accepted. Raises `StoreUnavailableError` if not."""
        found, expected = await migrations.current(self._database), migrations.head()
        if found is None or migrations.is_older(found):  # a newer one is fine: upgrades migrate first
            raise StoreUnavailableError(
                f"The database is at revision {found}, this version needs {expected}: run 'aigen-bridge migrate'."
            )
        await self._write()

    async def _write(self) -> None:
        """Accept a request as always, undo it, and commit: the log is written to the disk, and nobody sees anything."""
        async with self._database.transaction() as connection:
            probe = await connection.begin_nested()
            await insert_requests(connection, [NewRequest(uuid4(), uuid4(), PROBE)])
            await probe.rollback()
