"""Changes the catalogue of models. Each change is recorded in its transaction."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import UnknownModelError
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import record

_PUT = text("""
    INSERT INTO models (model_id, entry, is_active) VALUES (:model_id, :entry, :is_active)
    ON CONFLICT (model_id) DO UPDATE
    SET entry = excluded.entry, is_active = excluded.is_active, updated_at = now()
    WHERE (models.entry, models.is_active) IS DISTINCT FROM (excluded.entry, excluded.is_active)
""").bindparams(bindparam("entry", type_=JSONB))
_REMOVE = text("DELETE FROM models WHERE model_id = :model_id")


class CatalogueChanges:
    """Puts and removes models. Methods raise `StoreUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, entries: Mapping[UUID, ModelEntry], action: OperatorAction) -> list[UUID]:
        """Adds or replaces these models in one transaction. Returns the ids of those that changed."""
        changed = []
        async with self._database.transaction() as connection:
            for model_id, entry in sorted(entries.items()):  # the same lock order in all processes
                row = {"model_id": model_id, "entry": entry.stored(), "is_active": entry.active}
                if (await connection.execute(_PUT, row)).rowcount:
                    await record(connection, action, "put", f"model:{model_id}", None)
                    changed.append(model_id)
        return changed

    async def remove(self, model_id: UUID, action: OperatorAction) -> None:
        """Removes a model. Requests that were accepted keep its entry. Raises `UnknownModelError`."""
        async with self._database.transaction() as connection:
            if not (await connection.execute(_REMOVE, {"model_id": model_id})).rowcount:
                raise UnknownModelError(model_id)
            await record(connection, action, "remove", f"model:{model_id}", None)
