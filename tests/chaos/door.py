"""The load balancer before the API. N8N's callbacks pass it, and it remembers each with the API's answer.

It is also the bad network: it may hand a callback to two API processes at once, hold it back, or lose the answer.
"""

import asyncio
import json
from collections.abc import Sequence
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
SECONDS = 15


@dataclass(frozen=True, slots=True)
class Answered:
    """A callback and what an API process answered: `status` None when the connection broke, `broke` says how."""

    request_id: str
    says: str
    """`image`, `url` or `failed`."""
    content: str | None
    """The image's SHA-256, or the error's code."""
    status: int | None
    answer: dict[str, Any]
    broke: str = ""

    @property
    def taken(self) -> bool:
        """The API promised that it is stored."""
        return self.status is not None and self.status < 300

    @property
    def duplicate(self) -> bool:
        """The API said that it knew."""
        return bool(self.answer.get("duplicate"))


class Door:
    """An ASGI application before API processes."""

    def __init__(self, apis: Sequence[httpx.AsyncClient], promises: Promises, seed: int) -> None:
        self.app = Starlette(routes=[Route(PATH, self._callback, methods=["POST"])])
        self.wire: Wire = CALM
        self.answers: list[Answered] = []
        self.inside = 0
        """Callbacks under way."""
        self.last_at = 0.0
        """When the last one came or went, by the loop's clock."""
        self._apis = apis
        self._promises = promises
        self._random = Random(seed)
        self._turns = count()

    async def _callback(self, request: Request) -> Response:
        self.inside += 1
        self._touch()
        try:
            return await self._passed(request)
        except ClientDisconnect:  # N8N was killed
            return Response(status_code=400)
        finally:
            self.inside -= 1
            self._touch()

    async def _passed(self, request: Request) -> Response:
        body, event = await request.body(), await _event(request)
        wire, roll = self.wire, self._random.random
        held, both, lost = roll() < wire.held, roll() < wire.both, roll() < wire.answer_lost
        if held:
            await asyncio.sleep(wire.held_seconds)
        turn = next(self._turns)
        answer, *_ = await asyncio.gather(
            *(self._hand_over(request, body, event, turn + number) for number in range(1 + both))
        )
        return DropConnection() if lost else answer

    async def _hand_over(self, request: Request, body: bytes, event: dict[str, Any], turn: int) -> Response:
        answer = await self._ask_in_turn(request, body, turn)
        self.answers.append(_answered(event, answer))
        if isinstance(answer, str):
            return Response(f"The API broke off: {answer}.", 502)
        kept = {name: answer.headers[name] for name in ("content-type", "retry-after") if name in answer.headers}
        return Response(answer.content, answer.status_code, kept)

    async def _ask_in_turn(self, request: Request, body: bytes, turn: int) -> httpx.Response | str:
        """The answer, or what went wrong; who takes no connection is passed over, who breaks off is not asked again."""
        headers = {name: value for name, value in request.headers.items() if name not in {"host", "content-length"}}
        for number in ((turn + n) % len(self._apis) for n in range(len(self._apis))):
            try:
                return await self._ask(number, request.url.path, body, headers)
            except (httpx.ConnectError, httpx.PoolTimeout):
                continue
            except httpx.TransportError as error:
                return type(error).__name__
        return "ConnectError"

    async def _ask(self, number: int, path: str, body: bytes, headers: dict[str, str]) -> httpx.Response:
        answer = await self._apis[number].post(path, content=body, headers=headers, timeout=SECONDS)
        if answer.is_success:
            self._promises.made(number)
        return answer

    def _touch(self) -> None:
        self.last_at = asyncio.get_running_loop().time()


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
