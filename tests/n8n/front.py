"""A proxy in front of N8N that forwards calls, or responds with a page of its own instead."""

import httpx
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.serving import DropConnection
from aigen_bridge.sim.simulator import Received, Simulator

PAGE = "<!DOCTYPE html><html><head><title>Please wait</title></head><body>We will be right back.</body></html>"


class Front(Simulator):
    """Forwards calls to `n8n_url`, unless `page` is set; then it responds with `page`."""

    def __init__(self, n8n_url: str) -> None:
        self.n8n_url = n8n_url
        self.page: Response | None = None
        super().__init__()

    def routes(self) -> list[Route]:
        return [self.at("/webhook/{path:path}", "webhook", self._forward)]

    async def _forward(self, received: Received) -> Response:
        if self.page is not None:
            return self.page
        request: Request = received.request
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
                answer = await client.post(self.n8n_url + request.url.path, content=received.raw, headers=headers)
        except httpx.TransportError:
            return DropConnection()
        kept = {name: answer.headers[name] for name in ("content-type",) if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)


def html(status: int) -> Response:
    """Returns a proxy's page."""
    return HTMLResponse(PAGE, status)
