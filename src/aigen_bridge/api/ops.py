"""Endpoints for operators: dead letters, and requests completed by hand."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.api import correlation
from aigen_bridge.api.auth import Caller, Operator
from aigen_bridge.api.body import Limits, check_encoding, read_json, read_whole
from aigen_bridge.api.callbacks import body_limits
from aigen_bridge.api.describe import image_body, json_body, problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, PAGE_DEFAULT, Cursor, Limit, Parts, json_answer
from aigen_bridge.api.errors import UnsupportedMediaTypeError
from aigen_bridge.api.v1.requests import RequestId, described_after
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.resources import (
    REASON_MAX,
    BulkReplay,
    BulkReplayed,
    DeadLetterHandled,
    DeadLetterKind,
    DeadLetterPage,
    DeadLetterResource,
    Discard,
    RequestResource,
)
from aigen_bridge.contracts.views import dead_letter_page, from_cursor
from aigen_bridge.contracts.wire import Rfc3339DateTime
from aigen_bridge.domain.dead_letter import DeadLetterFilter, DeadLetterName, OperatorAction
from aigen_bridge.domain.errors import UnknownDeadLetterError, storable
from aigen_bridge.domain.image import MEDIA_TYPES
from aigen_bridge.domain.image_content import describe, is_image, is_text_type

BODY_LIMITS = Limits(max_bytes=16 * 2**10, timeout=timedelta(seconds=30))
EVENING = {"kind": "dispatch", "since": "2026-01-31T18:00:00Z", "until": "2026-01-31T23:00:00Z", "maxPerSecond": 5}

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/api/v1/ops", tags=["operations"])

Reason = Annotated[str | None, Query(max_length=REASON_MAX, description="why, for the record")]
Name = Annotated[str, Path(alias="id", pattern=DeadLetterName.PATTERN, description="`entry-7` or `callback-7`")]


@router.get(
    "/dead-letters",
    dependencies=[KNOWN_PARAMETERS],
    summary="List dead letters, newest first",
    response_model=DeadLetterPage,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_dead_letters(
    caller: Operator,
    parts: Parts,
    kind: Annotated[DeadLetterKind | None, Query()] = None,
    since: Annotated[Rfc3339DateTime | None, Query(description="at or after this time")] = None,
    until: Annotated[Rfc3339DateTime | None, Query(description="before this time")] = None,
    error_code: Annotated[str | None, Query(alias="errorCode", max_length=200)] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Lists failed outbox entries, quarantined callbacks, and failures reported by N8N.

    A client with an Odoo sees those of its requests. Dead letters of no known request, such as alerts, are for clients
    without one.
    """
    code = storable(error_code) if error_code else None
    wanted = DeadLetterFilter(kind, since, until, code, from_cursor(cursor), caller.sees_only)
    return json_answer(dead_letter_page(await parts.dead_letters.page(wanted, limit + 1), limit))


@router.get(
    "/dead-letters/{id}",
    summary="Read a dead letter",
    response_model=DeadLetterResource,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_dead_letter(name: Name, caller: Operator, parts: Parts) -> Response:
    """Returns the last error, the number of attempts and the request."""
    letter = await parts.dead_letters.get(name, caller.sees_only)
    if letter is None:
        earlier = await parts.dead_letters.handled(DeadLetterName.parse(name), caller.sees_only)
        raise UnknownDeadLetterError(name, str(earlier) if earlier else None)
    return json_answer(DeadLetterResource(**asdict(letter)))


@router.post(
    "/dead-letters/replay",
    summary="Replay dead letters",
    response_model=BulkReplayed,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"an evening without N8N": {"value": EVENING}}, BulkReplay),
)
async def replay_many(request: Request, caller: Operator, parts: Parts) -> Response:
    """Replays all that match, oldest first. At most `maxPerSecond` become due per second. `dryRun` changes nothing."""
    body = await _read(request, BulkReplay)
    wanted = DeadLetterFilter(body.kind, body.since, body.until, body.error_code)
    action = _action(caller, body.reason)
    result = await parts.replays.replay_all(wanted, action, per_second=body.max_per_second, dry_run=body.dry_run)
    matched, more = result.matched, result.more
    answer = BulkReplayed(dry_run=body.dry_run, matched=matched, more=more, replayed=result.done, failed=result.failed)
    return json_answer(answer)


