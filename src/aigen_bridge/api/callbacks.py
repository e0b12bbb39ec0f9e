"""Parses a callback, applies it, or quarantines one that cannot be used. Both versions share this module."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass

import structlog
from fastapi import Request
from fastapi.responses import Response

from aigen_bridge import metrics
from aigen_bridge.api import correlation
from aigen_bridge.api.body import Limits
from aigen_bridge.api.endpoint import json_answer
from aigen_bridge.contracts.messages import parse_callback
from aigen_bridge.contracts.resources import CallbackReceipt
from aigen_bridge.domain.dead_letter import RefusedCallback
from aigen_bridge.domain.errors import BridgeError, StoreUnavailableError, storable
from aigen_bridge.domain.signature import SIGNATURE
from aigen_bridge.pipeline.callback import take_callback
from aigen_bridge.wiring import ApiParts

NOT_KEPT = frozenset({"authorization", "x-api-key", "cookie", SIGNATURE})
"""Headers that are not stored: secrets, and values that could be used in place of one."""
HEADER_KEPT_MAX, HEADERS_KEPT_MAX = 500, 50
SMALL = 64 * 2**10
"""Bytes. Callbacks up to this size have no concurrency limit."""
LARGE = 4 * 2**20
"""Bytes. Callbacks of at least this size have a lower concurrency limit."""
KNOWN_PAYLOAD_VERSIONS = frozenset({"1", "1.0", "1.1", "2", "2.0"})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Arrival:
    """An authenticated callback: its sender, the endpoint's version, and its bytes.

    `payload` is the event, `image` the separate image part (v2).
    """

    client: str
    version: str
    payload: bytes
    image: bytes | None = None


def body_limits(parts: ApiParts) -> Limits:
    """Returns the size limit and the read deadline of a callback."""
    callback = parts.settings.callback
    return Limits(callback.max_bytes, callback.read_timeout, setting="AIGEN_CALLBACK__MAX_BYTES")


async def take(request: Request, parts: ApiParts, arrival: Arrival) -> Response:
    """Applies a callback. Quarantines one that cannot be used, and raises the reason."""
    try:
        async with _slot(parts, arrival):
            event = parse_callback(arrival.payload, image_beside=arrival.image is not None)
            correlation.adopt(request, event.correlation_id, event.request_id)
            version = event.payload_version or "none"
            metrics.CALLBACKS.labels(arrival.version, version if version in KNOWN_PAYLOAD_VERSIONS else "other").inc()
            traceparent = request.headers.get("traceparent")
            receipt = await take_callback(parts.requests, parts.examine, event, arrival.image, traceparent)
    except StoreUnavailableError:
        raise  # nothing can be stored now; N8N sends the callback again
    except BridgeError as error:
        await _quarantine(request, parts, arrival, error)
        raise
    except Exception as error:
        await _quarantine(
            request, parts, arrival, BridgeError("internal", f"A bug in the bridge: {type(error).__name__}.")
        )
        raise
    return json_answer(
        CallbackReceipt(request_id=receipt.request_id, status=receipt.status, duplicate=receipt.duplicate), 202
    )


def _slot(parts: ApiParts, arrival: Arrival) -> AbstractAsyncContextManager[object]:
    """Returns the concurrency limit for a callback of this size; one without an image needs none."""
    size = len(arrival.payload) + len(arrival.image or b"")
    if size <= SMALL:
        return nullcontext()
    return parts.in_hand if size < LARGE else parts.large_in_hand


async def _quarantine(request: Request, parts: ApiParts, arrival: Arrival, error: BridgeError) -> None:
    refused = RefusedCallback(
        client=arrival.client,
        version=arrival.version,
        request_id=getattr(request.state, "request_id", None),
        error_code=error.code,
        error_detail=storable(error.detail)[:2000],
        headers=_stored_headers(request),
        payload=arrival.payload,
        image=arrival.image,
    )
    number = await parts.quarantine.keep(refused)
    metrics.QUARANTINED.labels(error.code).inc()
    log.critical("callback.quarantined", dead_letter=f"callback-{number}", code=error.code, detail=error.detail)


def _stored_headers(request: Request) -> dict[str, str]:
    kept = [(name, value[:HEADER_KEPT_MAX]) for name, value in request.headers.items() if name not in NOT_KEPT]
    return {name: value.replace("\0", "") for name, value in kept[:HEADERS_KEPT_MAX]}
