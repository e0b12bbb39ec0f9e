"""What every page shows at its top while it lasts: the destinations that are paused."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn, Visitor
from aigen_bridge.store.destinations import DestinationState

PATH = "/console/banner"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def banner(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Returns the banner, for pages that are open. It is empty if nothing is paused."""
    return render(request, "banner.html", paused=await _paused(visitor, parts))


async def read_banner(request: Request, visitor: SignedIn, parts: Parts) -> None:
    """Reads the banner of a page that is opened, so that the page has it from the beginning and does not move."""
    if "text/html" in request.headers.get("accept", ""):
        request.state.paused = await _paused(visitor, parts)


async def _paused(visitor: Visitor, parts: Parts) -> list[DestinationState]:
    states = await parts.destinations.states()
    return [each for each in states if each.paused_at and visitor.odoo in {None, *each.destination.odoos}]
