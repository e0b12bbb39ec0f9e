"""Changes the catalogue of models. Each change is recorded in its transaction."""

from collections.abc import Mapping
from uuid import UUID

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import UnknownModelError
from aigen_bridge.domain.seen import Seen
from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import record

_LOCK = text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge models'))")
"""Changes of the catalogue wait for each other, so that what an operator saw can be compared also with no entry."""
_UPDATED_AT = text("SELECT updated_at FROM models WHERE model_id = :model_id")
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

    async def put(
        self, entries: Mapping[UUID, ModelEntry], action: OperatorAction, *, seen: Seen | None = None
    ) -> list[UUID]:
        """Adds or replaces these models in one transaction. Returns the ids of those that changed.

        With `seen`, raises `ChangedMeanwhileError` if the operator saw another state of one of them.
        """
        changed = []
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            for model_id, entry in sorted(entries.items()):  # the lock order of processes of earlier versions
                await _check(connection, model_id, seen)
                row = {"model_id": model_id, "entry": entry.stored(), "is_active": entry.active}
                if (await connection.execute(_PUT, row)).rowcount:
                    await record(connection, action, "put", f"model:{model_id}", None)
                    changed.append(model_id)
        return changed

    async def remove(self, model_id: UUID, action: OperatorAction, *, seen: Seen | None = None) -> None:
        """Removes a model. Requests that were accepted keep its entry. Raises `UnknownModelError`.

        With `seen`, raises `ChangedMeanwhileError` if the operator saw another state of it.
        """
        async with self._database.transaction() as connection:
            await connection.execute(_LOCK)
            await _check(connection, model_id, seen)
            if not (await connection.execute(_REMOVE, {"model_id": model_id})).rowcount:
                raise UnknownModelError(model_id)
            await record(connection, action, "remove", f"model:{model_id}", None)


async def _check(connection: AsyncConnection, model_id: UUID, seen: Seen | None) -> None:
    if seen is not None:
        seen.check(await connection.scalar(_UPDATED_AT, {"model_id": model_id}), f"the model {model_id}")
