"""Middleware around every call: a log line and metrics, without bodies, queries or keys; deprecation; HEAD."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC
from email.utils import format_datetime
from typing import Any

import structlog
from fastapi import APIRouter
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aigen_bridge import metrics
from aigen_bridge.api.correlation import HEADER
from aigen_bridge.settings.sections import DeprecationSettings

UNMATCHED = "unmatched"
"""The route label of an unknown path: callers choose paths, and the number of labels must stay small."""
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
QUIET = frozenset({"/health/live", "/health/ready", "/metrics"})
"""Routes that are polled all the time: successful calls are logged at level DEBUG."""
CLIENT_CLOSED = 499
"""The caller disconnected before the response (nginx's status code for it)."""
PATH_MAX = 200

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class _Call:
    """The observed facts of one call."""

    bytes_in: int = 0
    bytes_out: int = 0
    status: int = CLIENT_CLOSED
    correlation_id: str | None = None


class AccessMiddleware:
    """Logs and counts calls. It is the outermost layer, so it sees the response as the caller does."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one call, then logs and counts it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        call, started = _Call(), time.monotonic()

        async def counted_receive() -> Message:
            message = await receive()
            call.bytes_in += len(message.get("body", b""))
            return message

        async def counted_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                call.status, call.correlation_id = message["status"], _correlation_id(message)
            call.bytes_out += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, counted_receive, counted_send)
        finally:
            _log_call(scope, call, time.monotonic() - started)


def begin_at_zero(routers: Iterable[APIRouter]) -> None:
    """Creates the series of every documented response at zero; otherwise the first error of a kind is not counted."""
    for route in (route for router in routers for route in router.routes):
        for method in sorted(getattr(route, "methods", None) or ()):
            metrics.HTTP_SECONDS.labels(method, route.path)  # type: ignore[attr-defined]
            for status in [getattr(route, "status_code", None) or 200, 500, *getattr(route, "responses", ())]:
                metrics.HTTP_REQUESTS.labels(method, route.path, str(status))  # type: ignore[attr-defined]


def _correlation_id(message: Message) -> str | None:
    wanted = HEADER.lower().encode()
    return next((value.decode("latin-1") for name, value in message["headers"] if name.lower() == wanted), None)


def _log_call(scope: Scope, call: _Call, took: float) -> None:
    route = getattr(scope.get("route"), "path", UNMATCHED)
    method = scope["method"] if scope["method"] in METHODS else "other"
    metrics.HTTP_REQUESTS.labels(method, route, str(call.status)).inc()
    metrics.HTTP_SECONDS.labels(method, route).observe(took)
    quiet = _is_polled(scope, route) and call.status < 400  # noqa: PLR2004 - not an error
    (log.debug if quiet else log.info)(
        "api.answered",
        method=method,
        route=route,
        path=scope["path"][:PATH_MAX],
        host=(scope.get("client") or ("-",))[0],
        status=call.status,
        duration_ms=round(took * 1000, 1),
        bytes_in=call.bytes_in,
        bytes_out=call.bytes_out,
        **_ids(scope, call),
    )


def _is_polled(scope: Scope, route: str) -> bool:
    """Returns whether such calls come by themselves all the time, as from open pages of the console."""
    is_part = scope["method"] == "GET" and any(name == b"hx-request" for name, _ in scope["headers"])
    return route in QUIET or (is_part and route.startswith("/console"))


def _ids(scope: Scope, call: _Call) -> dict[str, Any]:
    """Returns the known ids of a call. The request id comes from the path or the message."""
    request_id = scope.get("state", {}).get("request_id") or scope.get("path_params", {}).get("requestId")
    known = {"correlation_id": call.correlation_id, "request_id": request_id}
    return {name: str(value)[:PATH_MAX] for name, value in known.items() if value}


class DeprecationMiddleware:
    """Announces the end of an API version in every response below `/api/<version>/` (RFC 9745, RFC 8594)."""

    def __init__(self, app: ASGIApp, deprecated: Mapping[Any, DeprecationSettings]) -> None:
        self._app = app
        self._headers = {f"/api/{version}/": _deprecation_headers(ends) for version, ends in deprecated.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one call."""
        path = scope.get("path", "")
        headers = next((h for prefix, h in self._headers.items() if path.startswith(prefix)), None)
        if headers is None:
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(headers)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _deprecation_headers(ends: DeprecationSettings) -> dict[str, str]:
    headers = {"Deprecation": f"@{int(ends.since.timestamp())}"}
    if ends.sunset:
        headers["Sunset"] = format_datetime(ends.sunset.astimezone(UTC), usegmt=True)
    if ends.link:
        headers["Link"] = f'<{ends.link}>; rel="deprecation"'
    return headers


class HeadMiddleware:
    """Answers HEAD like GET wherever there is a GET (RFC 9110, section 9.3.2). The server sends no body for it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one call."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        inner = dict(scope, method="GET")  # a copy: by the original, the server knows that it must not send a body
        try:
            await self._app(inner, receive, send)
        finally:
            scope.update({name: value for name, value in inner.items() if name != "method"})
