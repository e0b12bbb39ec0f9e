"""A simulated AI service with one synchronous call, which makes and bills an image before it answers."""

import asyncio
import time
from typing import Any

import pybase64
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.drawing import ImageFormat, draw
from aigen_bridge.sim.faults import Fault
from aigen_bridge.sim.simulator import Received, Simulator, retry_after

PATH = "/v1/images/generations"


class RestService(Simulator):
    """Answers `POST /v1/images/generations`. `paid` has the correlation id of each image that was billed."""

    def __init__(self, key: str, image_format: ImageFormat = "png") -> None:
        self.key, self.image_format = key, image_format
        self.paid: list[str] = []
        super().__init__()

    def routes(self) -> list[Route]:
        return [self.at(PATH, "images", self._generate)]

    def refusal(self, fault: Fault) -> Response:
        return _error(fault.status, fault.name or "server_busy", fault.detail or "Not now.", **retry_after(fault))

    async def _generate(self, received: Received) -> Response:
        if received.request.headers.get("authorization") != f"Bearer {self.key}":
            return _error(401, "invalid_api_key", "The key is not known.")
        asked = received.json
        width, height = map(int, asked["size"].split("x"))
        self.paid.append(received.request.headers["x-correlation-id"])
        image = await asyncio.to_thread(
            draw, asked["prompt"], seed=1, width=width, height=height, image_format=self.image_format
        )
        data = {"b64_json": pybase64.b64encode(image).decode(), "revised_prompt": asked["prompt"]}
        return JSONResponse({"created": int(time.time()), "data": [data]})


def _error(status: int, code: str, message: str, **headers: Any) -> Response:
    return JSONResponse({"error": {"message": message, "type": "request_error", "code": code}}, status, headers)
