"""Endpoints of destinations: operators see what waits for each, pause and resume it, and limit its calls."""

from datetime import timedelta
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.api.auth import Caller, Operator
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, Parts, json_answer
from aigen_bridge.contracts.destinations import (
    DestinationChanged,
    DestinationLimit,
    DestinationList,
    DestinationPause,
    DestinationResume,
)
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.pipeline.destinations import DestinationChange

BODY_LIMITS = Limits(max_bytes=16 * 2**10, timeout=timedelta(seconds=30))
CHANGE_PROBLEMS = (400, 401, 403, 404, 408, 413, 415, 422, 429, 503)

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/api/v1/ops/destinations", tags=["operations"])

Name = Annotated[str, Path(description="`n8n`, `odoo` or `odoo:default` for the first Odoo, `odoo:<name>`")]


@router.get(
    "",
    dependencies=[KNOWN_PARAMETERS],
    summary="List the destinations",
    response_model=DestinationList,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_destinations(caller: Operator, parts: Parts) -> Response:
    """Returns the state of N8N and of each Odoo, and what waits for it.

    A client with an Odoo sees this Odoo, and what N8N has of its requests.
    """
    return json_answer(DestinationList.of(await parts.destinations.overview(caller.sees_only)))


@router.post(
    "/{name}/pause",
    summary="Pause a destination",
    response_model=DestinationChanged,
    responses=problems(*CHANGE_PROBLEMS),
    openapi_extra=json_body({"an upgrade": {"value": {"reason": "Odoo is being upgraded."}}}, DestinationPause),
)
async def pause(request: Request, name: Name, caller: Operator, parts: Parts) -> Response:
    """Sends nothing more to it until it is resumed, on all workers within 5 seconds. Calls in flight are finished.

    While it is paused nothing expires: neither what waits for it, nor, at N8N, the deadlines and the silence of
    requests. N8N still reports results. One that is paused already keeps its first reason; `changed` is false then. A
    client with an Odoo can pause this Odoo only.
    """
    body = await _read(request, DestinationPause)
    return _answer(await parts.destination_changes.pause(name, _action(caller, body.reason)))


@router.post(
    "/{name}/resume",
    summary="Resume a destination",
    response_model=DestinationChanged,
    responses=problems(*CHANGE_PROBLEMS),
    openapi_extra=json_body({"no reason": {"value": {}}}, DestinationResume),
)
async def resume(request: Request, name: Name, caller: Operator, parts: Parts) -> Response:
    """Sends what waits. The time of the pause does not count for it. If its breaker is open, it is probed at once."""
    body = await _read(request, DestinationResume)
    return _answer(await parts.destination_changes.resume(name, _action(caller, body.reason)))


@router.patch(
    "/{name}",
    summary="Limit the calls in flight to a destination",
    response_model=DestinationChanged,
    responses=problems(*CHANGE_PROBLEMS),
    openapi_extra=json_body({"two at once": {"value": {"concurrency": 2}}}, DestinationLimit),
)
async def limit(request: Request, name: Name, caller: Operator, parts: Parts) -> Response:
    """Limits the calls in flight over all workers, within 5 seconds. `null` restores the setting.

    The bridge still halves the calls to an Odoo that answers slowly; the limit is the most it returns to. To N8N, each
    worker also makes at most `AIGEN_N8N__CONCURRENCY` calls at once.
    """
    body = await _read(request, DestinationLimit)
    return _answer(await parts.destination_changes.limit(name, body.concurrency, _action(caller)))


def _answer(change: DestinationChange) -> Response:
    return json_answer(DestinationChanged.made(change.status, changed=change.changed))


def _action(caller: Caller, note: str | None = None) -> OperatorAction:
    return OperatorAction(caller.name, note, caller.sees_only)


async def _read(request: Request, model: type[M]) -> M:
    return parse_body(await read_json(request, BODY_LIMITS), model)
