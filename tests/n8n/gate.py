"""A proxy between N8N and the bridge: it records every call, injects faults, and keeps running without the bridge."""

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.faults import Fault
from aigen_bridge.sim.serving import DropConnection
from aigen_bridge.sim.simulator import Received, Simulator, retry_after

PLACES = {
    "/api/v1/influencegen/ai-image-callback": "callback",
    "/api/v2/influencegen/ai-image-callback": "callback",
    "/api/v1/influencegen/ai-image-requests/{id}/wanted": "wanted",
    "/api/v1/influencegen/ai-image-requests/{id}/generation": "ask",
    "/api/v1/influencegen/ai-image-requests/{id}/generation/job": "job",
    "/api/v1/influencegen/ai-image-requests/{id}/generation/progress": "progress",
    "/api/v1/ops/n8n-failures": "failures",
}
KEPT = ("executionId", "askKey", "noJob", "stage")
"""Fields of a body that the record of calls keeps."""
FORWARDED = ("content-type", "retry-after", "x-correlation-id")


class Gate(Simulator):
    """Forwards calls to `bridge_url`. Cuts the connection when there is no URL or the bridge is unreachable."""

    def __init__(self) -> None:
        self.url = ""
        self.bridge_url: str | None = None
        super().__init__()

    def routes(self) -> list[Route]:
        return [self.at(path, place, self._forward, _method(place)) for path, place in PLACES.items()]

    def refusal(self, fault: Fault) -> Response:
        problem = {"title": "Not now", "status": fault.status, "code": "busy", "detail": "The gate is busy."}
        return JSONResponse(problem, fault.status, retry_after(fault), media_type="application/problem+json")

    def summary(self, received: Received) -> dict[str, object]:
        told = received.json if isinstance(received.json, dict) else {}
        return {"size": len(received.raw)} | {name: told[name] for name in KEPT if name in told}

    async def _forward(self, received: Received) -> Response:
        request = received.request
        query = f"?{request.url.query}" if request.url.query else ""
        if self.bridge_url is None:
            return DropConnection()
        try:
            async with httpx.AsyncClient(verify=False, trust_env=False, timeout=60) as client:
                url = self.bridge_url + request.url.path + query
                answer = await client.request(request.method, url, content=received.raw, headers=_headers(request))
        except httpx.TransportError:
            return DropConnection()
        headers = {name: answer.headers[name] for name in FORWARDED if name in answer.headers}
        return Response(answer.content, answer.status_code, headers)


def _method(place: str) -> str:
    return {"wanted": "GET", "job": "PUT", "progress": "PUT"}.get(place, "POST")


def _headers(request: Request) -> dict[str, str]:
    own = {"host", "content-length", "connection", "transfer-encoding"}
    return {name: value for name, value in request.headers.items() if name not in own}
