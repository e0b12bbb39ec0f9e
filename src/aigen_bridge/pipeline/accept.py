"""Odoo → bridge: stores a request, then responds. Repeating it with the same content changes nothing."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Protocol
from uuid import UUID

from aigen_bridge.contracts.refusal import InvalidMessageError, quoted
from aigen_bridge.contracts.v1 import ImageRequested
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.budget import BudgetExceededError, Exceeded, RateMissingError, Refusal, Unconvertible
from aigen_bridge.domain.catalogue import Catalogue, Refused
from aigen_bridge.domain.errors import ContradictionError, RequestIdTakenError
from aigen_bridge.domain.request import ImageRequest, NewRequest


class Store(Protocol):
    """The requests."""

    async def accept(self, new: NewRequest) -> tuple[ImageRequest, bool] | Refusal: ...

    async def get(self, request_id: UUID, odoo: str | None = None) -> ImageRequest | None: ...


class Models(Protocol):
    """The catalogue of models: as it is now, or as it was a moment ago."""

    async def read(self) -> Catalogue: ...

    async def recent(self) -> Catalogue: ...


async def accept(
    store: Store, models: Models, event: ImageRequested, *, client: str, odoo: str, traceparent: str | None = None
) -> tuple[ImageRequest, bool]:
    """Stores a request with its `dispatch` entry. Returns it after the commit, and whether it is new.

    `client` is who asked, `odoo` the Odoo that gets the result, `traceparent` the trace of everything done for the
    request. Raises `InvalidMessageError` if the catalogue refuses a new request, `BudgetExceededError` and
    `RateMissingError` if a budget does, `RequestIdTakenError` if the id is known from another Odoo,
    `ContradictionError` if it is known with other content, and `StoreUnavailableError`. Then nothing was stored.
    """
    new = NewRequest(event.request_id, event.correlation_id, event.stored_form(), traceparent, client, odoo)
    catalogue, refused = await _judge(models, new)
    if not refused:
        model = catalogue.models.get(event.model_id)
        stored = await store.accept(replace(new, model=model.entry if model else None))
        request, created = _unless_refused(stored)
    elif known := await store.get(new.request_id, odoo):  # a request that is known stays accepted
        request, created = known, False
    else:
        raise InvalidMessageError("EVT-AIG-001", [_field_error(each, new.event) for each in refused])
    if request.odoo != odoo:
        raise RequestIdTakenError(request.request_id)
    if not created and request.event != new.event:
        raise ContradictionError(
            "request_contradicts",
            f"Request {request.request_id} is known with other content: {_different_fields(request, new)} differ.",
        )
    return request, created


def _unless_refused(stored: tuple[ImageRequest, bool] | Refusal) -> tuple[ImageRequest, bool]:
    """Returns what was stored. Raises the error of a budget's refusal."""
    match stored:
        case Exceeded():
            raise BudgetExceededError(stored)
        case Unconvertible():
            raise RateMissingError(stored)
    return stored


async def _judge(models: Models, new: NewRequest) -> tuple[Catalogue, list[Refused]]:
    """Returns the catalogue, and what it refuses of a request. An entry that was just put counts at once."""
    catalogue = await models.recent()
    if refused := catalogue.refusals(new.event):
        catalogue = await models.read()
        refused = catalogue.refusals(new.event)
    return catalogue, refused


def _field_error(refused: Refused, event: Mapping[str, Any]) -> FieldError:
    sent = quoted(event.get(refused.field))
    return FieldError(field=refused.field, sent=sent, allowed=refused.allowed, message=refused.message)


def _different_fields(known: ImageRequest, new: NewRequest) -> str:
    fields = known.event.keys() | new.event.keys()
    return ", ".join(sorted(name for name in fields if known.event.get(name) != new.event.get(name)))
