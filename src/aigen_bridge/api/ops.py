"""Operations' side: what needs a person, and what a person can do about it."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.api.auth import MAY_OPERATE, Caller
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.callbacks import Arrival, process
from aigen_bridge.api.cursor import from_cursor, to_cursor
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.errors import UnknownDeadLetterError
from aigen_bridge.api.moment import Moment
from aigen_bridge.api.parts import Parts
from aigen_bridge.api.v1.messages import parse_discard
from aigen_bridge.contracts.resources import DeadLetterHandled, DeadLetterPage, DeadLetterResource, Discard
from aigen_bridge.domain.errors import storable
from aigen_bridge.store.dead_letters import DeadLetterFilter
from aigen_bridge.store.quarantine import QuarantinedCallback
from aigen_bridge.wiring import ApiParts

DISCARD_LIMITS = Limits(max_bytes=16 * 2**10, timeout=timedelta(seconds=30))

router = APIRouter(prefix="/api/v1/ops", tags=["operations"])

Kind = Literal["dispatch", "fetch", "deliver", "callback"]
Name = Annotated[str, Path(alias="id", pattern=r"^callback-[0-9]{1,18}$", description="of a quarantined callback")]


@router.get(
    "/dead-letters",
    dependencies=[MAY_OPERATE],
    summary="List what needs a person, newest first",
    response_model=DeadLetterPage,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_dead_letters(
    parts: Parts,
    kind: Annotated[Kind | None, Query()] = None,
    since: Annotated[Moment | None, Query(description="at or after")] = None,
    until: Annotated[Moment | None, Query(description="before")] = None,
    error_code: Annotated[str | None, Query(alias="errorCode", max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Outbox entries that were given up, and callbacks that could not be used."""
    code = storable(error_code) if error_code else None
    wanted = DeadLetterFilter(kind, since, until, code, from_cursor(cursor))
    found = await parts.dead_letters.page(wanted, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    items = [DeadLetterResource(**asdict(letter)) for letter in found[:limit]]
    return _json(DeadLetterPage(items=items, next_cursor=to_cursor(last.at, last.id) if last else None))


@router.post(
    "/dead-letters/{id}/replay",
    summary="Try a callback again",
    response_model=DeadLetterHandled,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503),
)
async def replay(request: Request, name: Name, caller: Annotated[Caller, MAY_OPERATE], parts: Parts) -> Response:
    """As if it came now. When it fails again, the answer says why and it stays where it is."""
    kept = await _open(parts, name)
    receipt = await process(request, parts, Arrival(kept.client, kept.version, kept.payload, kept.image))
    await parts.quarantine.close(kept.id, "replayed", by=caller.name)
    done = DeadLetterHandled(id=name, action="replayed", request_id=receipt.request_id, status=receipt.status)
    return _json(done)


@router.post(
    "/dead-letters/{id}/discard",
    summary="Say that nothing needs to be done",
    response_model=DeadLetterHandled,
    responses=problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"not ours": {"value": {"reason": "A test of the workflow."}}}, Discard),
)
async def discard(request: Request, name: Name, caller: Annotated[Caller, MAY_OPERATE], parts: Parts) -> Response:
    """It leaves the list; the reason and who gave it are kept."""
    said = parse_discard(bytes(await read_json(request, DISCARD_LIMITS)))
    kept = await _open(parts, name)
    if not await parts.quarantine.close(kept.id, "discarded", by=caller.name, note=said.reason):
        raise UnknownDeadLetterError(name)
    return _json(DeadLetterHandled(id=name, action="discarded", request_id=kept.request_id))


async def _open(parts: ApiParts, name: str) -> QuarantinedCallback:
    kept = await parts.quarantine.get(int(name.removeprefix("callback-")))
    if kept is None or kept.state != "open":
        raise UnknownDeadLetterError(name)
    return kept


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(by_alias=True), media_type="application/json")
