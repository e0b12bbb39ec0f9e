"""Who did what."""

import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.api.search import operation_before, operation_page
from aigen_bridge.console.filters import Filters, without_blanks
from aigen_bridge.console.render import NOTHING, render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn, Visitor
from aigen_bridge.store.audit import OperationFilter
from aigen_bridge.store.schema import OPERATIONS

PATH = "/console/operations"
SHOWN = 50
VALUE_MAX = 160
"""Characters that the list shows of a value."""

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def operations_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Lists what operators did, newest first."""
    if shorter := without_blanks(request):
        return shorter
    filters = Filters(request)
    wanted = _filter(filters, visitor)
    found = [] if filters.problems else await parts.audit.page(wanted, SHOWN + 1)
    page = operation_page(found, SHOWN)
    return render(
        request,
        "operations.html",
        status=422 if filters.problems else 200,
        problems=filters.problems,
        operations=page.items,
        cursor=page.next_cursor,
        actions=sorted(OPERATIONS),
        changes=changes,
        several_odoos=len(parts.settings.all_odoos) > 1 and visitor.odoo is None,
        is_filtered=any(name != "cursor" for name in request.query_params),
    )


def _filter(filters: Filters, visitor: Visitor) -> OperationFilter:
    return OperationFilter(
        client=filters.text("client", "The person or client"),
        action=filters.choice("action", "The action", sorted(OPERATIONS)),
        target=filters.text("target", "The target"),
        request_id=filters.uuid("requestId", "The request"),
        since=filters.time("since", "The time from which"),
        until=filters.time("until", "The time until which"),
        q=filters.text("q", "The reason"),
        before=filters.place(operation_before),
        odoo=visitor.odoo,
    )


def changes(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> list[tuple[str, str, str]]:
    """Returns each field that changed, as it was and as it is since then."""
    old, new = before or {}, after or {}
    return [(name, _shown(old.get(name)), _shown(new.get(name))) for name in {**old, **new}]


def _shown(value: Any) -> str:
    if value is None:
        return NOTHING
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= VALUE_MAX else f"{text[:VALUE_MAX]}…"
