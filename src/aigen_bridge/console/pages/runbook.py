"""What each alert means, and what to do about it."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.runbook import PATH, runbook
from aigen_bridge.console.visitor import SignedIn

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def runbook_page(request: Request, _: SignedIn) -> Response:
    """Shows docs/operations.md of this version, so that it can be read without internet."""
    return render(request, "runbook.html", runbook=runbook())
