"""Manual correction: N8N made the image and could not deliver it, so a person uploads it."""

from typing import Annotated

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import MAY_OPERATE, Caller
from aigen_bridge.api.body import media_type, read_whole
from aigen_bridge.api.callbacks import body_limits
from aigen_bridge.api.describe import image_body, problems
from aigen_bridge.api.errors import UnsupportedMediaTypeError
from aigen_bridge.api.parts import Parts
from aigen_bridge.api.v1.requests import RequestId
from aigen_bridge.api.v1.resources import resource
from aigen_bridge.contracts.resources import RequestResource
from aigen_bridge.domain.image import MEDIA_TYPES
from aigen_bridge.pipeline.replay import complete_by_hand
from aigen_bridge.store.operations import Deed

router = APIRouter(prefix="/api/v1/ops", tags=["operations"])

ACCEPTED = (*MEDIA_TYPES.values(), "application/octet-stream")


@router.post(
    "/requests/{requestId}/complete",
    summary="Complete a request by hand",
    response_model=RequestResource,
    responses=problems(401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=image_body(),
)
async def complete_request(
    request: Request, request_id: RequestId, caller: Annotated[Caller, MAY_OPERATE], parts: Parts
) -> Response:
    """The body is the image file. It is checked, stored and delivered to Odoo as if N8N had reported it.

    Possible until the request has ended, and after a failure of ours.
    """
    if (found := media_type(request)) not in ACCEPTED:
        raise UnsupportedMediaTypeError(found, "an image: " + ", ".join(ACCEPTED))
    content = await read_whole(request, body_limits(parts))
    image = await parts.examine.check.as_found(content)
    deed = Deed(caller.name)
    completed = await complete_by_hand(parts.requests, parts.operations.complete, request_id, image, deed)
    return Response(resource(completed).model_dump_json(by_alias=True), media_type="application/json")
