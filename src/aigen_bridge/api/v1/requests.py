"""Endpoints for Odoo: request an image, read the request, fetch the image, cancel the request."""

from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import TypeAdapter, ValidationError

from aigen_bridge import tracing
from aigen_bridge.api import correlation
from aigen_bridge.api.addon import ADDON_PARAMETER, addon_version
from aigen_bridge.api.auth import MAY_ASK, MAY_CANCEL, MAY_READ, Caller
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, PAGE_DEFAULT, Cursor, Limit, Parts, json_answer
from aigen_bridge.api.entity_tags import is_expected, is_known
from aigen_bridge.api.errors import PreconditionFailedError
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.messages import parse_requested
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.resources import RequestPage, RequestResource, Timeline
from aigen_bridge.contracts.v1 import ImageRequested, Uuid
from aigen_bridge.contracts.views import (
    PREFIX,
    REQUESTS_PATH,
    from_cursor,
    request_page,
    resource,
    timeline,
    wrong_cursor,
)
from aigen_bridge.contracts.wire import FieldError, Rfc3339DateTime
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import (
    ImageDamagedError,
    ImageMissingError,
    ImagePurgedError,
    StoreUnavailableError,
    UnknownRequestError,
)
from aigen_bridge.domain.image import MEDIA_TYPES, ImageRef, StoredImage
from aigen_bridge.domain.request import ImageRequest, Status
from aigen_bridge.pipeline.accept import accept
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.settings import Scope
from aigen_bridge.store.requests import RequestFilter
from aigen_bridge.wiring import ApiParts

EVENT_LIMITS = Limits(max_bytes=256 * 2**10, timeout=timedelta(seconds=30))
IDS_MAX = 100
IDS_LENGTH = 40 * IDS_MAX
"""Characters: a UUID has 36, and a blank and a comma separate them."""
IDS_ALLOWED = f"1 to {IDS_MAX} UUIDs, separated by commas"
_uuid: TypeAdapter[UUID] = TypeAdapter(Uuid)

router = APIRouter(prefix=PREFIX, tags=["requests"])
Reader = Annotated[Caller, MAY_READ]
RequestId = Annotated[UUID, Path(alias="requestId", description="the id created by Odoo")]


@router.post(
    "/ai-image-requests",
    status_code=202,
    summary="Request an image",
    response_model=RequestResource,
    responses=problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503)
    | {
        200: {"model": RequestResource, "description": "Already known, with the same content"},
        402: {
            "description": "It would exceed a hard budget (`budget_exceeded`)",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/BudgetProblem"}}},
        },
    },
    openapi_extra=json_body({"EVT-AIG-001": {"value": examples.REQUESTED}}, ImageRequested)
    | {"parameters": [ADDON_PARAMETER]},
)
async def accept_request(request: Request, caller: Annotated[Caller, MAY_ASK], parts: Parts) -> Response:
    """Takes EVT-AIG-001. A 2xx response confirms that the request is stored and will reach an end.

    Repeating the same event is safe and changes nothing. Different content under the same `requestId` is refused
    with 409. While the catalogue of models is not empty, a model that it does not offer, or a parameter that the model
    does not take, is refused with 422. What would exceed a hard budget is refused with 402, and nothing is stored. The
    same request again is 200 although the model is not offered any more, or the budget is spent.
    """
    body = await read_json(request, EVENT_LIMITS)
    event = parse_requested(body, callback_url=parts.settings.callback_url)
    correlation.adopt(request, event.correlation_id, event.request_id)
    await parts.addons.note(caller.odoo, addon_version(request))
    with tracing.span("accept", "server", request.headers.get("traceparent")) as span:
        span.note(aigen__request_id=str(event.request_id), aigen__correlation_id=str(event.correlation_id))
        traceparent = tracing.traceparent()
        stored, created = await accept(
            parts.requests, parts.models, event, client=caller.name, odoo=caller.odoo, traceparent=traceparent
        )
    headers = {"Location": f"{REQUESTS_PATH}/{stored.request_id}"}
    return json_answer(
        resource(stored) if created else await described(parts, stored), 202 if created else 200, headers
    )


