"""N8N's side: report how a request ended."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import MAY_REPORT
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.limits import read_json_body
from aigen_bridge.api.parts import Parts
from aigen_bridge.api.v1.messages import parse_callback
from aigen_bridge.api.v1.resources import PREFIX
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.resources import CallbackReceipt
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed
from aigen_bridge.pipeline.callback import take_callback

router = APIRouter(prefix=PREFIX, tags=["callback"])

EXAMPLES = {"EVT-AIG-002": {"value": examples.COMPLETED}, "EVT-AIG-003": {"value": examples.FAILED}}


@router.post(
    "/ai-image-callback",
    dependencies=[MAY_REPORT],
    status_code=202,
    summary="Report a result",
    response_model=CallbackReceipt,
    responses=problems(400, 401, 403, 404, 409, 413, 415, 422, 503),
    openapi_extra=json_body(EXAMPLES, ImageCompleted, ImageFailed),
)
async def take_result(request: Request, parts: Parts) -> Response:
    """EVT-AIG-002 or EVT-AIG-003, told apart by `status`. When the answer arrives, the result is stored.

    Sending the same again is safe: the same answer, `duplicate` true, no effect. Fields that are not known are
    ignored. On 503, and when no answer comes, send it again.
    """
    body = await read_json_body(request, parts.settings.callback.max_bytes)
    receipt = await take_callback(parts.requests, parse_callback(body, request))
    answer = CallbackReceipt(request_id=receipt.request_id, status=receipt.status, duplicate=receipt.duplicate)
    return Response(answer.model_dump_json(by_alias=True), 202, media_type="application/json")
