"""The request of the demo: sends it and follows it as Odoo does."""

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

REQUESTS = "/api/v1/influencegen/ai-image-requests"
ADDON = {"X-Aigen-Addon": "1.7.0"}
"""The version of the addon that the simulated Odoo stands for."""
STATUSES = {
    "queued": "The bridge sends the request to N8N",
    "dispatched": "N8N has the request",
    "received": "The bridge fetches or marks the image",
    "completed": "The bridge delivers the image to Odoo",
    "failed": "The request failed",
    "cancelled": "The request was cancelled",
}
ENDED = frozenset({"completed", "failed", "cancelled"})
PATIENCE = 90
"""Seconds after which a request that has not ended counts as lost."""


class DemoFailedError(Exception):
    """The request did not end with the right image in Odoo."""


@dataclass(frozen=True, slots=True)
class Wish:
    """The image to request; `size` is WIDTHxHEIGHT."""

    prompt: str
    size: str
    seed: int | None

    def event(self) -> dict[str, Any]:
        """Builds EVT-AIG-001 as the addon sends it."""
        width, height = (int(side) for side in self.size.split("x"))
        divisor = math.gcd(width, height)
        event = {
            "requestId": str(uuid4()),
            "correlationId": str(uuid4()),
            "userId": str(uuid4()),
            "prompt": self.prompt,
            "modelId": str(uuid4()),
            "resolution": self.size,
            "aspectRatio": f"{width // divisor}:{height // divisor}",
            "inferenceSteps": 28,
            "cfgScale": 3.5,
        }
        return event if self.seed is None else event | {"seed": self.seed}


async def ask(api: httpx.AsyncClient, wish: Wish) -> str:
    """Sends the request and returns its id. Raises `DemoFailedError`."""
    answer = await api.post(REQUESTS, json=wish.event(), headers=ADDON)
    if answer.status_code != httpx.codes.ACCEPTED:
        raise DemoFailedError(f"The bridge answered {answer.status_code}: {answer.text}")
    return str(answer.json()["requestId"])


async def follow(api: httpx.AsyncClient, request_id: str, step: Callable[[str], None]) -> dict[str, Any]:
    """Polls the request, as an open form in Odoo does, until its result was delivered to Odoo."""
    shown = None
    for _ in range(int(PATIENCE / 0.05)):
        request: dict[str, Any] = (await api.get(f"{REQUESTS}/{request_id}")).json()
        if (news := _news(request)) != shown:
            shown = news
            step(news)
        if request["status"] in ENDED and request["deliveredAt"]:
            return request
        await asyncio.sleep(0.05)
    raise DemoFailedError(f"Request {request_id} has not arrived after {PATIENCE} s.")


async def timeline(api: httpx.AsyncClient, request_id: str) -> list[dict[str, Any]]:
    """Returns what happened to the request, with its generation, in order."""
    told = (await api.get(f"{REQUESTS}/{request_id}/timeline")).json()
    return sorted([*told["entries"], *told["generation"]], key=lambda entry: datetime.fromisoformat(entry["at"]))


async def image_of(api: httpx.AsyncClient, request: dict[str, Any]) -> bytes:
    """Returns the image of a request. Raises `DemoFailedError` if there is none."""
    if request["status"] != "completed":
        raise DemoFailedError(f"The request {request['status']}: {request['errorMessage']}")
    return (await api.get(request["image"]["href"])).content


async def save(image: bytes, request: dict[str, Any], home: Path) -> Path:
    """Writes the image to a file, and returns its path."""
    path = home / f"{request['requestId']}.{request['image']['format']}"
    await asyncio.to_thread(path.write_bytes, image)
    return path


def _news(request: dict[str, Any]) -> str:
    """Says for people how far a request is."""
    status, progress = request["status"], request["progress"]
    if status == "dispatched" and progress:
        return _progress(progress)
    return STATUSES[status]


def _progress(progress: dict[str, Any]) -> str:
    percent, before = progress["percent"], progress["queuePosition"]
    if progress["stage"] == "generating":
        return "Being made" if percent is None else f"Being made, {percent:g} %"
    if progress["stage"] == "finishing":
        return "Almost there"
    if before is None:
        return "In the queue"
    return f"Number {before + 1} in the queue" if before else "Next in the queue"
