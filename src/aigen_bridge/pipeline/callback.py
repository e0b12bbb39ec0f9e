"""N8N → bridge: checks a result, stores it, then responds. Repeats change nothing, contradictions are refused."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol
from uuid import UUID

import structlog

from aigen_bridge import metrics, tracing
from aigen_bridge.contracts.messages import Callback
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed
from aigen_bridge.domain.callback import Available, Completed, Failed, Keep, Repeat, Result, Take, judge
from aigen_bridge.domain.errors import (
    ImageRejectedError,
    PermanentError,
    StoreUnavailableError,
    UnknownRequestError,
)
from aigen_bridge.domain.facts import Facts
from aigen_bridge.domain.generation import Generation
from aigen_bridge.domain.image import CheckedImage, ImageMetadata, normal_format, parse_sha256
from aigen_bridge.domain.request import FINAL, AwaitedImage, ImageRequest, Status, VersionedTransition
from aigen_bridge.pipeline.check import ImageCheck

ROUNDS = 5
"""Reads and writes of a request that others keep moving, before N8N is asked to retry."""

MESSAGE_MAX, CODE_MAX = 4000, 200
"""N8N's message and code of a failure are truncated to these numbers of characters."""

_MAY_COST = {Status.FAILED, Status.CANCELLED}
"""How a request can end before N8N says what it cost."""

log = structlog.get_logger(__name__)


class Store(Protocol):
    """The requests, and the generation of each."""

    async def get(self, request_id: UUID, odoo: str | None = None) -> ImageRequest | None: ...

    async def get_batched(self, request_id: UUID) -> ImageRequest | None: ...

    async def generation_of(self, request_id: UUID) -> Generation | None: ...

    async def note_generation(self, request_id: UUID, generation: Generation, note: str) -> None: ...

    async def apply_versioned(self, transition: VersionedTransition, image: CheckedImage | None = None) -> bool: ...

    async def keep_image(self, request_id: UUID, image: CheckedImage, facts: Facts) -> bool: ...

    async def keep_awaited(self, request_id: UUID, awaited: AwaitedImage, facts: Facts) -> bool: ...

    async def keep_cost(self, request_id: UUID, facts: Facts) -> None: ...


RefuseUrl = Callable[[str], object]
"""Raises `PermanentError` for a URL that is never fetched."""


@dataclass(frozen=True, slots=True)
class Examination:
    """The checks of an image and of its URL. `marks`: an accepted image is marked before it is delivered."""

    check: ImageCheck
    refuse_url: RefuseUrl
    marks: bool = False


@dataclass(frozen=True, slots=True)
class Receipt:
    """A stored and committed callback. `duplicate`: it changed nothing."""

    request_id: UUID
    status: Status
    duplicate: bool


async def take_callback(
    store: Store,
    examination: Examination,
    callback: Callback,
    traceparent: str | None = None,
    *,
    odoo: str | None = None,
) -> Receipt:
    """Checks and stores a result.

    `traceparent` is N8N's span, which becomes the parent span if it belongs to the trace of the request. With `odoo`,
    a request of another Odoo is unknown. Raises `UnknownRequestError`, `ContradictionError`, `ImageRejectedError` or
    `StoreUnavailableError`, and then leaves the request unchanged.
    """
    event = callback.event
    request = await _get_request(store, event.request_id, odoo)  # before any work on the image
    with tracing.span("callback", "server", _parent(request, traceparent)) as span:
        span.note(aigen__request_id=str(event.request_id), aigen__correlation_id=str(event.correlation_id))
        result, image = await _examine(event, callback.image, examination)
        for _ in range(ROUNDS):
            receipt = await _apply(store, request, result, image, callback, marks=examination.marks)
            if receipt is not None:
                span.note(aigen__status=receipt.status.value, aigen__duplicate=receipt.duplicate)
                _count(receipt, image)
                return receipt
            request = await _get_request(store, event.request_id, odoo)
    raise StoreUnavailableError(f"Request {event.request_id} is being changed by another call. Retry.")


async def _get_request(store: Store, request_id: UUID, odoo: str | None) -> ImageRequest:
    request = await (store.get_batched(request_id) if odoo is None else store.get(request_id, odoo))
    if request is None:
        raise UnknownRequestError(request_id)
    return request


