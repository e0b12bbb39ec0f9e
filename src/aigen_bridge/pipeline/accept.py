"""Odoo → bridge: store the request, then answer. Asking again with the same content changes nothing."""

from typing import Protocol

from aigen_bridge.contracts.v1 import ImageRequested
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.request import ImageRequest, NewRequest


class Store(Protocol):
    """The requests."""

    async def accept(self, new: NewRequest) -> tuple[ImageRequest, bool]: ...


async def accept(
    store: Store, event: ImageRequested, *, client: str, traceparent: str | None = None
) -> tuple[ImageRequest, bool]:
    """The stored request, and whether it is new. It is committed, with its `dispatch` entry.

    `client` is who asked, `traceparent` the trace of everything done for the request. Raises `ContradictionError` when
    the id is known with other content, `StoreUnavailableError` when nothing was stored.
    """
    new = NewRequest(event.request_id, event.correlation_id, event.stored_form(), traceparent, client)
    request, created = await store.accept(new)
    if not created and request.event != new.event:
        raise ContradictionError(
            "request_contradicts",
            f"Request {request.request_id} is known with other content: {_differing(request, new)} differ.",
        )
    return request, created


def _differing(known: ImageRequest, new: NewRequest) -> str:
    fields = known.event.keys() | new.event.keys()
    return ", ".join(sorted(f for f in fields if known.event.get(f) != new.event.get(f)))
