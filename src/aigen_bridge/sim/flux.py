"""Simulates models of fal.ai that take the input of flux-lora: synchronous calls, the queue, image URLs that expire."""

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
from aigen_bridge.sim.flux_contract import SEEDS, Ending, FluxInput, failure, model_errors
from aigen_bridge.sim.flux_control import control_routes
from aigen_bridge.sim.flux_jobs import Jobs
from aigen_bridge.sim.flux_queue import Queue
from aigen_bridge.sim.simulator import Clock, Handler, Received, Simulator, retry_after
from aigen_bridge.sim.temporary import TemporaryFiles

MODEL = "/fal-ai/flux-lora"
QUEUE = f"/queue{MODEL}"
ANY_MODEL = "/fal-ai/{model}"
JOB_KINDS = frozenset(
    {
        FaultKind.NO_IMAGE,
        FaultKind.NSFW,
        FaultKind.WRONG_SIZE,
        FaultKind.WRONG_DIMENSIONS,
        FaultKind.FAIL_JOB,
        FaultKind.SLOW_JOB,
    }
)


@dataclass(frozen=True, kw_only=True)
class FluxSettings:
    """Behaviour of the simulated AI service."""

    key: str = field(repr=False)
    """Key that callers send as `Authorization: Key <key>`."""
    seconds: float = 0.05
    """Duration of a generation, in addition to the drawing."""
    url_lifetime: float = 360.0
    """Seconds after which an image URL responds with 404."""
    queue_seconds: float = 0.0
    """Shortest time that a job waits in the queue."""
    runners: int = 10
    """Number of queued jobs that run at the same time."""
    result_lifetime: float = 360.0
    """Seconds after a job's end at which its status and result become 404."""
    public_url: str | None = None
    """Base of the image and queue URLs; None: the host that the caller used."""
    seed: int = 0
    """Seed for the image seeds of requests without one, and for faults with a `chance`."""


class FluxSimulator(Simulator):
    """A fal.ai whose models all draw the same images.

    `jobs` are the accepted submissions and synchronous calls, for assertions.

    Routes for faults: `generate` (synchronous and queued), `status`, `result`, `cancel` (queue), `image` (downloads).
    """

    def __init__(self, settings: FluxSettings, *, clock: Clock = time.time) -> None:
        self.settings = settings
        self._random = random.Random(settings.seed)  # noqa: S311 - seeds of images
        self._files = TemporaryFiles(settings.url_lifetime, clock)
        self.jobs = Jobs(clock, runners=settings.runners, queue_seconds=settings.queue_seconds)
        self._queue = Queue(self.jobs, settings.result_lifetime, clock)
        super().__init__(seed=settings.seed, clock=clock)

    def routes(self) -> list[Route]:
        """Returns the endpoints of the models, their queues and the images."""
        queue = f"/queue{ANY_MODEL}"
        job = f"{queue}/requests/{{id}}"
        return [
            self.at(ANY_MODEL, "generate", self._with_key(self._generate)),
            self.at(queue, "generate", self._with_key(self._submit)),
            self.at(f"{job}/status", "status", self._with_key(self._status), "GET"),
            self.at(f"{job}/cancel", "cancel", self._with_key(self._cancel), "PUT"),
            self.at(job, "result", self._with_key(self._result), "GET"),
            self.at("/files/{name}", "image", self._files.served(self.faults), "GET"),
            *control_routes(self.jobs),
        ]

    def refusal(self, fault: Fault) -> Response:
        """Returns 429 and 5xx in the format of fal's infrastructure, other errors in the format of the model."""
        response = failure(fault.status, fault.name, fault.detail).response()
        response.headers.update(retry_after(fault))
        return response

    async def close(self) -> None:
        """Cancels the queue's jobs."""
        await self.jobs.close()

    def _with_key(self, handler: Handler) -> Handler:
        expected = f"Key {self.settings.key}".encode()

        async def checked(received: Received) -> Response:
            given = received.request.headers.get("authorization", "").encode()
            if not secrets.compare_digest(given, expected):
                return JSONResponse({"detail": "Cannot access application. Authentication is required."}, 401)
            return await handler(received)

        return checked

    async def _generate(self, received: Received) -> Response:
        ending = await self.jobs.run(_correlation_id(received), lambda: self._made(received))
        return ending.response()

    async def _submit(self, received: Received) -> Response:
        job = self.jobs.submit(_correlation_id(received), lambda: self._made(received))
        return self._queue.submitted(job, self._queue_url(received))

    async def _status(self, received: Received) -> Response:
        return self._queue.status(received.request.path_params["id"], self._queue_url(received))

    async def _result(self, received: Received) -> Response:
        return self._queue.result(received.request.path_params["id"])

    async def _cancel(self, received: Received) -> Response:
        return self._queue.cancel(received.request.path_params["id"])

    async def _made(self, received: Received) -> Ending:
        """Runs a generation. The model checks the input, not the queue: a wrong input is a job that ends at once."""
        try:
            wanted = FluxInput.model_validate(received.json)
        except ValidationError as error:
            return Ending(422, model_errors(error), billed=False)
        started = time.perf_counter()
        fault = self.faults.take("generate", JOB_KINDS)
        await asyncio.sleep(self.settings.seconds + (fault.delay if fault else 0))
        if fault is not None and fault.kind is FaultKind.FAIL_JOB:
            return failure(fault.status, fault.name, fault.detail)
        output = await self._output(wanted, self._base(received.request), fault)
        return Ending(200, output | {"timings": {"inference": round(time.perf_counter() - started, 4)}})

    async def _output(self, wanted: FluxInput, base: str, fault: Fault | None) -> dict[str, Any]:
        seed = self._random.randrange(SEEDS) if wanted.seed is None else wanted.seed
        images = [await self._image(wanted, seed + offset, base) for offset in range(wanted.num_images)]
        return {
            "images": _distorted(images, fault),
            "seed": seed,
            "has_nsfw_concepts": [_is(fault, FaultKind.NSFW)] * wanted.num_images,
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

    def _queue_url(self, received: Received) -> str:
        return f"{self._base(received.request)}/queue/fal-ai/{received.request.path_params['model']}"


def _correlation_id(received: Received) -> str | None:
    return received.request.headers.get("x-correlation-id")


def _is(fault: Fault | None, kind: FaultKind) -> bool:
    return fault is not None and fault.kind is kind


def _distorted(images: list[dict[str, Any]], fault: Fault | None) -> list[dict[str, Any]]:
    match fault.kind if fault else None:
        case FaultKind.NO_IMAGE:
            return []
        case FaultKind.WRONG_SIZE:
            return [{**image, "file_size": image["file_size"] + 1} for image in images]
        case FaultKind.WRONG_DIMENSIONS:
            return [{**image, "width": image["width"] + 1, "height": image["height"] + 1} for image in images]
    return images
