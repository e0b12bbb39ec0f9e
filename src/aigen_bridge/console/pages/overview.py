"""Whether all is well, and what needs an operator."""

from collections.abc import Mapping

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.runbook import entry_url, runbook_url
from aigen_bridge.console.visitor import SignedIn
from aigen_bridge.domain.incident import Cause
from aigen_bridge.domain.overview import LEAVES, Hop, HopTimes, Outcome, OverviewFacts, Place, Reason, Wait, verdict
from aigen_bridge.store.overview import MOST

PATH = "/console"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def overview_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Shows the overview."""
    facts = await parts.overview.read(visitor.odoo)
    return render(
        request,
        "overview.html",
        facts=facts,
        verdict=verdict(facts),
        outcomes=_OUTCOMES,
        open=Outcome.OPEN,
        hops=_hops(facts),
        most=MOST,
        reason_href=_reason_href,
        runbook_url=runbook_url,
        places=_PLACES,
        slow_url=entry_url("AigenEndToEndSlow"),
    )


_OUTCOMES = {
    Outcome.COMPLETED: ("good", "completed"),
    Outcome.OPEN: ("busy", None),
    Outcome.FAILED_BY_N8N: ("bad", "failed"),
    Outcome.FAILED_BY_BRIDGE: ("bad", "failed"),
    Outcome.CANCELLED: ("calm", "cancelled"),
}
"""The tone of each outcome, and the status by which its requests are found."""

_PLACES: Mapping[Cause, tuple[str, str]] = {
    **{cause: ("Dead letters", f"/console/dead-letters?kind={kind}") for cause, kind in LEAVES.items()},
    **{cause: ("Requests", f"/console/requests?errorCode={cause}") for cause in (Cause.TIMED_OUT, Cause.MAYBE_PAID)},
    **dict.fromkeys(
        (Cause.N8N_DOWN, Cause.WEBHOOK_NOT_FOUND, Cause.ODOO_DOWN, Cause.MARKING_DOWN),
        ("Destinations", "/console/destinations"),
    ),
    Cause.BUDGET_NOTICE: ("Budgets", "/console/budgets"),
    Cause.COST_ABSURD: ("Models", "/console/models"),
}
"""The page on which an incident is mended: its name and address. Others are mended on the server."""


def _hops(facts: OverviewFacts) -> list[tuple[Hop, HopTimes | None, Wait | None]]:
    """Returns each hop with how long it takes, and who waits longest in it."""
    took, waits = {each.hop: each for each in facts.hops}, {each.hop: each for each in facts.waits}
    return [(hop, took.get(hop), waits.get(hop)) for hop in Hop]


def _reason_href(reason: Reason) -> str:
    match reason.place:
        case Place.WORKERS:
            return entry_url("AigenWorkerAbsent")
        case Place.DESTINATIONS:
            return "/console/destinations"
        case Place.INCIDENTS:
            return "#incidents"
        case Place.DEAD_LETTERS:
            return "/console/dead-letters" + (f"?kind={reason.kind}" if reason.kind else "")