@router.post(
    "/dead-letters/{id}/replay",
    summary="Replay a dead letter",
    response_model=DeadLetterHandled,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503),
)
async def replay_one(request: Request, name: Name, caller: Operator, parts: Parts, reason: Reason = None) -> Response:
    """Enqueues an entry again with its full number of attempts, or handles a callback as if it had just arrived.

    When a callback fails again, the response states the reason and the callback remains a dead letter.
    """
    letter = await parts.dead_letters.get(name, caller.sees_only)
    if letter and letter.request_id:  # a refusal names the request
        correlation.bind_request(request, letter.request_id)
    handled = await parts.replays.replay(DeadLetterName.parse(name), _action(caller, reason))
    return json_answer(
        DeadLetterHandled(id=name, action="replayed", request_id=handled.request_id, status=handled.status)
    )


@router.post(
    "/dead-letters/{id}/discard",
    summary="Discard a dead letter",
    response_model=DeadLetterHandled,
    responses=problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"not needed": {"value": {"reason": "A test of the workflow."}}}, Discard),
)
async def discard_one(request: Request, name: Name, caller: Operator, parts: Parts) -> Response:
    """Removes the dead letter from the list. The reason and the client are recorded."""
    body = await _read(request, Discard)
    handled = await parts.replays.discard(DeadLetterName.parse(name), _action(caller, body.reason))
    return json_answer(DeadLetterHandled(id=name, action="discarded", request_id=handled.request_id))


@router.post(
    "/requests/{requestId}/replay",
    summary="Send a failed request again",
    response_model=RequestResource,
    responses=problems(401, 403, 404, 409, 422, 429, 503),
)
async def replay_request(request_id: RequestId, caller: Operator, parts: Parts, reason: Reason = None) -> Response:
    """Sends a request again that failed for a reason of the bridge, such as `timed_out`, dead letter or not.

    Its deadline starts anew, and a late result of the earlier attempt is still accepted. An image that could not be
    fetched is fetched again while its URL may work. A result that Odoo did not take is delivered again. A failure that
    N8N reported is final: the response is 409.
    """
    replayed = await parts.replays.replay_request(request_id, _action(caller, reason))
    return json_answer(await described_after(parts, replayed))


@router.post(
    "/requests/{requestId}/complete",
    summary="Complete a request by hand",
    response_model=RequestResource,
    responses=problems(401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=image_body(),
)
async def complete_request(
    request: Request, request_id: RequestId, caller: Operator, parts: Parts, reason: Reason = None
) -> Response:
    """Completes a request with the image file in the body.

    The image is checked, stored and delivered to Odoo as if N8N had reported it. The bytes decide what it is, whatever
    their media type and encoding; a text is refused. Possible until the request has ended, and after a failure of the
    bridge.
    """
    content = await read_whole(request, body_limits(parts))
    if not is_image(content):
        check_encoding(request)
        if is_text_type(request.headers.get("content-type", "").strip().lower()):
            raise UnsupportedMediaTypeError(describe(content), f"an image: {', '.join(MEDIA_TYPES.values())}")
    image = await parts.examine.check.as_found(content)
    completed = await parts.replays.complete(request_id, image, _action(caller, reason))
    return json_answer(await described_after(parts, completed))


def _action(caller: Caller, note: str | None = None) -> OperatorAction:
    return OperatorAction(caller.name, storable(note) if note else None, caller.sees_only)


async def _read(request: Request, model: type[M]) -> M:
    return parse_body(await read_json(request, BODY_LIMITS), model)
