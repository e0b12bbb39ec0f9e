"""What was spent and reserved in a period, by currency; also as CSV."""

from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.api.v1.usage import CSV, TIME_MAX
from aigen_bridge.console.filters import without_blanks
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.usage_report import Asked, day_text, presets, requests_url, tables
from aigen_bridge.console.visitor import SignedIn
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.usage import UsageReport
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.usage import GroupBy, UsageFilter
from aigen_bridge.wiring import ApiParts

PATH = "/console/usage"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


async def _asked(
    since: Annotated[str, Query(alias="from")] = "",
    until: Annotated[str, Query(alias="to")] = "",
    group_by: Annotated[str, Query(alias="groupBy")] = "",
    odoo: str = "",
) -> Asked:
    typed = (storable(each).strip()[:TIME_MAX] for each in (since, until, group_by, odoo))
    return Asked(*typed)


AskedFor = Annotated[Asked, Depends(_asked)]


@router.get(PATH)
async def usage_page(request: Request, visitor: SignedIn, parts: Parts, asked: AskedFor) -> Response:
    """Shows the sums. What is wrong with the query is said on the page."""
    if shorter := without_blanks(request):
        return shorter
    zone, now = parts.settings.money.time_zone, datetime.now(UTC)
    page: dict[str, Any] = {
        "asked": asked,
        "groups": list(GroupBy),
        "presets": presets(now, zone),
        "time_zone": zone,
        "odoos": sorted(parts.settings.all_odoos) if visitor.odoo is None else [],
    }
    try:
        wanted = asked.filter(visitor.odoo, now=now, time_zone=zone)
    except InvalidMessageError as error:
        page |= {"errors": error.errors, "wanted": None, "since": "", "until": "", "tables": []}
        return render(request, "usage.html", status=422, **page)
    page |= {
        "errors": [],
        "wanted": wanted,
        "since": day_text(wanted.since, zone),
        "until": day_text(wanted.until, zone),
    }
    found, names = await parts.ledger.usage(wanted), await _names(parts, wanted)
    shown = tables(found, wanted.group_by, names)
    return render(request, "usage.html", **page, tables=shown, requests_url=requests_url)


@router.get(f"{PATH}.csv")
async def usage_csv(visitor: SignedIn, parts: Parts, asked: AskedFor) -> Response:
    """Returns the same as the API's CSV. Its cells are ids, dates, codes and amounts: none can begin a formula."""
    wanted = asked.filter(visitor.odoo, now=datetime.now(UTC), time_zone=parts.settings.money.time_zone)
    report = UsageReport.of(wanted, await parts.ledger.usage(wanted))
    since, until = (day_text(at, wanted.time_zone)[:10] for at in (wanted.since, wanted.until))
    name = "-".join(["usage", since, until, *(["by", wanted.group_by] if wanted.group_by else [])])
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(report.csv(), headers=headers, media_type=CSV)


async def _names(parts: ApiParts, wanted: UsageFilter) -> dict[UUID, str]:
    """Returns the names of models, if they are needed."""
    if wanted.group_by is not GroupBy.MODEL:
        return {}
    return {model.model_id: model.name for model in (await parts.models.read()).models.values()}
