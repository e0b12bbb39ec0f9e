"""What every page shows at its top while it lasts."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get("/console/banner")
async def banner(request: Request, _: SignedIn) -> Response:
    """Returns the lines of the banner; nothing if there are none."""
    return render(request, "banner.html", lines=[])
