"""The load balancer in front of the API. It forwards N8N's calls and records each callback with its response.

It also simulates a bad network: it may send a call to two API processes at once, delay it, or lose the response.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import count
from random import Random
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from aigen_bridge.sim.serving import DropConnection
from chaos.promises import Promises
from chaos.weather import CALM, Wire

PATH = "/api/{version}/influencegen/ai-image-callback"
GENERATION = "/generation"
"""Part of the paths of the calls with which N8N asks, names its job, and reports progress."""
SECONDS = 15


@dataclass(frozen=True, slots=True)
class Answered:
    """A callback and an API process's response. `status` is None when the connection broke; `broke` is the reason."""

    request_id: str
    says: str
    """`image`, `url` or `failed`."""
    content: str | None
    """The image's SHA-256, or the error code."""
    status: int | None
    answer: dict[str, Any]
    broke: str = ""

    @property
    def taken(self) -> bool:
        """Whether the API promised that the callback is stored."""
        return self.status is not None and self.status < 300

    @property
    def duplicate(self) -> bool:
        """Whether the API reported a repeated callback."""
        return bool(self.answer.get("duplicate"))


class LoadBalancer:
    """An ASGI application in front of the API processes."""

    def __init__(self, apis: Sequence[httpx.AsyncClient], promises: Promises, seed: int) -> None:
        others = Route("/{path:path}", self._other, methods=["GET", "POST", "PUT"])
        self.app = Starlette(routes=[Route(PATH, self._callback, methods=["POST"]), others])
        self.wire: Wire = CALM
        self.answers: list[Answered] = []
        self.inside = 0
        """Number of running calls."""
        self._apis = apis
        self._promises = promises
        self._random = Random(seed)
        self._turns = count()

    async def _callback(self, request: Request) -> Response:
        return await self._counted(self._forward_callback, request)

    async def _other(self, request: Request) -> Response:
        return await self._counted(self._forward, request)

    async def _counted(self, handle: Callable[[Request], Awaitable[Response]], request: Request) -> Response:
        self.inside += 1
        try:
            return await handle(request)
        except ClientDisconnect:  # N8N was killed
            return Response(status_code=400)
        finally:
            self.inside -= 1

    async def _forward_callback(self, request: Request) -> Response:
        body, event = await request.body(), await _event(request)
        return await self._in_weather(lambda turn: self._forward_once(request, body, event, turn))

    async def _in_weather(self, forward: Callable[[int], Awaitable[Response]]) -> Response:
        wire, roll = self.wire, self._random.random
        held, both, lost = roll() < wire.held, roll() < wire.both, roll() < wire.answer_lost
        if held:
            await asyncio.sleep(wire.held_seconds)
        turn = next(self._turns)
        answer, *_ = await asyncio.gather(*(forward(turn + number) for number in range(1 + both)))
        return DropConnection() if lost else answer

    async def _forward(self, request: Request) -> Response:
        body = await request.body()

        async def forward(turn: int) -> Response:
            return _as_answered(await self._ask_in_turn(request, body, turn))

        if GENERATION in request.url.path:
            return await self._in_weather(forward)
        return await forward(next(self._turns))

    async def _forward_once(self, request: Request, body: bytes, event: dict[str, Any], turn: int) -> Response:
        answer = await self._ask_in_turn(request, body, turn)
        self.answers.append(_answered(event, answer))
        return _as_answered(answer)

    async def _ask_in_turn(self, request: Request, body: bytes, turn: int) -> httpx.Response | str:
        """Returns the response, or the name of the error.

        Skips processes that accept no connection. Does not repeat a call after the connection broke.
        """
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        for number in ((turn + n) % len(self._apis) for n in range(len(self._apis))):
            try:
                return await self._ask(number, request, body, headers)
            except (httpx.ConnectError, httpx.PoolTimeout):
                continue
            except httpx.TransportError as error:
                return type(error).__name__
        return "ConnectError"

    async def _ask(self, number: int, request: Request, body: bytes, headers: dict[str, str]) -> httpx.Response:
        method, url = request.method, request.url.path + (request.url.query and f"?{request.url.query}")
        answer = await self._apis[number].request(method, url, content=body, headers=headers, timeout=SECONDS)
        if answer.is_success and method == "POST":
            self._promises.made(number)
        return answer


def _as_answered(answer: httpx.Response | str) -> Response:
    if isinstance(answer, str):
        return Response(f"The API broke off: {answer}.", 502)
    kept = {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}
    return Response(answer.content, answer.status_code, kept)


async def _event(request: Request) -> dict[str, Any]:
    if not request.headers.get("content-type", "").startswith("multipart/"):
        return dict(await request.json())
    async with request.form() as form:
        part = form["event"]
        return dict(json.loads(part if isinstance(part, str) else await part.read()))


def _answered(event: dict[str, Any], answer: httpx.Response | str) -> Answered:
    says = "failed" if event["status"] == "failed" else "url" if "imageUrl" in event else "image"
    content = event.get("errorCode") if says == "failed" else event["hashValue"]
    if isinstance(answer, str):
        return Answered(event["requestId"], says, content, None, {}, answer)
    return Answered(event["requestId"], says, content, answer.status_code, _json(answer))


def _json(answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
