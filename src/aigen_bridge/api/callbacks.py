"""Reads a callback, applies it, or quarantines one that cannot be used. Both versions share this module."""

from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass
from uuid import UUID

import structlog
from fastapi import Request
from fastapi.responses import Response

from aigen_bridge import metrics
from aigen_bridge.api import correlation
from aigen_bridge.api.auth import Caller, check_signature
from aigen_bridge.api.body import MULTIPART, Limits, check_encoding, check_media_type, media_type, read_whole
from aigen_bridge.api.endpoint import json_answer
from aigen_bridge.contracts.envelope import Envelope, declared_request_id, unpack
from aigen_bridge.contracts.messages import Callback, parse_callback
from aigen_bridge.contracts.refusal import MalformedMultipartError
from aigen_bridge.contracts.resources import CallbackReceipt
from aigen_bridge.domain.dead_letter import CONTENT_TYPE, RefusedCallback
from aigen_bridge.domain.errors import (
    BridgeError,
    ImageRejectedError,
    StoreUnavailableError,
    UnreadableRequestError,
    storable,
)
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
    """An authenticated callback or report of N8N: its sender, the endpoint's version, and its contents.

    `whole` is the body itself, if the event and the part `image` are not all of it. `odoo` is the only Odoo on whose
    requests the sender may report; None if it may report on all.
    """

    client: str
    version: str
    envelope: Envelope
    whole: bytes | None = None
    odoo: str | None = None


def body_limits(parts: ApiParts) -> Limits:
    """Returns the size limit and the read deadline of a callback."""
    callback = parts.settings.callback
    return Limits(callback.max_bytes, callback.read_timeout, setting="AIGEN_CALLBACK__MAX_BYTES")


async def receive(request: Request, parts: ApiParts, caller: Caller, version: str, *accepted: str) -> Arrival:
    """Reads a body and verifies its signature. Quarantines one of a wrong type or form, and raises the reason.

    `accepted` are media types. A signature covers the event. If no event can be found, it covers the whole body, and is
    verified only if the client must sign: whoever need not sign could have left it out.
    """
    body = await read_whole(request, body_limits(parts))
    envelope = unpack(body, _content_type(request))
    if envelope.event is not None or caller.signature_required:
        await check_signature(caller, request, envelope.event or body)
    is_all = envelope.event is body or not (envelope.has_more or envelope.fault)
    try:
        check_media_type(request, *accepted)
        check_encoding(request)
        if envelope.fault is not None and media_type(request) == MULTIPART:
            raise MalformedMultipartError(envelope.fault)
    except BridgeError as error:
        await quarantine(request, parts, Arrival(caller.name, version, envelope, body), error)
        raise
    return Arrival(caller.name, version, envelope, None if is_all else body, caller.reports_on)


async def take(request: Request, parts: ApiParts, arrival: Arrival) -> Response:
    """Applies a callback. Quarantines one that cannot be used, and raises the reason."""
    try:
        async with _slot(parts, arrival.envelope):
            callback = parse_callback(arrival.envelope)
            _count(request, arrival, callback)
            traceparent = request.headers.get("traceparent")
            receipt = await take_callback(parts.requests, parts.examine, callback, traceparent, odoo=arrival.odoo)
    except StoreUnavailableError:
        raise  # nothing can be stored now; N8N sends the callback again
    except BridgeError as error:
        await quarantine(request, parts, arrival, error)
        if isinstance(error, ImageRejectedError):
            await _suspend(request, parts)
        raise
    except Exception as error:
        await quarantine(
            request, parts, arrival, BridgeError("internal", f"A bug in the bridge: {type(error).__name__}.")
        )
        raise
    return json_answer(
        CallbackReceipt(request_id=receipt.request_id, status=receipt.status, duplicate=receipt.duplicate), 202
    )


async def _suspend(request: Request, parts: ApiParts) -> None:
    """Ends the resumes of a generation whose image was refused. They would only bring the same image again."""
    request_id: UUID | None = getattr(request.state, "request_id", None)
    if request_id is not None:
        await parts.generations.suspend(request_id)


def _count(request: Request, arrival: Arrival, callback: Callback) -> None:
    event = callback.event
    correlation.adopt(request, event.correlation_id, event.request_id)
    version = event.payload_version or "none"
    metrics.CALLBACKS.labels(arrival.version, version if version in KNOWN_PAYLOAD_VERSIONS else "other").inc()
    if callback.ignored:
        log.warning("callback.fields_ignored", fields=callback.ignored)


def _slot(parts: ApiParts, envelope: Envelope) -> AbstractAsyncContextManager[object]:
    """Returns the concurrency limit for a callback of this size; one without an image needs none."""
    size = sum(map(len, (envelope.event or b"", envelope.image or b"", *envelope.files)))
    if size <= SMALL:
        return nullcontext()
    return parts.in_hand if size < LARGE else parts.large_in_hand


async def quarantine(request: Request, parts: ApiParts, arrival: Arrival, error: BridgeError) -> None:
    """Stores a refused callback or report complete, as a dead letter."""
    event = arrival.envelope.event
    declared = getattr(request.state, "request_id", None) or declared_request_id(event or b"")
    refused = RefusedCallback(
        client=arrival.client,
        version=arrival.version,
        request_id=await reported_request(parts, declared, arrival.odoo),
        error_code=error.code,
        error_detail=storable(error.detail)[:2000],
        headers=_stored_headers(request),
        payload=event or b"" if arrival.whole is None else arrival.whole,
        image=arrival.envelope.image if arrival.whole is None else None,
    )
    number = await parts.quarantine.keep(refused)
    metrics.QUARANTINED.labels(error.code).inc()
    log.critical("callback.quarantined", dead_letter=f"callback-{number}", code=error.code, detail=error.detail)


async def reported_request(parts: ApiParts, request_id: UUID | None, odoo: str | None) -> UUID | None:
    """Returns the request that a report belongs to: none if its sender may report on `odoo` only, and it is not of it.

    The operators of another Odoo must not see the report among theirs.
    """
    if request_id is None or odoo is None:
        return request_id
    try:
        is_own = await parts.requests.get(request_id, odoo) is not None
    except UnreadableRequestError:
        is_own = True
    return request_id if is_own else None


def _content_type(request: Request) -> str:
    """Returns `Content-Type` as it is stored, so that a replay finds the event whose signature was verified."""
    return _storable(request.headers.get(CONTENT_TYPE, ""))


def _stored_headers(request: Request) -> dict[str, str]:
    left_out = {*NOT_KEPT, CONTENT_TYPE}
    others = [(name, _storable(value)) for name, value in request.headers.items() if name not in left_out]
    return {CONTENT_TYPE: _content_type(request), **dict(others[: HEADERS_KEPT_MAX - 1])}


def _storable(value: str) -> str:
    return value[:HEADER_KEPT_MAX].replace("\0", "")
