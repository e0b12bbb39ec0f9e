"""Endpoints of background replays."""

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from aigen_bridge.api.auth import Operator
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, PAGE_DEFAULT, Limit, Parts, json_answer
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.replays import ReplayDetail, ReplayDryRun, ReplayList, ReplayResource, ReplayTerms
from aigen_bridge.domain.dead_letter import OperatorAction

PATH = "/api/v1/ops/replays"
BODY_LIMITS = Limits(max_bytes=16 * 2**10, timeout=timedelta(seconds=30))
EXAMPLE = {"kind": "deliver", "errorCode": "http_403", "odoo": "north", "maxPerSecond": 5, "reason": "The key is new."}

router = APIRouter(prefix=PATH, tags=["operations"])

Number = Annotated[int, Path(alias="id", ge=1, lt=2**63, description="the number of a background replay")]


@router.post(
    "",
    status_code=202,
    summary="Replay dead letters in the background",
    response_model=ReplayResource,
    responses={
        200: {"description": "What would be replayed (`dryRun`)", "model": ReplayDryRun},
        **problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    },
    openapi_extra=json_body({"an Odoo with a new key": {"value": EXAMPLE}}, ReplayTerms),
)
async def begin_replay(request: Request, caller: Operator, parts: Parts) -> Response:
    """Replays all dead letters that match now, oldest first, at most `maxPerSecond`, however many there are.

    Workers do it. One that dies again is not among them. `dryRun` only counts them and returns the first 20. A client
    with an Odoo replays those of its requests.
    """
    terms = parse_body(await read_json(request, BODY_LIMITS), ReplayTerms)
    action = OperatorAction(caller.name, terms.reason, caller.sees_only)
    if terms.dry_run:
        preview = await parts.replay_jobs.preview(terms.wanted, action)
        return json_answer(ReplayDryRun.of(preview.matched, preview.first))
    job = await parts.replay_jobs.begin(terms.wanted, action, terms.max_per_second)
    return json_answer(ReplayResource.of(job), 202, {"Location": f"{PATH}/{job.id}"})


@router.get(
    "",
    dependencies=[KNOWN_PARAMETERS],
    summary="List background replays, newest first",
    response_model=ReplayList,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_replays(caller: Operator, parts: Parts, limit: Limit = PAGE_DEFAULT) -> Response:
    """The newest 200 are kept. A client with an Odoo sees those that are limited to its Odoo."""
    jobs = await parts.replay_queue.page(limit, caller.sees_only)
    return json_answer(ReplayList(items=[ReplayResource.of(job) for job in jobs]))


@router.get(
    "/{id}",
    summary="Read a background replay",
    response_model=ReplayDetail,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_replay(number: Number, caller: Operator, parts: Parts) -> Response:
    """Returns how far it is, and the dead letters that it did not replay, with the reason for each."""
    job = await parts.replay_queue.get(number, caller.sees_only)
    return json_answer(ReplayDetail.with_failures(job, await parts.replay_queue.failures(number)))


@router.post(
    "/{id}/stop",
    summary="Stop a background replay",
    response_model=ReplayResource,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def stop_replay(number: Number, caller: Operator, parts: Parts) -> Response:
    """Ends it after the dead letter that is being replayed. The others stay dead letters. One that is over stays so."""
    action = OperatorAction(caller.name, None, caller.sees_only)
    return json_answer(ReplayResource.of(await parts.replay_jobs.stop(number, action)))
