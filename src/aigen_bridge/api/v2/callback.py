"""Callback of version 2: N8N reports a result with the image as binary, not as base64 in JSON."""

from typing import Annotated, Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import MAY_REPORT, Caller
from aigen_bridge.api.body import MULTIPART
from aigen_bridge.api.callbacks import receive, take
from aigen_bridge.api.describe import multipart_body, problems
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.resources import CallbackReceipt
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed

router = APIRouter(prefix="/api/v2/influencegen", tags=["callback"])

EXAMPLE: dict[str, Any] = {"event": examples.COMPLETED_BESIDE, "image": "(the bytes of the file)"}


@router.post(
    "/ai-image-callback",
    status_code=202,
    summary="Report a result with the image in a part of its own",
    response_model=CallbackReceipt,
    responses=problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=multipart_body(EXAMPLE, ImageCompleted, ImageFailed),
)
async def take_result(request: Request, caller: Annotated[Caller, MAY_REPORT], parts: Parts) -> Response:
    """Takes the events of version 1 as `multipart/form-data`: part `event` (JSON) and, when completed, part `image`.

    Without a part `image`, the only file is the image, whatever its name. Without a part `event`, the only part that is
    a JSON object is the event. What is refused is kept whole for an operator, except with 401, 403 and 413.

    Base64 would make the image a third larger and would have to be decoded. The event contains neither `imageData` nor
    `imageUrl`. A signature covers the bytes of the part `event`; `hashValue` binds the image to it.
    Responses are the same as in version 1.
    """
    return await take(request, parts, await receive(request, parts, caller, "v2", MULTIPART))
