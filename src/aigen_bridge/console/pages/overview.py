"""Whether all is well, and what needs an operator."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn

PATH = "/console"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def overview_page(request: Request, _: SignedIn) -> Response:
    """Shows the overview."""
    return render(request, "overview.html")
