"""A small bridge that speaks the generation protocol: grants one job, resumes it, and stops once it has an image."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

GENERATION = "/api/v1/influencegen/ai-image-requests/{id}/generation"
CALLBACK = "/api/v1/influencegen/ai-image-callback"


def problem(status: int, **body: Any) -> JSONResponse:
    """Returns a refusal of the bridge's own."""
    return JSONResponse(body, status, media_type="application/problem+json")


@dataclass
class ScriptedBridge:
    """What came, in order, as (kind, body), and the answers that replace its own, by kind, oldest first."""

    words: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    answers: dict[str, list[Response]] = field(default_factory=dict)
    job: dict[str, Any] | None = None
    wanted: bool = True
    url: str = ""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    @property
    def app(self) -> Starlette:
        return Starlette(
            routes=[
                Route(GENERATION, self._route("ask", self._decide), methods=["POST"]),
                Route(f"{GENERATION}/job", self._route("job", self._name), methods=["PUT"]),
                Route(f"{GENERATION}/progress", self._route("progress", self._reply), methods=["PUT"]),
                Route(GENERATION.replace("generation", "wanted"), self._route("wanted", self._reply)),
                Route(CALLBACK, self._route("callback", self._receipt), methods=["POST"]),
                Route("/api/v1/ops/n8n-failures", self._route("failure", self._receipt), methods=["POST"]),
            ]
        )

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Returns the bodies of one kind."""
        return [body for found, body in self.words if found == kind]

    @property
    def kinds(self) -> list[str]:
        """Returns the kinds in order, progress once for all reports in a row."""
        return [kind for i, (kind, _) in enumerate(self.words) if i == 0 or kind != self.words[i - 1][0]]

    async def until(self, kind: str, count: int = 1) -> list[dict[str, Any]]:
        """Waits for `count` words of one kind and returns their bodies."""
        async with asyncio.timeout(10), self._changed:
            await self._changed.wait_for(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def _route(self, kind: str, answer: Any) -> Any:
        async def endpoint(request: Request) -> Response:
            body = await _body(request)
            script = self.answers.get(kind)
            response = script.pop(0) if script else answer(body)
            async with self._changed:
                self.words.append((kind, body))
                self._changed.notify_all()
            return response

        return endpoint

    def _decide(self, _body: dict[str, Any]) -> Response:
        if self.of("callback") or not self.wanted:
            return JSONResponse({"status": "completed", "decision": "stop"})
        if self.job:
            return JSONResponse({"status": "dispatched", "decision": "resume", "providerJob": self.job})
        return JSONResponse({"status": "dispatched", "decision": "start", "validFor": 60})

    def _name(self, body: dict[str, Any]) -> Response:
        self.job = self.job or {name: value for name, value in body.items() if name != "executionId"}
        return self._reply(body)

    def _reply(self, _body: dict[str, Any]) -> Response:
        return JSONResponse({"status": "dispatched", "wanted": self.wanted})

    def _receipt(self, body: dict[str, Any]) -> Response:
        return JSONResponse({"id": "1", "requestId": body.get("requestId")}, 202)


async def _body(request: Request) -> dict[str, Any]:
    if request.method == "GET":
        return dict(request.query_params)
    if request.headers["content-type"].startswith("multipart/"):
        return dict(json.loads(str((await request.form())["event"])))
    return dict(await request.json())
