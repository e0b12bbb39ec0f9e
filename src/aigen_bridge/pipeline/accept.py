"""Odoo → bridge: stores a request, then responds. Repeating it with the same content changes nothing."""

from typing import Protocol

from aigen_bridge.contracts.v1 import ImageRequested
from aigen_bridge.domain.budget import BudgetExceededError, Exceeded, RateMissingError, Refusal, Unconvertible
from aigen_bridge.domain.errors import ContradictionError, RequestIdTakenError
from aigen_bridge.domain.request import ImageRequest, NewRequest


class Store(Protocol):
    """The requests."""

    async def accept(self, new: NewRequest) -> tuple[ImageRequest, bool] | Refusal: ...


async def accept(
    store: Store, event: ImageRequested, *, client: str, odoo: str, traceparent: str | None = None
) -> tuple[ImageRequest, bool]:
    """Stores a request with its `dispatch` entry. Returns it after the commit, and whether it is new.

    `client` is who asked, `odoo` the Odoo that gets the result, `traceparent` the trace of everything done for the
    request. Raises `RequestIdTakenError` if the id is known from another Odoo, `ContradictionError` if it is known with
    other content, `BudgetExceededError` and `RateMissingError` if a budget refuses it, and `StoreUnavailableError`. Then
    nothing was stored.
    """
    new = NewRequest(event.request_id, event.correlation_id, event.stored_form(), traceparent, client, odoo)
    stored = await store.accept(new)
    if isinstance(stored, Exceeded):
        raise BudgetExceededError(stored)
    if isinstance(stored, Unconvertible):
        raise RateMissingError(stored)
    request, created = stored
    if request.odoo != odoo:
        raise RequestIdTakenError(request.request_id)
    if not created and request.event != new.event:
        raise ContradictionError(
            "request_contradicts",
            f"Request {request.request_id} is known with other content: {_different_fields(request, new)} differ.",
        )
    return request, created


def _different_fields(known: ImageRequest, new: NewRequest) -> str:
    fields = known.event.keys() | new.event.keys()
    return ", ".join(sorted(name for name in fields if known.event.get(name) != new.event.get(name)))
