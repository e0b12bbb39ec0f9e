"""Changes the catalogue of models. Each change is recorded in its transaction."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB

from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import UnknownModelError
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import changed, record

_PUT = text("""
    INSERT INTO models (model_id, entry, is_active) VALUES (:model_id, :entry, :is_active)
    ON CONFLICT (model_id) DO UPDATE
    SET entry = excluded.entry, is_active = excluded.is_active, updated_at = now()
    WHERE (models.entry, models.is_active) IS DISTINCT FROM (excluded.entry, excluded.is_active)
""").bindparams(bindparam("entry", type_=JSONB))
_REMOVE = text("DELETE FROM models WHERE model_id = :model_id RETURNING entry, is_active")
_FIND = text("SELECT entry, is_active FROM models WHERE model_id = :model_id FOR UPDATE")


class CatalogueChanges:
    """Puts and removes models. Methods raise `StoreUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(self, entries: Mapping[UUID, ModelEntry], action: OperatorAction) -> list[UUID]:
        """Adds or replaces these models in one transaction. Returns the ids of those that changed."""
        put = []
        async with self._database.transaction() as connection:
            for model_id, entry in sorted(entries.items()):  # the same lock order in all processes
                stored = entry.stored()
                row = {"model_id": model_id, "entry": stored, "is_active": entry.active}
                known = (await connection.execute(_FIND, {"model_id": model_id})).one_or_none()
                if (await connection.execute(_PUT, row)).rowcount:
                    change = changed(_fields(known), stored | {"active": entry.active})
                    await record(connection, action, "put", f"model:{model_id}", None, **change)
                    put.append(model_id)
        return put

    async def remove(self, model_id: UUID, action: OperatorAction) -> None:
        """Removes a model. Requests that were accepted keep its entry. Raises `UnknownModelError`."""
        async with self._database.transaction() as connection:
            known = (await connection.execute(_REMOVE, {"model_id": model_id})).one_or_none()
            if known is None:
                raise UnknownModelError(model_id)
            await record(connection, action, "remove", f"model:{model_id}", None, **changed(_fields(known), None))


def _fields(row: Row[Any] | None) -> dict[str, Any] | None:
    """Returns the fields of a stored model, as an operator puts them. An entry that cannot be read has none."""
    if row is None:
        return None
    return (row.entry if isinstance(row.entry, dict) else {}) | {"active": row.is_active}