@router.get(
    "/ai-image-requests",
    dependencies=[KNOWN_PARAMETERS],
    summary="List requests, newest first",
    response_model=RequestPage,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_requests(
    request: Request,
    caller: Reader,
    parts: Parts,
    ids: Annotated[
        str | None,
        Query(max_length=IDS_LENGTH, description=f"{IDS_ALLOWED}; not together with any other parameter"),
    ] = None,
    status: Annotated[Status | None, Query()] = None,
    created_after: Annotated[
        Rfc3339DateTime | None, Query(alias="createdAfter", description="at or after this time")
    ] = None,
    created_before: Annotated[
        Rfc3339DateTime | None, Query(alias="createdBefore", description="before this time")
    ] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Pages with a cursor: pass `nextCursor` as `cursor`, with the same filters.

    With `ids`, returns those of these requests that exist, on one page. Only a client with scope `ops` and without an
    Odoo sees the requests of other Odoos.
    """
    if ids is not None:
        found = await parts.requests.page_of(_ids(request, ids), caller.sees_only)
    else:
        wanted = RequestFilter(status, created_after, created_before, place_of(cursor), caller.sees_only)
        found = await parts.requests.page(wanted, limit)
    listed = [each.request_id for each in found.items]
    holds, generations = await parts.destinations.held(listed), await parts.generations.find(listed)
    return json_answer(request_page(found.items, holds, generations, found.end))


@router.get(
    "/ai-image-requests/{requestId}",
    summary="Read one request",
    response_model=RequestResource,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_request(request_id: RequestId, caller: Reader, parts: Parts) -> Response:
    """Returns the state of the request and its parameters."""
    return json_answer(await described(parts, await _found(parts, request_id, caller)))


Original = Annotated[
    bool,
    Query(description="the bytes as they came, before they were marked; 404 if the settings keep no originals"),
]


@router.get(
    "/ai-image-requests/{requestId}/image",
    summary="Fetch the image",
    responses=problems(401, 403, 404, 410, 412, 422, 429, 503)
    | {
        200: {"description": "The bytes of the image", "content": {media: {} for media in MEDIA_TYPES.values()}},
        304: {"description": "The caller already has the image (`If-None-Match`)"},
    },
    response_class=Response,
)
async def read_image(
    request: Request, request_id: RequestId, caller: Reader, parts: Parts, *, original: Original = False
) -> Response:
    """Returns the bytes as they are delivered to Odoo; `ETag` is their SHA-256.

    Once the bytes are deleted past their retention, the response is 410.
    """
    found = await _found(parts, request_id, caller)
    image, ref = chosen_image(found, original=original)
    if found.image_purged_at is not None:
        raise ImagePurgedError(request_id)
    tag = f'"{ref.sha256}"'
    headers = {"ETag": tag, "Accept-Ranges": "none", "X-Content-Type-Options": "nosniff"}
    if not is_expected(request, tag):
        raise PreconditionFailedError("image_changed", f"The image of request {request_id} is not the one in If-Match.")
    if is_known(request, tag):
        return Response(status_code=304, headers=headers)
    content = await stored_content(parts, image, ref)
    return Response(content, headers=headers, media_type=MEDIA_TYPES[image.format])


@router.get(
    "/ai-image-requests/{requestId}/timeline",
    summary="Read the timeline of a request",
    response_model=Timeline,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_timeline(request_id: RequestId, caller: Reader, parts: Parts) -> Response:
    """Lists every state change and attempt, and the next step. Attempts before `attemptsPurgedAt` have been deleted."""
    found = await _found(parts, request_id, caller)
    entries, pending = await parts.timelines.read(request_id), await parts.timelines.pending_work(request_id)
    return json_answer(timeline(found, entries, pending))


@router.post(
    "/ai-image-requests/{requestId}/cancel",
    summary="Cancel a request",
    response_model=RequestResource,
    responses=problems(401, 403, 404, 409, 422, 429, 503),
)
async def cancel_request(request_id: RequestId, caller: Annotated[Caller, MAY_CANCEL], parts: Parts) -> Response:
    """Possible until the request has ended. An image that arrives later is stored but not delivered."""
    if Scope.REQUESTS in caller.scopes:
        cancelled = await cancel(parts.requests, request_id, by=caller.name, odoo=caller.sees_only)
    else:  # an operator's, which is recorded
        cancelled = await parts.replays.cancel(request_id, OperatorAction(caller.name, None, caller.sees_only))
    return json_answer(await described_after(parts, cancelled))


def chosen_image(found: ImageRequest, *, original: bool) -> tuple[StoredImage, ImageRef]:
    """Returns the image, and the bytes to read: those that are delivered, or the original before it was marked.

    Raises `ImageMissingError` if the request has no image, or one that still waits for its mark.
    """
    image = found.finished_image
    if image is None:
        raise ImageMissingError("image_missing", f"Request {found.request_id} is {found.status} and has no image.")
    sha256 = found.original_sha256 if original else None
    return image, ImageRef(found.request_id, sha256 or image.sha256)


async def stored_content(parts: ApiParts, image: StoredImage, ref: ImageRef) -> bytes:
    """Returns the bytes that `chosen_image` chose.

    Raises `ImagePurgedError` for an image purged a moment ago, `ImageDamagedError` for one that the image store has
    lost, and `ImageMissingError` for an original that is not kept.
    """
    content = await parts.images.get(ref)
    if content is not None:
        return content
    if ref.sha256 == image.sha256:
        found = await parts.requests.get(ref.request_id)
        if found and not found.image_purged_at:
            raise ImageDamagedError(f"the image of request {ref.request_id}")
        raise ImagePurgedError(ref.request_id)
    raise ImageMissingError("original_missing", f"The original of the image of request {ref.request_id} is not kept.")


async def described_after(parts: ApiParts, changed: ImageRequest) -> RequestResource:
    """Returns the resource of a request whose change is committed.

    When the database is away by now, hold and generation are null: a 503 would deny the change.
    """
    try:
        return await described(parts, changed)
    except StoreUnavailableError:
        return resource(changed)


async def described(parts: ApiParts, request: ImageRequest) -> RequestResource:
    """Returns the resource of a request, with what holds it and how far its generation is."""
    name = request.request_id
    holds, generations = await parts.destinations.held([name]), await parts.generations.find([name])
    return resource(request, holds.get(name), generations.get(name))


def _ids(request: Request, ids: str) -> list[UUID]:
    """Parses `ids`. Raises `InvalidMessageError`, also for a parameter beside it, which would not be applied."""
    others = [name for name in request.query_params if name != "ids"]
    errors = [FieldError(field=name, message="cannot be combined with ids") for name in others]
    texts = ids.split(",")
    try:
        found = [_uuid.validate_python(text.strip()) for text in texts]
    except ValidationError:
        found = []
    if not found or len(found) > IDS_MAX:
        errors.append(FieldError(field="ids", sent=ids[:100], allowed=IDS_ALLOWED, message=f"must be {IDS_ALLOWED}"))
    if errors:
        raise InvalidMessageError("The address", errors)
    return list(dict.fromkeys(found))


def place_of(cursor: str | None) -> tuple[datetime, UUID] | None:
    """Decodes the cursor of a list of requests. Raises `InvalidMessageError` for anything else."""
    place = from_cursor(cursor)
    try:
        return (place[0], UUID(place[1])) if place else None
    except ValueError:
        raise wrong_cursor(cursor or "") from None


async def check_reports_on(parts: ApiParts, caller: Caller, request_id: UUID) -> None:
    """Raises `UnknownRequestError` if N8N's client may report on one Odoo only, and the request is not of this Odoo."""
    if caller.reports_on is not None and await parts.requests.get(request_id, caller.reports_on) is None:
        raise UnknownRequestError(request_id)


async def _found(parts: Parts, request_id: UUID, caller: Caller) -> ImageRequest:
    found = await parts.requests.get(request_id, caller.sees_only)
    if found is None:
        raise UnknownRequestError(request_id)
    return found
