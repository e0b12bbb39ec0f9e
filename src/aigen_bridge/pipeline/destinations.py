"""Pausing, resuming and limiting destinations: what is refused, and whom it may concern."""

from collections.abc import Awaitable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.destination import N8N, DestinationStatus, SeenLimit, by_public_name
from aigen_bridge.domain.errors import SharedDestinationError, UnknownDestinationError


class Store(Protocol):
    """The destinations."""

    async def overview(self, odoo: str | None = None) -> list[DestinationStatus]: ...

    async def pause(self, name: str, action: OperatorAction) -> bool: ...

    async def resume(self, name: str, action: OperatorAction, seen: datetime | None = None) -> bool: ...

    async def limit(
        self, name: str, concurrency: int | None, action: OperatorAction, seen: SeenLimit = "any"
    ) -> bool: ...


@dataclass(frozen=True, slots=True)
class DestinationChange:
    """A destination after an action. `changed` is false if it was already as wanted, which others may have done."""

    status: DestinationStatus
    changed: bool


@dataclass(frozen=True, slots=True)
class DestinationChanges:
    """Changes destinations. `most` is the highest limit of each, by name: what its workers can do."""

    store: Store
    most: Mapping[str, int]

    async def pause(self, name: str, action: OperatorAction) -> DestinationChange:
        """Pauses a destination for the reason in `note`. One that is paused already keeps its first reason.

        Raises `UnknownDestinationError`, or `SharedDestinationError` if it is not for the operator to change.
        """
        name = await self._checked(name, action)
        return await self._changed(name, action, self.store.pause(name, action))

    async def resume(self, name: str, action: OperatorAction, *, seen: datetime | None = None) -> DestinationChange:
        """Resumes a destination. With `seen`, only if it is still the pause that began then. Raises as `pause` does."""
        name = await self._checked(name, action)
        return await self._changed(name, action, self.store.resume(name, action, seen))

    async def limit(
        self, name: str, concurrency: int | None, action: OperatorAction, *, seen: SeenLimit = "any"
    ) -> DestinationChange:
        """Limits the calls in flight over all workers; None restores the setting.

        Changes nothing if the limit in force is not the one that was `seen`. Raises as `pause` does, and
        `InvalidMessageError` for a limit that is out of range.
        """
        name = await self._checked(name, action)
        most = self.most[name]
        if concurrency is not None and not 1 <= concurrency <= most:
            wrong = FieldError(
                field="concurrency",
                sent=str(concurrency)[:20],
                allowed=f"1 to {most}, or null for the setting; to send nothing, pause {name}",
                message="is out of range",
            )
            raise InvalidMessageError("The limit", [wrong])
        return await self._changed(name, action, self.store.limit(name, concurrency, action, seen))

    async def _checked(self, name: str, action: OperatorAction) -> str:
        name = by_public_name(name)
        await self._status(name, action.odoo)
        if action.odoo is not None and name == N8N.name:
            raise SharedDestinationError(name, action.odoo)
        return name

    async def _changed(self, name: str, action: OperatorAction, done: Awaitable[bool]) -> DestinationChange:
        changed = await done
        return DestinationChange(await self._status(name, action.odoo), changed)

    async def _status(self, name: str, odoo: str | None) -> DestinationStatus:
        found = {status.name: status for status in await self.store.overview(odoo)}
        if name not in found:
            raise UnknownDestinationError(name, found)
        return found[name]
