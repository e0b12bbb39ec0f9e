"""A person withdraws a request before it has ended."""

from typing import Protocol
from uuid import UUID

from aigen_bridge.domain.errors import ContradictionError, UnknownRequestError
from aigen_bridge.domain.request import FINAL, Change, ImageRequest, Status


class Store(Protocol):
    """What this step needs of the store."""

    async def get(self, request_id: UUID) -> ImageRequest | None: ...

    async def move(self, change: Change) -> int | None: ...


async def cancel(store: Store, request_id: UUID, *, by: str) -> ImageRequest:
    """The cancelled request. `by` is the client who asked for it.

    Raises `UnknownRequestError`, and `ContradictionError` when it has already ended.
    """
    open_states = frozenset(Status) - FINAL
    change = Change(request_id=request_id, before=open_states, after=Status.CANCELLED, note=f"cancelled by {by}")
    moved = await store.move(change)
    request = await store.get(request_id)
    if request is None:
        raise UnknownRequestError(request_id)
    if moved is None:
        raise ContradictionError("request_ended", f"Request {request_id} has already ended: it is {request.status}.")
    return request