def _parent(request: ImageRequest, traceparent: str | None) -> str | None:
    own = request.traceparent
    is_same_trace = own is None or tracing.trace_id(traceparent) == tracing.trace_id(own)
    return traceparent if is_same_trace else own


async def _examine(
    event: ImageCompleted | ImageFailed, content: bytes | None, examination: Examination
) -> tuple[Result, CheckedImage | None]:
    ids = event.request_id, event.correlation_id
    if isinstance(event, ImageFailed):
        code = event.error_code[:CODE_MAX] if event.error_code else None
        return Failed(*ids, code, event.error_message[:MESSAGE_MAX], event.execution_id), None
    if event.image_url is not None:
        return Available(*ids, _awaited(event, event.image_url, examination.refuse_url)), None
    declared = event.image_metadata
    metadata = ImageMetadata(declared.format, declared.size, declared.width, declared.height)
    image = await examination.check(content or event.image_data or "", metadata, event.hash_value)
    return Completed(*ids, image.described, image.provenance), image


def _awaited(event: ImageCompleted, url: str, refuse_url: RefuseUrl) -> AwaitedImage:
    sha256 = parse_sha256(event.hash_value)
    if sha256 is None:
        raise ImageRejectedError((f"hashValue {event.hash_value[:80]!r} is not a SHA-256.",))
    try:
        refuse_url(url)
    except PermanentError as error:
        raise ImageRejectedError((f"imageUrl is refused: {error.detail}",)) from error
    declared = event.image_metadata
    return AwaitedImage(
        format=normal_format(declared.format),
        size=declared.size,
        width=declared.width,
        height=declared.height,
        sha256=sha256,
        url=url,
        expires_at=event.result_expires_at,
    )


async def _apply(
    store: Store,
    request: ImageRequest,
    result: Result,
    image: CheckedImage | None,
    callback: Callback,
    *,
    marks: bool,
) -> Receipt | None:
    """Applies the result. Returns the receipt, or None if others moved the request since it was read."""
    generation = await _generation(store, result)
    match judge(request, result, generation, marks=marks):
        case Repeat(reason):
            if reason and generation:
                log.warning("callback.not_counted", request_id=str(request.request_id), detail=reason)
                await store.note_generation(request.request_id, generation, reason)
            elif callback.facts.cost and request.facts.cost is None and request.status in _MAY_COST:
                await store.keep_cost(request.request_id, callback.facts)
            return Receipt(request.request_id, request.status, duplicate=True)
        case Keep():
            kept = await _keep(store, result, image, callback.facts)
            return Receipt(request.request_id, request.status, duplicate=False) if kept else None
        case Take(transition):
            told = replace(transition, facts=callback.facts, note=_note(callback, transition.after))
            moved = await store.apply_versioned(told, image)
            return Receipt(request.request_id, transition.after, duplicate=False) if moved else None


async def _generation(store: Store, result: Result) -> Generation | None:
    """Returns the generation where it matters: for a failure that names its execution."""
    if isinstance(result, Failed) and result.execution_id is not None:
        return await store.generation_of(result.request_id)
    return None


def _note(callback: Callback, after: Status) -> str | None:
    """Returns what the timeline says: the facts if the request has ended, and what was ignored."""
    facts = callback.facts.note("failed at" if after is Status.FAILED else "made by") if after in FINAL else None
    ignored = f"ignored in the callback: {', '.join(callback.ignored)}" if callback.ignored else None
    return "; ".join(filter(None, (facts, ignored))) or None


async def _keep(store: Store, result: Result, image: CheckedImage | None, facts: Facts) -> bool:
    if image is not None:
        return await store.keep_image(result.request_id, image, facts)
    return isinstance(result, Available) and await store.keep_awaited(result.request_id, result.awaited, facts)


def _count(receipt: Receipt, image: CheckedImage | None) -> None:
    metrics.CALLBACKS_TAKEN.labels(receipt.status.value, "yes" if receipt.duplicate else "no").inc()
    if image is not None and receipt.status in {Status.RECEIVED, Status.COMPLETED} and not receipt.duplicate:
        metrics.IMAGE_BYTES.labels("callback").observe(image.described.size)
