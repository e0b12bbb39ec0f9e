"""Accepts `X-Correlation-ID`, adds it to every log line and response, and responds to uncaught errors."""

import re
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any
from uuid import UUID, uuid4

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Correlation-ID"
_SAFE = re.compile(r"[A-Za-z0-9._:-]{1,128}\Z")

log = structlog.get_logger(__name__)
_current: ContextVar[str] = ContextVar("correlation_id", default="-")


def current() -> str:
    """Returns the correlation id of the current call."""
    return _current.get()


class CorrelationMiddleware:
    """Uses the caller's id if it is well-formed, otherwise a new one. `on_bug` responds to uncaught errors."""

    def __init__(self, app: ASGIApp, on_bug: Callable[[Request, Exception], Response]) -> None:
        self._app = app
        self._on_bug = on_bug

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles one call."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        token = _current.set(_id_from_header(scope) or str(uuid4()))
        try:
            with structlog.contextvars.bound_contextvars(correlation_id=current()):
                await self._answer(scope, receive, send)
        finally:
            _current.reset(token)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def send_with_id(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                MutableHeaders(scope=message)[HEADER] = current()
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except ClientDisconnect:
            log.info("api.client_disconnected", path=scope["path"])
        except Exception as error:
            if started:
                raise
            await self._on_bug(Request(scope), error)(scope, receive, send_with_id)


def adopt(request: Request, correlation_id: UUID, request_id: UUID | None = None) -> None:
    """Uses the ids of the message for logs and the response. A correlation id in the header takes precedence."""
    if request_id is not None:
        bind_request(request, request_id)
    if _id_from_header(request.scope) is None:
        _current.set(str(correlation_id))
        structlog.contextvars.bind_contextvars(correlation_id=str(correlation_id))


def bind_request(request: Request, request_id: UUID) -> None:
    """Adds the request's id to the log lines and problem documents of this call."""
    request.state.request_id = request_id
    structlog.contextvars.bind_contextvars(request_id=str(request_id))


def _id_from_header(scope: Any) -> str | None:
    for name, value in scope["headers"]:
        if name == HEADER.lower().encode():
            text = value.decode("latin-1")
            return text if _SAFE.match(text) else None
    return None
