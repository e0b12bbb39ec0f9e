"""Odoo → bridge: store the request, then answer. Asking again with the same content changes nothing."""

from collections.abc import Awaitable, Callable

from aigen_bridge.contracts.v1 import ImageRequested
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.request import ImageRequest
from aigen_bridge.store.requests import NewRequest

Store = Callable[[NewRequest], Awaitable[tuple[ImageRequest, bool]]]
"""Stores one request durably; answers with the request as it is now and whether it is new."""


async def accept(store: Store, event: ImageRequested, traceparent: str | None = None) -> tuple[ImageRequest, bool]:
    """The stored request, and whether it is new. It is committed, with its `dispatch` entry.

    `traceparent` is the trace that everything done for it will belong to.

    Raises `ContradictionError` when the id is known with other content, `StoreUnavailableError` when nothing
    was stored.
    """
    new = NewRequest(event.request_id, event.correlation_id, event.stored_form(), traceparent)
    request, created = await store(new)
    if not created and request.event != new.event:
        raise ContradictionError(
            "request_contradicts",
            f"Request {request.request_id} is known with other content: {_changed(request, new)} differ.",
        )
    return request, created


def _changed(known: ImageRequest, new: NewRequest) -> str:
    fields = known.event.keys() | new.event.keys()
    return ", ".join(sorted(f for f in fields if known.event.get(f) != new.event.get(f)))
