"""Simulates fal.ai's flux-lora: synchronous calls, the queue, and image URLs that expire."""

import asyncio
import random
import secrets
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import pybase64
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from aigen_bridge.sim.drawing import draw
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_contract import (
    SEEDS,
    FluxInput,
    infrastructure_error,
    model_error,
    model_errors,
)
from aigen_bridge.sim.flux_queue import Jobs
from aigen_bridge.sim.simulator import Clock, Handler, Received, Simulator, retry_after
from aigen_bridge.sim.temporary import TemporaryFiles

MODEL = "/fal-ai/flux-lora"
QUEUE = f"/queue{MODEL}"
OUTPUT_KINDS = frozenset({FaultKind.NO_IMAGE, FaultKind.WRONG_SIZE, FaultKind.WRONG_DIMENSIONS})
INFRASTRUCTURE_STATUSES = frozenset({429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class FluxSettings:
    """Behaviour of the simulated AI service."""

    key: str = field(repr=False)
    """Key that callers send as `Authorization: Key <key>`."""
    seconds: float = 0.05
    """Duration of a generation, in addition to the drawing."""
    url_lifetime: float = 360.0
    """Seconds after which an image URL responds with 404."""
    public_url: str | None = None
    """Base of the image and queue URLs; None: the host that the caller used."""
    seed: int = 0
    """Seed for the image seeds of requests without one, and for faults with a `chance`."""


class FluxSimulator(Simulator):
    """A fal.ai with one model.

    Routes for faults: `generate` (synchronous and queued), `image` (downloads), `queue` (status, result, cancel).
    """

    def __init__(self, settings: FluxSettings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        self._random = random.Random(settings.seed)  # noqa: S311 - seeds of images
        self._files = TemporaryFiles(settings.url_lifetime, clock)
        self._jobs = Jobs()
        super().__init__(seed=settings.seed, clock=clock)

    def routes(self) -> list[Route]:
        """Returns the endpoints of the model, the queue and the images."""
        job = f"{QUEUE}/requests/{{id}}"
        return [
            self.at(MODEL, "generate", self._with_key(self._generate)),
            self.at(QUEUE, "generate", self._with_key(self._submit)),
            self.at(f"{job}/status", "queue", self._with_key(self._status), "GET"),
            self.at(f"{job}/cancel", "queue", self._with_key(self._cancel), "PUT"),
            self.at(job, "queue", self._with_key(self._result), "GET"),
            self.at("/files/{name}", "image", self._files.served(self.faults), "GET"),
        ]

    def refusal(self, fault: Fault) -> Response:
        """Returns 429 and 5xx in the format of fal's infrastructure, other errors in the format of the model."""
        if fault.status in INFRASTRUCTURE_STATUSES:
            kind, message = fault.name or "runner_scheduling_failure", fault.detail or "No runner available"
            body = infrastructure_error(kind, message)
        else:
            body = model_error(fault.name or "generation_error", fault.detail or "The image was not made")
        return JSONResponse(body, fault.status, retry_after(fault))

    async def close(self) -> None:
        """Cancels the queue's jobs."""
        await self._jobs.close()

    def _with_key(self, handler: Handler) -> Handler:
        expected = f"Key {self.settings.key}".encode()

        async def checked(received: Received) -> Response:
            given = received.request.headers.get("authorization", "").encode()
            if not secrets.compare_digest(given, expected):
                return JSONResponse({"detail": "Cannot access application. Authentication is required."}, 401)
            return await handler(received)

        return checked

    async def _generate(self, received: Received) -> Response:
        try:
            wanted = FluxInput.model_validate(received.json)
        except ValidationError as error:
            return JSONResponse(model_errors(error), 422)
        return JSONResponse(await self._output(wanted, self._base(received.request)))

    async def _submit(self, received: Received) -> Response:
        try:
            wanted = FluxInput.model_validate(received.json)
        except ValidationError as error:
            return JSONResponse(model_errors(error), 422)
        base = self._base(received.request)
        return self._jobs.submit(self._output(wanted, base), f"{base}{QUEUE}")

    async def _status(self, received: Received) -> Response:
        request = received.request
        return self._jobs.status(request.path_params["id"], f"{self._base(request)}{QUEUE}")

    async def _result(self, received: Received) -> Response:
        return self._jobs.result(received.request.path_params["id"])

    async def _cancel(self, received: Received) -> Response:
        return self._jobs.cancel(received.request.path_params["id"])

    async def _output(self, wanted: FluxInput, base: str) -> dict[str, Any]:
        started = time.perf_counter()
        seed = self._random.randrange(SEEDS) if wanted.seed is None else wanted.seed
        await asyncio.sleep(self.settings.seconds)
        images = [await self._image(wanted, seed + offset, base) for offset in range(wanted.num_images)]
        return {
            "images": _distorted(images, self.faults.take("generate", OUTPUT_KINDS)),
            "timings": {"inference": round(time.perf_counter() - started, 4)},
            "seed": seed,
            "has_nsfw_concepts": [False] * wanted.num_images,
            "prompt": wanted.prompt,
        }

    async def _image(self, wanted: FluxInput, seed: int, base: str) -> dict[str, Any]:
        width, height = wanted.size
        kind = wanted.output_format
        content = await asyncio.to_thread(draw, wanted.prompt, seed=seed, width=width, height=height, image_format=kind)
        return {
            "url": self._url(content, f"image/{kind}", base, inline=wanted.sync_mode),
            "content_type": f"image/{kind}",
            "file_name": f"{uuid4().hex}.{kind}",
            "file_size": len(content),
            "width": width,
            "height": height,
        }

    def _url(self, content: bytes, media_type: str, base: str, *, inline: bool) -> str:
        if inline:
            return f"data:{media_type};base64,{pybase64.b64encode(content).decode()}"
        return f"{base}/files/{self._files.keep(content, media_type)}"

    def _base(self, request: Request) -> str:
        return (self.settings.public_url or str(request.base_url)).rstrip("/")


def _distorted(images: list[dict[str, Any]], fault: Fault | None) -> list[dict[str, Any]]:
    if fault is None:
        return images
    if fault.kind is FaultKind.NO_IMAGE:
        return []
    if fault.kind is FaultKind.WRONG_SIZE:
        return [{**image, "file_size": image["file_size"] + 1} for image in images]
    return [{**image, "width": image["width"] + 1, "height": image["height"] + 1} for image in images]
