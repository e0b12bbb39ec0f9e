"""What both versions of the callback do once the bytes are in: parse, take, and keep what cannot be used."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from uuid import UUID

import structlog
from fastapi import Request
from fastapi.responses import Response

from aigen_bridge import metrics, tracing
from aigen_bridge.api.body import Limits
from aigen_bridge.api.v1.messages import parse_callback
from aigen_bridge.contracts.resources import CallbackReceipt
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed
from aigen_bridge.domain.errors import BridgeError, StoreUnavailableError, storable
from aigen_bridge.domain.request import Status
from aigen_bridge.domain.signature import SIGNATURE
from aigen_bridge.pipeline.callback import Receipt, take_callback
from aigen_bridge.store.quarantine import RefusedCallback
from aigen_bridge.wiring import ApiParts

NOT_KEPT = frozenset({"authorization", "x-api-key", "cookie", SIGNATURE})
"""Headers with secrets, or what could be used in place of one."""
HEADER_KEPT_MAX, HEADERS_KEPT_MAX = 500, 50
SMALL = 64 * 2**10
"""Bytes of a callback that may be in hand without limit."""
LARGE = 4 * 2**20
"""Bytes of a callback from which on fewer may be in hand."""
KNOWN_PAYLOAD_VERSIONS = frozenset({"1", "1.0", "1.1", "2", "2.0"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An authenticated callback: who sent it, to which version of the endpoint, and its bytes.

    `payload` is the event, `image` what came beside it (v2).
    """

    client: str
    version: str
    payload: bytes
    image: bytes | None = None


def body_limits(parts: ApiParts) -> Limits:
    """How large a callback may be and how long it may take to arrive."""
    return Limits(parts.settings.callback.max_bytes, parts.settings.callback.read_timeout)


async def take(request: Request, parts: ApiParts, arrival: Arrival) -> Response:
    """Take a callback, or keep it in quarantine and say why."""
    try:
        async with _room(parts, arrival):
            receipt = await process(request, parts, arrival)
    except StoreUnavailableError:
        raise  # nothing can be kept now; N8N sends it again
    except BridgeError as error:
        await _keep(request, parts, arrival, error)
        raise
    except Exception as error:
        await _keep(request, parts, arrival, BridgeError("internal", f"A bug of ours: {type(error).__name__}."))
        raise
    answer = CallbackReceipt(request_id=receipt.request_id, status=receipt.status, duplicate=receipt.duplicate)
    return Response(answer.model_dump_json(by_alias=True), 202, media_type="application/json")


def _room(parts: ApiParts, arrival: Arrival) -> AbstractAsyncContextManager[object]:
    """What is large waits for room; a callback without an image need not."""
    size = len(arrival.payload) + len(arrival.image or b"")
    if size <= SMALL:
        return nullcontext()
    return parts.in_hand if size < LARGE else parts.large_in_hand


async def process(request: Request, parts: ApiParts, arrival: Arrival) -> Receipt:
    """Parse and take a callback; raises what is wrong with it."""
    event = parse_callback(arrival.payload, request, image_beside=arrival.image is not None)
    version = event.payload_version or "none"
    metrics.CALLBACKS.labels(arrival.version, version if version in KNOWN_PAYLOAD_VERSIONS else "other").inc()
    with tracing.span("callback", "server", await _trace(parts, event.request_id, request)) as span:
        span.note(aigen__request_id=str(event.request_id), aigen__correlation_id=str(event.correlation_id))
        receipt = await take_callback(parts.callbacks, parts.examine, event, arrival.image)
        span.note(aigen__status=receipt.status.value, aigen__duplicate=receipt.duplicate)
    _count(event, receipt)
    return receipt


async def _trace(parts: ApiParts, request_id: UUID, request: Request) -> str | None:
    """The request's own trace. N8N's span in it is the parent, if N8N passed one on."""
    if not tracing.is_on():
        return None
    ours, theirs = await parts.requests.traceparent(request_id), request.headers.get("traceparent")
    return theirs if ours is None or tracing.trace_id(theirs) == tracing.trace_id(ours) else ours


def _count(event: ImageCompleted | ImageFailed, receipt: Receipt) -> None:
    metrics.CALLBACKS_TAKEN.labels(receipt.status.value, "yes" if receipt.duplicate else "no").inc()
    if receipt.status is Status.COMPLETED and not receipt.duplicate and isinstance(event, ImageCompleted):
        metrics.IMAGE_BYTES.labels("callback").observe(event.image_metadata.size)


async def _keep(request: Request, parts: ApiParts, arrival: Arrival, error: BridgeError) -> None:
    refused = RefusedCallback(
        client=arrival.client,
        version=arrival.version,
        request_id=getattr(request.state, "request_id", None),
        error_code=error.code,
        error_detail=storable(error.detail)[:2000],
        headers=_harmless(request),
        payload=arrival.payload,
        image=arrival.image,
    )
    number = await parts.quarantine.keep(refused)
    metrics.QUARANTINED.labels(error.code).inc()
    log.critical("callback.quarantined", dead_letter=f"callback-{number}", code=error.code, detail=error.detail)


def _harmless(request: Request) -> dict[str, str]:
    kept = [(name, value[:HEADER_KEPT_MAX]) for name, value in request.headers.items() if name not in NOT_KEPT]
    return {name: value.replace("\0", "") for name, value in kept[:HEADERS_KEPT_MAX]}
