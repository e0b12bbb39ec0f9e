"""Callback of version 1: N8N reports a result as JSON."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import MAY_REPORT, Caller
from aigen_bridge.api.body import JSON
from aigen_bridge.api.callbacks import receive, take
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import Parts, json_answer
from aigen_bridge.api.v1.requests import RequestId
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.resources import CallbackReceipt, Wanted
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed
from aigen_bridge.contracts.views import PREFIX
from aigen_bridge.domain.callback import is_wanted
from aigen_bridge.domain.errors import UnknownRequestError
from aigen_bridge.pipeline.execution import note_execution

router = APIRouter(prefix=PREFIX, tags=["callback"])
ExecutionId = Annotated[
    str | None,
    Query(
        alias="executionId",
        description="N8N's `$execution.id`. It is stored to find the request if this execution is reported as failed. "
        "An id of more than 200 characters is ignored.",
    ),
]

EXAMPLES = {
    "EVT-AIG-002": {"value": examples.COMPLETED},
    "EVT-AIG-002 with a URL": {"value": examples.COMPLETED_URL},
    "EVT-AIG-003": {"value": examples.FAILED},
}


@router.post(
    "/ai-image-callback",
    status_code=202,
    summary="Report a result",
    response_model=CallbackReceipt,
    responses=problems(400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=json_body(EXAMPLES, ImageCompleted, ImageFailed),
)
async def take_result(request: Request, caller: Annotated[Caller, MAY_REPORT], parts: Parts) -> Response:
    """Takes EVT-AIG-002 or EVT-AIG-003, distinguished by `status`. A 202 confirms that the result is stored.

    Repeating a callback is safe: the response is the same with `duplicate` true, and nothing changes. Unknown fields
    are ignored, and so are optional fields with a wrong value. On 408, 429 and 503, and without a response, send the
    callback again. What is refused is kept whole for an operator, except with 401, 403 and 413.
    """
    return await take(request, parts, await receive(request, parts, caller, "v1", JSON))


@router.get(
    "/ai-image-requests/{requestId}/wanted",
    summary="Ask whether an image is still wanted",
    response_model=Wanted,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_wanted(
    request_id: RequestId, caller: Annotated[Caller, MAY_REPORT], parts: Parts, execution_id: ExecutionId = None
) -> Response:
    """N8N asks this before it pays for an image. `wanted` is false once the request is cancelled or has its result.

    The response contains no other details of the request, so N8N's key cannot read what users asked for.
    """
    found = await parts.requests.get(request_id, caller.reports_on)
    if found is None:
        raise UnknownRequestError(request_id)
    await note_execution(parts.executions, request_id, execution_id)
    return json_answer(Wanted(request_id=request_id, status=found.status, wanted=is_wanted(found)))
