"""How the commands for operations reach the service: its own API, in this process, on the configured database.

So a command checks, does and records exactly what a call does, and no server has to run.
"""

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from aigen_bridge.cli.common import fail, person, quiet_settings
from aigen_bridge.settings import Client, Scope

DEAD_LETTERS = "/api/v1/ops/dead-letters"
REQUESTS = "/api/v1/influencegen/ai-image-requests"


class Api:
    """Calls that end the command with the problem's own words when they are refused."""

    def __init__(self, client: httpx.AsyncClient, url: str) -> None:
        self._client = client
        self.url = url
        """Where others reach the same API."""

    async def get(self, path: str, **query: Any) -> Any:
        """Read something."""
        given = {name: value for name, value in query.items() if value is not None}
        return _answered(await self._client.get(path, params=given))

    async def post(self, path: str, body: dict[str, Any] | None = None) -> Any:
        """Do something."""
        return _answered(await self._client.post(path, json=body))


def _answered(answer: httpx.Response) -> Any:
    if not answer.is_success:
        problem = answer.json()
        fail(problem["detail"], problem["action"])
    return answer.json()


@asynccontextmanager
async def local_api() -> AsyncIterator[Api]:
    """The API on the configured database; what is done is recorded as done by this person at the command line."""
    from aigen_bridge.api.app import create_app

    key, name = secrets.token_urlsafe(32), person()
    settings = quiet_settings()
    me = Client.model_validate({"keys": [key], "scopes": [Scope.OPS, Scope.REQUESTS]})
    app = create_app(settings.model_copy(update={"clients": {**settings.clients, name: me}}))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://local", headers={"X-API-Key": key}) as client,
    ):
        yield Api(client, settings.public_url)
