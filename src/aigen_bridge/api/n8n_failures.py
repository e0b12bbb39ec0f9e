"""Failures reported by N8N. Undeliverable results and failed executions become dead letters."""

from dataclasses import replace
from typing import Annotated, Any
from uuid import UUID

import structlog
from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge import metrics
from aigen_bridge.api import correlation
from aigen_bridge.api.auth import MAY_REPORT, Caller
from aigen_bridge.api.body import JSON, MULTIPART
from aigen_bridge.api.callbacks import Arrival, quarantine, receive, reported_request
from aigen_bridge.api.describe import failure_body, problems
from aigen_bridge.api.endpoint import Parts, json_answer
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.envelope import Envelope, declared_request_id
from aigen_bridge.contracts.messages import choose_image, parse_report
from aigen_bridge.contracts.n8n_failure import TEXT_MAX, N8nFailure, N8nFailureReceipt
from aigen_bridge.domain.dead_letter import EXECUTION_FAILED, N8N_REPORT, UNDELIVERED, RefusedCallback
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.domain.execution import FailedExecution, Reported
from aigen_bridge.pipeline.execution import take_failed_execution, usable_id
from aigen_bridge.wiring import ApiParts

router = APIRouter(prefix="/api/v1/ops", tags=["callback"])
log = structlog.get_logger(__name__)

EXAMPLE: dict[str, Any] = {"event": examples.N8N_FAILURE, "image": "(the bytes of the file)"}


@router.post(
    "/n8n-failures",
    status_code=202,
    summary="Report a failed execution or an undeliverable result",
    response_model=N8nFailureReceipt,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    openapi_extra=failure_body(EXAMPLE),
)
async def take_failure(request: Request, caller: Annotated[Caller, MAY_REPORT], parts: Parts) -> Response:
    """Takes a failed execution, or a result that could not be delivered to the callback, with its image if any.

    The report becomes a dead letter of kind `n8n`. With a `result` it can be replayed: the result is then handled like
    a callback. Sign it like a callback, over the JSON (the part `event`). A repeated report is counted, not stored
    again. A report that is refused is kept whole, except with 401, 403 and 413.

    Without a `result`, the request does not wait for its deadline. If N8N lost the execution (a crash), the request is
    sent again, at most twice, and the report needs no operator. Otherwise the request fails as `workflow_failed`.
    Replaying the dead letter of such a request sends it again.
    """
    arrival = await receive(request, parts, caller, N8N_REPORT, JSON, MULTIPART)
    try:
        failure = parse_report(arrival.envelope.event or b"")
        image = _image(failure, arrival.envelope)
    except BridgeError as error:
        await quarantine(request, parts, arrival, error)
        raise
    if failure.correlation_id:
        correlation.adopt(request, failure.correlation_id)
    kept = await _store(parts, failure, _letter(arrival, failure, image), arrival.odoo)
    answer = N8nFailureReceipt(id=f"callback-{kept.letter}", request_id=kept.request_id)
    return json_answer(answer, 202)


async def _store(parts: ApiParts, failure: N8nFailure, letter: RefusedCallback, odoo: str | None) -> Reported:
    execution_id = usable_id(failure.execution_id)
    if odoo is not None and not await _reports_on(parts, letter.request_id, execution_id, odoo):
        kept = Reported(await parts.quarantine.keep(replace(letter, request_id=None)), letter.request_id, is_open=True)
    elif failure.result is None and execution_id:
        failed = FailedExecution(execution_id, failure.error_message, failure.error_name)
        kept = await take_failed_execution(parts.executions, failed, letter)
    else:
        if letter.request_id is None and execution_id:
            letter = replace(letter, request_id=await parts.executions.request_of(execution_id))
        kept = Reported(await parts.quarantine.keep(letter), letter.request_id, is_open=True)
    _log_report(letter, kept)
    return kept


async def _reports_on(parts: ApiParts, request_id: UUID | None, execution_id: str | None, odoo: str) -> bool:
    """Returns whether a report is about a request of this Odoo, which it names itself or by its execution."""
    known = await parts.executions.request_of(execution_id) if execution_id else None
    named = [each for each in (request_id, known) if each is not None]
    return all([await reported_request(parts, each, odoo) for each in named])


def _log_report(letter: RefusedCallback, kept: Reported) -> None:
    about = {"request_id": str(kept.request_id), "code": letter.error_code, "detail": letter.error_detail}
    if kept.is_open:
        metrics.QUARANTINED.labels(letter.error_code).inc()
        log.critical("n8n.failed", dead_letter=f"callback-{kept.letter}", **about)
    else:
        result = kept.transition.note if kept.transition else "known" if kept.is_repeat else "ignored"
        log.warning("n8n.execution_failed", report=f"callback-{kept.letter}", result=result, **about)


def _image(failure: N8nFailure, envelope: Envelope) -> bytes | None:
    """Returns the image beside the report. Raises `MalformedMultipartError` if several files can be it."""
    if envelope.image is not None or not (failure.needs_image or len(envelope.files) == 1):
        return envelope.image
    return choose_image(envelope.files)


def _letter(arrival: Arrival, failure: N8nFailure, image: bytes | None) -> RefusedCallback:
    """Builds the dead letter: its payload is the result, or the report itself when there is no result."""
    result = failure.result_event
    origin = {name: text for name, text in _origin(failure).items() if text}
    return RefusedCallback(
        client=arrival.client,
        version=N8N_REPORT,
        request_id=failure.request_id or declared_request_id(result or b""),
        error_code=EXECUTION_FAILED if result is None else UNDELIVERED,
        error_detail=_summary(failure),
        headers=origin,
        payload=(arrival.envelope.event or b"") if result is None else result,
        image=image,
    )


def _origin(failure: N8nFailure) -> dict[str, str | None]:
    return {
        "workflow": failure.workflow,
        "workflow-version": failure.workflow_version,
        "execution-id": failure.execution_id,
        "execution-url": failure.execution_url,
    }


def _summary(failure: N8nFailure) -> str:
    """Returns the first sentence for an operator: the place, the error, and a link to the execution."""
    where = f"{failure.workflow or 'A workflow'} failed" + (f" at {failure.node!r}" if failure.node else "")
    link = f" Execution: {failure.execution_url}" if failure.execution_url else ""
    return f"{where}: {failure.error_message}"[: TEXT_MAX - len(link)] + link
