"""The search of requests, and its export."""

import csv
import io
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.api.v1.requests import place_of
from aigen_bridge.console.filters import Filters, without_blanks
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn, Visitor
from aigen_bridge.contracts.resources import CostState, EstimatedCost, RequestResource
from aigen_bridge.contracts.v1 import PROMPT_MAX
from aigen_bridge.contracts.views import request_page
from aigen_bridge.domain.request import ImageRequest, Status
from aigen_bridge.store.requests import Page
from aigen_bridge.store.search import RequestSearch, id_range
from aigen_bridge.wiring import ApiParts

PATH, CSV_PATH = "/console/requests", "/console/requests.csv"
SHOWN = 50
EXPORTED_MAX, EXPORTED_AT_ONCE = 10_000, 500
COLUMNS = (
    *("created_at", "request_id", "correlation_id", "odoo", "status", "user_id", "campaign_id", "model_id", "model"),
    *("prompt", "error_code", "error_message", "seconds", "cost", "currency", "delivered_at"),
)
CONTENT = frozenset({"prompt", "error_message"})
"""Columns that may quote the prompt."""
FORMULA = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}", "\N{FULLWIDTH COMMERCIAL AT}")
"""Beginnings that spreadsheets take for a formula."""

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Row:
    """A request in the list. `model` is the model's name, if the catalogue had it."""

    request: RequestResource
    model: str | None

    @property
    def took(self) -> timedelta | None:
        """The time from its acceptance to its end."""
        ended = self.request.completed_at
        return ended - self.request.created_at if ended else None

    @property
    def costs(self) -> list[CostState]:
        """What the ledger has booked, otherwise what N8N reported."""
        return self.request.charged or ([self.request.cost] if self.request.cost else [])

    @property
    def estimate(self) -> EstimatedCost | None:
        """What it is expected to cost while nothing is known."""
        return None if self.costs else self.request.estimated_cost


@router.get(PATH)
async def requests_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Lists the requests that match the filters in the address, newest first."""
    return without_blanks(request) or await _list(request, visitor, parts)


async def _list(request: Request, visitor: Visitor, parts: ApiParts) -> Response:
    filters = Filters(request)
    wanted = _search(filters, visitor)
    rows, cursor = ([], None) if filters.problems else await _rows(parts, await parts.search.page(wanted, SHOWN))
    return render(
        request,
        "requests.html",
        status=422 if filters.problems else 200,
        problems=filters.problems,
        rows=rows,
        cursor=cursor,
        statuses=list(Status),
        odoos=list(parts.settings.all_odoos),
        models=sorted((await parts.models.read()).models.values(), key=lambda model: model.name),
        is_filtered=any(name != "cursor" for name in request.query_params),
        exported_max=EXPORTED_MAX,
    )


@router.get(CSV_PATH)
async def export(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Returns the requests that match the filters as CSV, newest first, at most `EXPORTED_MAX`."""
    filters = Filters(request)
    wanted = _search(filters, visitor)
    if filters.problems:
        return await _list(request, visitor, parts)
    first = await parts.search.page(wanted, EXPORTED_AT_ONCE)  # an error here is a page, later a broken download
    name = f"requests-{datetime.now(UTC):%Y%m%d-%H%M%S}.csv"
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(_csv(parts, visitor, wanted, first), media_type="text/csv; charset=utf-8", headers=headers)


def _search(filters: Filters, visitor: Visitor) -> RequestSearch:
    status = filters.choice("status", "The status", [status.value for status in Status])
    q = filters.text("q", "The search", longest=PROMPT_MAX)
    if q and not visitor.sees_content and id_range(q) is None:
        filters.problems.append("Prompts are hidden from you, so search by an id instead of words.")
    odoo = filters.text("odoo", "The Odoo")
    if visitor.odoo and odoo not in {None, visitor.odoo}:
        filters.problems.append(f"You see the requests of Odoo {visitor.odoo} only.")
    return RequestSearch(
        q=q,
        ids_only=not visitor.sees_content,
        statuses=(Status(status),) if status else (),
        error_code=filters.text("errorCode", "The error code"),
        user_id=filters.uuid("userId", "The person"),
        model_id=filters.uuid("modelId", "The model"),
        campaign_id=filters.uuid("campaignId", "The campaign"),
        odoo=visitor.odoo or odoo,
        created_after=filters.time("createdAfter", "The time from which"),
        created_before=filters.time("createdBefore", "The time until which"),
        before=filters.place(place_of),
    )


async def _rows(parts: ApiParts, found: Page) -> tuple[list[Row], str | None]:
    ids = [each.request_id for each in found.items]
    holds, generations = await parts.destinations.held(ids), await parts.generations.find(ids)
    page = request_page(found.items, holds, generations, found.end)
    models = {each.request_id: _model_name(each) for each in found.items}
    return [Row(item, models[item.request_id]) for item in page.items], page.next_cursor


def _model_name(request: ImageRequest) -> str | None:
    name = (request.model or {}).get("name")
    return str(name) if name else None


async def _csv(parts: ApiParts, visitor: Visitor, wanted: RequestSearch, page: Page) -> AsyncIterator[str]:
    """Yields the lines. They begin with a byte order mark, without which Excel misreads UTF-8."""
    yield "\ufeff" + _lines([COLUMNS])
    left = EXPORTED_MAX
    while True:
        rows, _ = await _rows(parts, page)
        yield _lines(_cells(row, visitor) for row in rows[:left])
        left -= len(rows)
        if page.end is None or left <= 0:
            return
        page = await parts.search.page(replace(wanted, before=page.end), EXPORTED_AT_ONCE)


def _cells(row: Row, visitor: Visitor) -> list[str]:
    values = row.request.model_dump(mode="json") | {
        "model": row.model,
        "seconds": row.took.total_seconds() if row.took else None,
        "cost": " ".join(cost.amount for cost in row.costs),
        "currency": " ".join(cost.currency for cost in row.costs),
    }
    hidden = frozenset() if visitor.sees_content else CONTENT
    return [_cell(None if name in hidden else values[name]) for name in COLUMNS]


def _cell(value: object) -> str:
    """Returns a cell as text. One that a spreadsheet would take for a formula gets an apostrophe before it."""
    text = "" if value is None else str(value)
    return f"'{text}" if text.lstrip().startswith(FORMULA) or text[:1] in {"\t", "\r", "\n"} else text


def _lines(rows: Iterable[Iterable[str]]) -> str:
    written = io.StringIO()
    csv.writer(written).writerows(rows)
    return written.getvalue()
