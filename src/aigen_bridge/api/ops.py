"""Operations' side: what needs a person, and what a person can do about it."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated, TypeVar

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.api.auth import MAY_OPERATE, Caller
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.cursor import from_cursor, to_cursor
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.errors import UnknownDeadLetterError
from aigen_bridge.api.handling import DeadLetterName, discard_letter, replay_letter
from aigen_bridge.api.parts import Parts
from aigen_bridge.api.v1.messages import parse_body
from aigen_bridge.contracts.moment import Moment
from aigen_bridge.contracts.resources import (
    BulkReplay,
    BulkReplayed,
    DeadLetterHandled,
    DeadLetterKind,
    DeadLetterPage,
    DeadLetterResource,
    Discard,
)
from aigen_bridge.domain.errors import storable
from aigen_bridge.pipeline.replay import BULK_MAX, replay_all
from aigen_bridge.store.dead_letters import DeadLetter, DeadLetterFilter
from aigen_bridge.store.operations import Deed

BODY_LIMITS = Limits(max_bytes=16 * 2**10, timeout=timedelta(seconds=30))
EVENING = {"kind": "dispatch", "since": "2026-01-31T18:00:00Z", "until": "2026-01-31T23:00:00Z", "maxPerSecond": 5}

M = TypeVar("M", bound=BaseModel)

router = APIRouter(prefix="/api/v1/ops", tags=["operations"])

Operator = Annotated[Caller, MAY_OPERATE]
Name = Annotated[str, Path(alias="id", pattern=DeadLetterName.PATTERN, description="`entry-7` or `callback-7`")]


@router.get(
    "/dead-letters",
    dependencies=[MAY_OPERATE],
    summary="List what needs a person, newest first",
    response_model=DeadLetterPage,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_dead_letters(
    parts: Parts,
    kind: Annotated[DeadLetterKind | None, Query()] = None,
    since: Annotated[Moment | None, Query(description="at or after")] = None,
    until: Annotated[Moment | None, Query(description="before")] = None,
    error_code: Annotated[str | None, Query(alias="errorCode", max_length=200)] = None,
    limit: Annotated[int, Query(ge=1, le=200)] = 50,
    cursor: Annotated[str | None, Query(max_length=200)] = None,
) -> Response:
    """Outbox entries that were given up, callbacks that could not be used, and what N8N could not deliver."""
    code = storable(error_code) if error_code else None
    wanted = DeadLetterFilter(kind, since, until, code, from_cursor(cursor))
    found = await parts.dead_letters.page(wanted, limit + 1)
    last = found[limit - 1] if len(found) > limit else None
    items = [DeadLetterResource(**asdict(letter)) for letter in found[:limit]]
    return _json(DeadLetterPage(items=items, next_cursor=to_cursor(last.at, last.id) if last else None))


@router.get(
    "/dead-letters/{id}",
    dependencies=[MAY_OPERATE],
    summary="Read one",
    response_model=DeadLetterResource,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_dead_letter(name: Name, parts: Parts) -> Response:
    """What failed last, how often, and for which request."""
    letter = await parts.dead_letters.get(name)
    if letter is None:
        raise UnknownDeadLetterError(name)
    return _json(DeadLetterResource(**asdict(letter)))


@router.post(
    "/dead-letters/replay",
    summary="Put many back",
    response_model=BulkReplayed,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"an evening without N8N": {"value": EVENING}}, BulkReplay),
)
async def replay_many(request: Request, caller: Operator, parts: Parts) -> Response:
    """All that the filter lets through, oldest first, due at most `maxPerSecond` in a second. `dryRun` only tells."""
    body = await _read(request, BulkReplay)
    wanted = DeadLetterFilter(body.kind, body.since, body.until, body.error_code)
    found = await parts.dead_letters.page(wanted, BULK_MAX + 1)
    letters = found[:BULK_MAX][::-1]  # the oldest first
    told = BulkReplayed(dry_run=body.dry_run, matched=len(letters), more=len(found) > BULK_MAX, replayed=[], failed={})
    if body.dry_run:
        return _json(told.model_copy(update={"replayed": [letter.id for letter in letters]}))

    async def replay(letter: DeadLetter, delay: timedelta) -> None:
        await replay_letter(request, parts, DeadLetterName.read(letter.id), Deed(caller.name), delay=delay)

    done = await replay_all(letters, replay, per_second=body.max_per_second)
    return _json(told.model_copy(update={"replayed": done.replayed, "failed": done.failed}))


@router.post(
    "/dead-letters/{id}/replay",
    summary="Put one back",
    response_model=DeadLetterHandled,
    responses=problems(400, 401, 403, 404, 409, 422, 429, 503),
)
async def replay_one(request: Request, name: Name, caller: Operator, parts: Parts) -> Response:
    """An entry is owed again with all its tries; a callback is taken as if it came now.

    When a callback fails again, the answer says why and it stays where it is.
    """
    request_id, status = await replay_letter(request, parts, DeadLetterName.read(name), Deed(caller.name))
    return _json(DeadLetterHandled(id=name, action="replayed", request_id=request_id, status=status))


@router.post(
    "/dead-letters/{id}/discard",
    summary="Say that nothing needs to be done",
    response_model=DeadLetterHandled,
    responses=problems(400, 401, 403, 404, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"not ours": {"value": {"reason": "A test of the workflow."}}}, Discard),
)
async def discard_one(request: Request, name: Name, caller: Operator, parts: Parts) -> Response:
    """It leaves the list; the reason and who gave it are kept."""
    body = await _read(request, Discard)
    request_id = await discard_letter(parts, DeadLetterName.read(name), Deed(caller.name, body.reason))
    return _json(DeadLetterHandled(id=name, action="discarded", request_id=request_id))


async def _read(request: Request, model: type[M]) -> M:
    return parse_body(bytes(await read_json(request, BODY_LIMITS)), model)


def _json(body: BaseModel) -> Response:
    return Response(body.model_dump_json(by_alias=True), media_type="application/json")
