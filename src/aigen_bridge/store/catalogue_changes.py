"""Changes the catalogue of models. Each change is recorded in its transaction."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Row, bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import UnknownModelError
from aigen_bridge.domain.seen import Seen
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import changed, record

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge models'))")
"""Changes of the catalogue wait for each other, so that what an operator saw can be compared also with no entry."""
_PUT = text("""
    INSERT INTO models (model_id, entry, is_active) VALUES (:model_id, :entry, :is_active)
    ON CONFLICT (model_id) DO UPDATE
    SET entry = excluded.entry, is_active = excluded.is_active, updated_at = now()
    WHERE (models.entry, models.is_active) IS DISTINCT FROM (excluded.entry, excluded.is_active)
""").bindparams(bindparam("entry", type_=JSONB))
_REMOVE = text("DELETE FROM models WHERE model_id = :model_id")
_FIND = text("SELECT entry, is_active, updated_at FROM models WHERE model_id = :model_id FOR UPDATE")


class CatalogueChanges:
    """Puts and removes models. Methods raise `StoreUnavailableError`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def put(
        self, entries: Mapping[UUID, ModelEntry], action: OperatorAction, *, seen: Seen | None = None
    ) -> list[UUID]:
        """Adds or replaces these models in one transaction. Returns the ids of those that changed.

        With `seen`, raises `ChangedMeanwhileError` if the operator saw another state of one of them.
        """
        put = []
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            for model_id, entry in sorted(entries.items()):  # the lock order of processes of earlier versions
                stored = entry.stored()
                row = {"model_id": model_id, "entry": stored, "is_active": entry.active}
                known = await _found(connection, model_id, seen)
                if (await connection.execute(_PUT, row)).rowcount:
                    change = changed(_fields(known), stored | {"active": entry.active})
                    await record(connection, action, "put", f"model:{model_id}", None, **change)
                    put.append(model_id)
        return put

    async def remove(self, model_id: UUID, action: OperatorAction, *, seen: Seen | None = None) -> None:
        """Removes a model. Requests that were accepted keep its entry. Raises `UnknownModelError`.

        With `seen`, raises `ChangedMeanwhileError` if the operator saw another state of it.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            known = await _found(connection, model_id, seen)
            if known is None:
                raise UnknownModelError(model_id)
            await connection.execute(_REMOVE, {"model_id": model_id})
            await record(connection, action, "remove", f"model:{model_id}", None, **changed(_fields(known), None))


async def _found(connection: AsyncConnection, model_id: UUID, seen: Seen | None) -> Row[Any] | None:
    """Returns the row of a model, and locks it. Raises `ChangedMeanwhileError` if the operator saw another state."""
    row = (await connection.execute(_FIND, {"model_id": model_id})).one_or_none()
    if seen is not None:
        seen.check(row.updated_at if row else None, f"the model {model_id}")
    return row


def _fields(row: Row[Any] | None) -> dict[str, Any] | None:
    """Returns the fields of a stored model, as an operator puts them. An entry that cannot be read has none."""
    if row is None:
        return None
    return (row.entry if isinstance(row.entry, dict) else {}) | {"active": row.is_active}
