"""Keeps the incident of an image store that is away, and takes over a store."""

from datetime import timedelta

from sqlalchemy import text

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import ImageStoreAwayError
from aigen_bridge.domain.incident import Cause, Occurrence
from aigen_bridge.store import incidents
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_state import read_state
from aigen_bridge.store.images import ImageStore
from aigen_bridge.store.operations import record

QUIET = timedelta(seconds=45)
"""Workers may see the store differently. The incident ends when none has seen it away for so long."""

_IS_AWAY = text(
    f"SELECT EXISTS (SELECT FROM incidents WHERE cause = '{Cause.IMAGE_STORE_DOWN}' AND recovered_at IS NULL)"  # noqa: S608 - a constant of this package
)


async def adopt(database: Database, images: ImageStore, action: OperatorAction) -> None:
    """Makes the store this database's, and records who did. Raises `ImageStoreAwayError`."""
    await images.adopt()
    location = (await read_state(database)).location
    async with database.transaction() as connection:
        await record(connection, action, "adopt", "images", None, after={"location": location})


class ImageStoreWatch:
    """Keeps the incident of an image store that is away."""

    def __init__(self, database: Database, images: ImageStore, alert_window: timedelta) -> None:
        self._database = database
        self._images = images
        self._alert_window = alert_window

    async def look(self) -> str | None:
        """Records whether the store is away. Returns the reason if it is."""
        try:
            await self._images.check()
        except ImageStoreAwayError as error:
            await self._record(error.reason)
            return error.reason
        await self._recover()
        return None

    async def _record(self, reason: str) -> None:
        async with self._database.transaction() as connection:
            occurrence = Occurrence(Cause.IMAGE_STORE_DOWN, reason)
            await incidents.record_state(connection, occurrence, self._alert_window)

    async def _recover(self) -> None:
        async with self._database.reading() as connection:
            is_away = await connection.scalar(_IS_AWAY)
        if is_away:
            async with self._database.transaction() as connection:
                await incidents.recover(connection, Cause.IMAGE_STORE_DOWN.value, quiet=QUIET)
