"""N8N's side: report how a request ended, as JSON."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import MAY_REPORT, Caller, check_signature
from aigen_bridge.api.body import read_json
from aigen_bridge.api.callbacks import Arrival, body_limits, take
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
        description="N8N's `$execution.id`. It is noted, so that a report that this execution died finds its request. "
        "More than 200 characters are ignored.",
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
    """EVT-AIG-002 or EVT-AIG-003, told apart by `status`. When the answer arrives, the result is stored.

    Sending the same again is safe: the same answer, `duplicate` true, no effect. Fields that are not known are
    ignored. On 429 and 503, and when no answer comes, send it again. What cannot be used is kept for people to see.
    """
    payload = await read_json(request, body_limits(parts))
    check_signature(caller, request, payload)
    return await take(request, parts, Arrival(caller.name, "v1", payload))


@router.get(
    "/ai-image-requests/{requestId}/wanted",
    dependencies=[MAY_REPORT],
    summary="Ask whether an image is still wanted",
    response_model=Wanted,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_wanted(request_id: RequestId, parts: Parts, execution_id: ExecutionId = None) -> Response:
    """For N8N, before it pays for an image: false once the request was cancelled, or has its result already.

    Says nothing else about the request, so that N8N's key need not read what people asked for.
    """
    found = await parts.requests.get(request_id)
    if found is None:
        raise UnknownRequestError(request_id)
    await note_execution(parts.executions, request_id, execution_id)
    return json_answer(Wanted(request_id=request_id, status=found.status, wanted=is_wanted(found)))
