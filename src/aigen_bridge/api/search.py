"""Endpoints for operators that search: requests, and what operators did."""

from dataclasses import asdict
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Query
from fastapi.responses import Response

from aigen_bridge.api.auth import Operator
from aigen_bridge.api.describe import problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, PAGE_DEFAULT, Cursor, Limit, Parts, json_answer
from aigen_bridge.api.v1.requests import place_of
from aigen_bridge.contracts.operations import OperationPage, OperationResource
from aigen_bridge.contracts.resources import RequestPage
from aigen_bridge.contracts.v1 import PROMPT_MAX
from aigen_bridge.contracts.views import from_cursor, request_page, to_cursor, wrong_cursor
from aigen_bridge.contracts.wire import Rfc3339DateTime
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.request import Status
from aigen_bridge.store.audit import Operation, OperationFilter
from aigen_bridge.store.search import RequestSearch

TEXT_MAX = 200
ID_MAX = 2**63 - 1

router = APIRouter(prefix="/api/v1/ops", tags=["operations"])


@router.get(
    "/requests",
    dependencies=[KNOWN_PARAMETERS],
    summary="Search requests, newest first",
    response_model=RequestPage,
    responses=problems(401, 403, 422, 429, 503),
)
async def search_requests(
    caller: Operator,
    parts: Parts,
    q: Annotated[
        str | None,
        Query(
            max_length=PROMPT_MAX,
            description="the beginning of a requestId, a whole correlationId, or words of the prompt in any order",
        ),
    ] = None,
    status: Annotated[Status | None, Query()] = None,
    error_code: Annotated[str | None, Query(alias="errorCode", max_length=TEXT_MAX)] = None,
    user_id: Annotated[UUID | None, Query(alias="userId")] = None,
    model_id: Annotated[UUID | None, Query(alias="modelId")] = None,
    campaign_id: Annotated[UUID | None, Query(alias="campaignId")] = None,
    odoo: Annotated[str | None, Query(max_length=TEXT_MAX, description="the name of an Odoo")] = None,
    created_after: Annotated[
        Rfc3339DateTime | None, Query(alias="createdAfter", description="at or after this time")
    ] = None,
    created_before: Annotated[
        Rfc3339DateTime | None, Query(alias="createdBefore", description="before this time")
    ] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Returns the requests that have all of these. Words are whole words, in upper or lower case.

    A blank `q` counts as omitted. A client with an Odoo finds the requests of this Odoo.
    """
    wanted = RequestSearch(
        q=q,
        statuses=(status,) if status else (),
        error_code=storable(error_code) if error_code else None,
        user_id=user_id,
        model_id=model_id,
        campaign_id=campaign_id,
        odoo=caller.sees_only or (storable(odoo) if odoo else None),
        created_after=created_after,
        created_before=created_before,
        before=place_of(cursor),
    )
    if odoo and odoo != wanted.odoo:
        return json_answer(RequestPage(items=[]))
    found = await parts.search.page(wanted, limit)
    ids = [each.request_id for each in found.items]
    holds, generations = await parts.destinations.held(ids), await parts.generations.find(ids)
    return json_answer(request_page(found.items, holds, generations, found.end))


@router.get(
    "/operations",
    dependencies=[KNOWN_PARAMETERS],
    summary="List what operators did, newest first",
    response_model=OperationPage,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_operations(
    caller: Operator,
    parts: Parts,
    client: Annotated[str | None, Query(max_length=TEXT_MAX, description="who did it")] = None,
    action: Annotated[str | None, Query(max_length=TEXT_MAX, description="such as `replay`")] = None,
    target: Annotated[str | None, Query(max_length=TEXT_MAX, description="such as `entry-7`")] = None,
    request_id: Annotated[UUID | None, Query(alias="requestId")] = None,
    since: Annotated[Rfc3339DateTime | None, Query(description="at or after this time")] = None,
    until: Annotated[Rfc3339DateTime | None, Query(description="before this time")] = None,
    q: Annotated[str | None, Query(max_length=TEXT_MAX, description="a part of the reason")] = None,
    limit: Limit = PAGE_DEFAULT,
    cursor: Cursor = None,
) -> Response:
    """Returns who did what and when, what it changed, and why. Calls, commands and the console are recorded alike.

    A client with an Odoo sees what concerns this Odoo.
    """
    texts = {"client": client, "action": action, "target": target, "q": q}
    wanted = OperationFilter(
        **{name: storable(value) if value else None for name, value in texts.items()},
        request_id=request_id,
        since=since,
        until=until,
        before=operation_before(cursor),
        odoo=caller.sees_only,
    )
    return json_answer(operation_page(await parts.audit.page(wanted, limit + 1), limit))


def operation_page(found: list[Operation], limit: int) -> OperationPage:
    """Returns a page of at most `limit` actions. One more in `found` means that there is a next page."""
    last = found[limit - 1] if len(found) > limit else None
    items = [_resource(operation) for operation in found[:limit]]
    return OperationPage(items=items, next_cursor=to_cursor(last.at, str(last.id)) if last else None)


def _resource(operation: Operation) -> OperationResource:
    fields = asdict(operation)
    return OperationResource(**fields | {"reason": fields.pop("note")})


def operation_before(cursor: str | None) -> int | None:
    """Decodes the cursor of the list of operations. Raises `InvalidMessageError` for anything else."""
    place = from_cursor(cursor)
    if place is None:
        return None
    if not (place[1].isascii() and place[1].isdecimal() and int(place[1]) <= ID_MAX):
        raise wrong_cursor(cursor or "")
    return int(place[1])
