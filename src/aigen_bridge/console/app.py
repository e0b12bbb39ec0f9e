"""Adds the console to the application."""

from fastapi import APIRouter, Depends, FastAPI, Request
from fastapi.responses import RedirectResponse, Response

from aigen_bridge.api.middleware import begin_at_zero
from aigen_bridge.console import oidc, sign_in, static_files
from aigen_bridge.console.errors import UnknownActionError, UnknownPageError
from aigen_bridge.console.pages import (
    banner,
    budgets,
    dead_letters,
    destinations,
    keys,
    models,
    operations,
    overview,
    replays,
    request,
    requests,
    runbook,
    usage,
)
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, SignedIn

unknown = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

PLAIN = (static_files.router, sign_in.router, oidc.router, banner.router)
PAGES = (
    overview.router,
    dead_letters.router,
    replays.router,
    destinations.router,
    models.router,
    budgets.router,
    usage.router,
    keys.router,
    operations.router,
    requests.router,
    runbook.router,
    request.router,
)
"""What has a banner at its top."""


@unknown.get("/console/{path:path}")
async def unknown_page(request: Request, _: SignedIn, path: str) -> Response:
    """Says that there is no such page. `/console/` is the first page."""
    if not path:
        return RedirectResponse("/console")
    raise UnknownPageError(request.url.path)


@unknown.post("/console/{path:path}")
async def unknown_action(request: Request, _: Operating, path: str) -> Response:  # noqa: ARG001 - the path is in the address
    """Says that there is no such action, as for a form of another version."""
    raise UnknownActionError(request.url.path)


PAGED = (*PAGES, unknown)  # the last one takes what the others leave
ROUTERS = (*PLAIN, *PAGED)

console = APIRouter()
for _router in ROUTERS:
    console.include_router(_router, dependencies=[Depends(banner.read_banner)] if _router in PAGED else [])


def install(app: FastAPI) -> None:
    """Adds the pages of the console."""
    app.router.routes += console.routes  # built once, for every application
    app.state.routes += [route for router in ROUTERS for route in router.routes]
    begin_at_zero(ROUTERS)
