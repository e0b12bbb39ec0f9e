"""Announces the end of an API version (RFC 9745 `Deprecation`, RFC 8594 `Sunset`)."""

from collections.abc import Mapping
from datetime import UTC
from email.utils import format_datetime
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from aigen_bridge.settings.sections import DeprecationSettings


class DeprecationMiddleware:
    """Adds the headers to every answer below `/api/<version>/`."""

    def __init__(self, app: ASGIApp, deprecated: Mapping[Any, DeprecationSettings]) -> None:
        self._app = app
        self._headers = {f"/api/{version}/": _headers(ends) for version, ends in deprecated.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one call."""
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


def _headers(ends: DeprecationSettings) -> dict[str, str]:
    headers = {"Deprecation": f"@{int(ends.since.timestamp())}"}
    if ends.sunset:
        headers["Sunset"] = format_datetime(ends.sunset.astimezone(UTC), usegmt=True)
    if ends.link:
        headers["Link"] = f'<{ends.link}>; rel="deprecation"'
    return headers
