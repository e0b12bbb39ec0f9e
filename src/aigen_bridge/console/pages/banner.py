"""What every page shows at its top while it lasts."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get("/console/banner")
async def banner(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Returns what is paused, and other lines; nothing if there is nothing to say."""
    states = await parts.destinations.states()
    paused = [each for each in states if each.paused_at and visitor.odoo in {None, *each.destination.odoos}]
    return render(request, "banner.html", paused=paused, lines=[])
