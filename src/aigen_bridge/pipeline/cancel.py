"""Cancels a request before it has ended."""

from typing import Protocol
from uuid import UUID

from aigen_bridge.domain.errors import ContradictionError, UnknownRequestError
from aigen_bridge.domain.request import FINAL, ImageRequest, Status, Transition


class Requests(Protocol):
    """The requests."""

    async def get(self, request_id: UUID, odoo: str | None = None) -> ImageRequest | None: ...


class Store(Requests, Protocol):
    """The requests, with what changes them."""

    async def apply(self, transition: Transition) -> bool: ...


async def cancel(store: Store, request_id: UUID, *, by: str, odoo: str | None = None) -> ImageRequest:
    """Cancels a request and returns it. `by` is the client who asked for it.

    With `odoo`, a request of another Odoo is unknown. Raises `UnknownRequestError`, and `ContradictionError` if the
    request has already ended.
    """
    if odoo is not None and await store.get(request_id, odoo) is None:  # before the write
        raise UnknownRequestError(request_id)
    return await outcome(store, request_id, moved=await store.apply(cancellation(request_id, by)))


def cancellation(request_id: UUID, by: str) -> Transition:
    """Returns the transition of a cancel."""
    open_states = frozenset(Status) - FINAL
    return Transition(request_id=request_id, before=open_states, after=Status.CANCELLED, note=f"cancelled by {by}")


async def outcome(store: Requests, request_id: UUID, *, moved: bool) -> ImageRequest:
    """Returns the request after a cancel, which moved it or not. Raises as `cancel` does."""
    request = await store.get(request_id)
    if request is None:
        raise UnknownRequestError(request_id)
    if not moved:
        raise ContradictionError("request_ended", f"Request {request_id} has already ended: it is {request.status}.")
    return request
