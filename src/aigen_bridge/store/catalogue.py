"""Reads the catalogue of models from PostgreSQL. A process keeps what it has read for a short time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy import Row, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.contracts.models import ModelEntry, read_entry, to_model
from aigen_bridge.contracts.wording import predicate
from aigen_bridge.domain.catalogue import Model
from aigen_bridge.store.database import Database
from aigen_bridge.store.fresh import Fresh

FRESH_SECONDS = 2.0
"""The time for which an API process uses what it has read."""

_READ = text("SELECT model_id, entry, is_active, updated_at FROM models")

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Listed:
    """An entry of the catalogue, as it was put, and as the rules know it."""

    model: Model
    entry: ModelEntry
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Known:
    """The catalogue at one time, by the id of the model. `unreadable` has the reasons why entries cannot be read."""

    listed: Mapping[UUID, Listed] = field(default_factory=dict)
    unreadable: Mapping[UUID, str] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        """True if there is no entry. Then every model and parameter is accepted."""
        return not (self.listed or self.unreadable)


class Catalogue:
    """The catalogue of models. Methods raise `StoreUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._fresh = Fresh(self.read, fresh=FRESH_SECONDS, patience=database.timeout.total_seconds())

    async def read(self) -> Known:
        """Returns the catalogue as it is now. Logs entries that cannot be read."""
        async with self._database.reading() as connection:
            known = await read_catalogue(connection)
        for model_id, reason in known.unreadable.items():
            log.error("model.unreadable", model_id=str(model_id), detail=reason)
        return known

    async def recent(self) -> Known:
        """Returns the catalogue as it was at most `FRESH_SECONDS` ago."""
        return await self._fresh.get()

    async def aclose(self) -> None:
        """Ends a query that is under way."""
        await self._fresh.close()


async def read_catalogue(connection: AsyncConnection) -> Known:
    """Returns the catalogue."""
    listed: dict[UUID, Listed] = {}
    unreadable: dict[UUID, str] = {}
    for row in await connection.execute(_READ):
        try:
            listed[row.model_id] = _listed(row)
        except ValidationError as error:
            wrong = error.errors(include_url=False)[0]
            unreadable[row.model_id] = f"{'.'.join(map(str, wrong['loc'])) or 'the entry'} {predicate(wrong)}"
        except (TypeError, ValueError):
            unreadable[row.model_id] = "the entry must be an object"
    return Known(listed, unreadable)


def _listed(row: Row[tuple[UUID, dict[str, object], bool, datetime]]) -> Listed:
    entry = read_entry(row.entry, is_active=row.is_active)
    return Listed(to_model(row.model_id, entry, row.entry), entry, row.updated_at)
