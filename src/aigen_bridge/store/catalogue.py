"""The catalogue of models in PostgreSQL. A process that accepts requests keeps what it has read for a short time."""

from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.contracts.models import to_model
from aigen_bridge.contracts.wording import predicate
from aigen_bridge.domain.catalogue import Catalogue, Model
from aigen_bridge.store.database import Database
from aigen_bridge.store.fresh import Fresh

FRESH_SECONDS = 2.0
"""The time for which an API process uses what it has read."""

_READ = text("SELECT model_id, entry, is_active, updated_at FROM models")

log = structlog.get_logger(__name__)


class Models:
    """The catalogue. Methods raise `StoreUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh = Fresh(self.read, fresh=FRESH_SECONDS, patience=database.timeout.total_seconds())

    async def read(self) -> Catalogue:
        """Returns the catalogue as it is now. Logs entries that cannot be read."""
        async with self._database.reading() as connection:
            found = await read_catalogue(connection)
        for model_id, reason in found.unreadable.items():
            log.error("model.unreadable", model_id=str(model_id), detail=reason)
        return found

    async def recent(self) -> Catalogue:
        """Returns the catalogue as it was at most `FRESH_SECONDS` ago."""
        return await self._fresh.get()

    def forget(self) -> None:
        """Reads the catalogue again for the next request, because this process has changed it."""
        self._fresh.forget()

    async def aclose(self) -> None:
        """Ends a query that is under way."""
        await self._fresh.close()


async def read_catalogue(connection: AsyncConnection) -> Catalogue:
    """Returns the catalogue as it is now."""
    models: dict[UUID, Model] = {}
    unreadable: dict[UUID, str] = {}
    for row in await connection.execute(_READ):
        name = row.model_id
        try:
            models[name] = to_model(name, row.entry, is_active=row.is_active, updated_at=row.updated_at)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            unreadable[name] = f"{'.'.join(map(str, wrong['loc'])) or 'the entry'} {predicate(wrong)}"
    return Catalogue(models=models, unreadable=unreadable)
