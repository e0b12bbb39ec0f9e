"""Responses of N8N during startup, before its webhooks are registered, as measured on 2.41.1."""

from dataclasses import dataclass
from typing import ClassVar

from pydantic import ConfigDict, NonNegativeFloat
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response

from aigen_bridge.sim.serving import DropConnection
from aigen_bridge.sim.simulator import Clock

WEBHOOK = "/webhook/aigen/v1/generate"
START_PAGE = "n8n is starting up. Please wait"
NO_ROUTE = (
    '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Error</title>\n</head>\n<body>\n'
    "<pre>Cannot {method} {path}</pre>\n</body>\n</html>\n"
)
HINT = (
    "The workflow must be active for a production URL to run successfully. You can activate the workflow "
    "using the toggle in the top-right of the editor. Note that unlike test URL calls, production URL "
    "calls aren't shown on the canvas (only in the executions list)"
)


@dataclass(frozen=True, kw_only=True)
class Restart:
    """The body of `POST /_sim/restart`. None means the value in `N8nSettings`."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    down_seconds: NonNegativeFloat = 0
    """Seconds until N8N is started again. Until then it accepts no connections."""
    starting_seconds: NonNegativeFloat | None = None
    no_webhook_seconds: NonNegativeFloat | None = None


class Startup:
    """The phases of N8N's startup.

    While it is down, connections are cut. While it migrates its database, every path responds with 200 and the start
    page. Then no path has a route: 404 with Express's page. Then the webhooks have a route but are not registered: 404
    with N8N's JSON.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.begin(down=0, starting=0, unregistered=0)

    def begin(self, *, down: float, starting: float, unregistered: float) -> None:
        """Starts in `down` seconds: the start page for `starting` seconds, then 404, half of it without routes."""
        self._started_at = self._clock() + down
        self._migrated_at = self._started_at + starting
        self._routed_at = self._migrated_at + unregistered / 2
        self._ready_at = self._migrated_at + unregistered

    @property
    def is_down(self) -> bool:
        """Returns whether N8N is not started again yet."""
        return self._clock() < self._started_at

    @property
    def ready(self) -> bool:
        """Returns whether the webhooks are registered."""
        return self._clock() >= self._ready_at

    def answer(self, request: Request) -> Response | None:
        """Returns N8N's response during startup, or None when the path responds as usual."""
        now, path = self._clock(), request.url.path
        if self.is_down:
            return DropConnection()
        if now < self._migrated_at:
            return HTMLResponse(START_PAGE)
        if now < self._routed_at:
            return no_route(request)
        return not_registered(request) if now < self._ready_at and path.startswith("/webhook/") else None


def no_route(request: Request) -> Response:
    """Returns Express's own 404, as for every path for which N8N has no route."""
    return HTMLResponse(NO_ROUTE.format(method=request.method, path=request.url.path), 404)


def not_registered(request: Request) -> Response:
    """Returns N8N's 404 for a webhook that belongs to no active workflow."""
    path = request.url.path.removeprefix("/webhook/")
    message = f'The requested webhook "{request.method} {path}" is not registered.'
    return JSONResponse({"code": 404, "message": message, "hint": HINT}, 404)
