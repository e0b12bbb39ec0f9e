"""The clients and their keys, and the sessions of the console."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import SignedIn

PATH = "/console/keys"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def keys_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Lists clients with their keys, and the open sessions."""
    return render(request, "keys.html", keys=[], sessions=await parts.sessions.current(visitor.odoo))
