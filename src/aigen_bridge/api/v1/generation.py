"""Endpoints for N8N's executions: may the paid work start, which job was submitted, how far is it."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge import tracing
from aigen_bridge.api import correlation
from aigen_bridge.api.auth import MAY_GENERATE, Caller, check_signature
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import Parts, json_answer
from aigen_bridge.api.errors import OtherJobError
from aigen_bridge.api.v1.requests import RequestId, check_reports_on
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.generation import (
    GenerationAsk,
    GenerationDecision,
    GenerationJob,
    GenerationProgress,
)
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.resources import Wanted
from aigen_bridge.contracts.views import PREFIX
from aigen_bridge.domain.errors import UnreadableRequestError
from aigen_bridge.domain.generation import GenerationAnswer
from aigen_bridge.wiring import ApiParts

BODY_LIMITS = Limits(max_bytes=64 * 2**10, timeout=timedelta(seconds=10))
STATUSES = (400, 401, 403, 404, 408, 409, 413, 415, 422, 429, 503)

router = APIRouter(prefix=f"{PREFIX}/ai-image-requests/{{requestId}}/generation", tags=["generation"])
Executor = Annotated[Caller, MAY_GENERATE]


@router.post(
    "",
    summary="Ask whether to start the paid work",
    response_model=GenerationDecision,
    responses=problems(*STATUSES),
    openapi_extra=json_body(examples.GENERATION_ASKS, GenerationAsk),
)
async def ask(request: Request, request_id: RequestId, caller: Executor, parts: Parts) -> Response:
    """An execution asks this before it submits a job to the AI provider, and again after every failed submission.

    Nothing is submitted without the answer `start`. Fields that do not belong to the decision are absent. Without an
    answer, and on 408, 429 and 503, repeat the ask with the same `askKey`: the grant is the same.
    """
    asked = parse_body(await _read(request, caller, may_be_unsigned=True), GenerationAsk)
    with _working("ask", request, request_id, asked.correlation_id):
        await check_reports_on(parts, caller, request_id)
        answer = await parts.generations.ask(request_id, asked.to_domain())
    return json_answer(GenerationDecision.of(answer), leaves_out_none=True)


@router.put(
    "/job",
    summary="Name the submitted job",
    response_model=Wanted,
    responses=problems(*STATUSES)
    | {
        409: {
            "description": "Another job is known (`job_contradicts`, with `providerJob`): cancel yours at the provider "
            "and end. Or `correlation_mismatch`",
            "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/JobProblem"}}},
        }
    },
    openapi_extra=json_body({"a job of fal": {"value": examples.GENERATION_JOB}}, GenerationJob),
)
async def name_job(request: Request, request_id: RequestId, caller: Executor, parts: Parts) -> Response:
    """Records the job as soon as it was submitted. The first job that is named is the job of the request.

    Repeating it is safe. Sign it like a callback where signatures are required. With `wanted` false, cancel the job at
    the provider and end.
    """
    named = parse_body(await _read(request, caller), GenerationJob)
    with _working("name_job", request, request_id, named.correlation_id):
        await check_reports_on(parts, caller, request_id)
        await _check_origin(parts, request_id, named)
        answer = await parts.generations.name_job(request_id, named.to_domain())
    if answer.is_other_job and answer.job:
        raise OtherJobError(request_id, named.job_id, answer.job)
    return json_answer(_wanted(answer))


@router.put(
    "/progress",
    summary="Report progress",
    response_model=Wanted,
    responses=problems(*STATUSES),
    openapi_extra=json_body({"in the queue": {"value": examples.GENERATION_PROGRESS}}, GenerationProgress),
)
async def report_progress(request: Request, request_id: RequestId, caller: Executor, parts: Parts) -> Response:
    """Reports how far the job is, and that the execution is alive. With `wanted` false, cancel the job and end.

    A report about a request that has ended changes nothing. `quietFor` announces a longer silence.
    """
    report = parse_body(await _read(request, caller, may_be_unsigned=True), GenerationProgress)
    with _working("progress", request, request_id, report.correlation_id):
        await check_reports_on(parts, caller, request_id)
        answer = await parts.generations.report_progress(request_id, report.to_domain())
    return json_answer(_wanted(answer))


async def _check_origin(parts: ApiParts, request_id: UUID, named: GenerationJob) -> None:
    """Raises `InvalidMessageError` if the job is at another origin than the endpoint of the request's model."""
    try:
        known = await parts.requests.get_batched(request_id)
    except UnreadableRequestError:  # its job is recorded all the same
        return
    if known and known.model:
        named.check_origin(known.model)


async def _read(request: Request, caller: Caller, *, may_be_unsigned: bool = False) -> bytes:
    body = await read_json(request, BODY_LIMITS)
    await check_signature(caller, request, body, may_be_unsigned=may_be_unsigned)
    return body


@contextmanager
def _working(name: str, request: Request, request_id: UUID, correlation_id: UUID) -> Iterator[None]:
    """Adopts the ids of a call, and traces its work."""
    correlation.adopt(request, correlation_id, request_id)
    with tracing.span(name, "server", request.headers.get("traceparent")) as span:
        span.note(aigen__request_id=str(request_id), aigen__correlation_id=str(correlation_id))
        yield


def _wanted(answer: GenerationAnswer) -> Wanted:
    return Wanted(request_id=answer.request_id, status=answer.status, wanted=answer.wanted)
