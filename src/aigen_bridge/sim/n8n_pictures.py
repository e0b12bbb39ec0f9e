"""The image of an execution: drawn, or fetched from the AI service, and inspected."""

import asyncio
import hashlib
import io
from dataclasses import dataclass, replace
from typing import Any

from PIL import Image, UnidentifiedImageError

from aigen_bridge.sim.drawing import draw
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n_ai import AiService, GenerationError, Job, Made, image_of
from aigen_bridge.sim.n8n_model import model_of
from aigen_bridge.sim.n8n_order import Order
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.temporary import TemporaryFiles


@dataclass(frozen=True)
class Picture:
    """An image and its metadata for the completed callback."""

    content: bytes
    url: str
    format: str
    size: int
    width: int
    height: int
    sha256: str
    seed: int | None = None
    """The seed of an image that the simulator drew itself."""
    made: Made | None = None
    """The generation of an image that the AI service made."""


class PictureMaker:
    """Draws images, and fetches those that the AI service made."""

    def __init__(self, settings: N8nSettings, ai: AiService, files: TemporaryFiles) -> None:
        self._settings = settings
        self._ai = ai
        self._files = files

    async def draw(self, order: Order, base_url: str) -> Picture:
        """Draws the image of an order. `base_url` is where it is served."""
        await asyncio.sleep(self._settings.seconds)
        model = model_of(order, self._settings)
        kind = model.image_format
        seed = order.seed if order.seed is not None and model.has_seed else self._settings.seed
        width, height = order.size
        content = await asyncio.to_thread(draw, order.prompt, seed=seed, width=width, height=height, image_format=kind)
        base = (self._settings.public_url or base_url).rstrip("/")
        url = f"{base}/files/{self._files.keep(content, f'image/{kind}')}"
        return replace(_inspected(content, url), seed=seed)

    async def fetch(self, order: Order, output: dict[str, Any], job: Job | None = None) -> Picture:
        """Fetches the image of the AI service's output. Raises `GenerationError`."""
        made = Made(model_of(order, self._settings).name, job, output)
        try:
            url = image_of(output)
            return replace(_inspected(await self._ai.download(url), url), made=made)
        except GenerationError as error:
            error.made = made
            raise


def distorted(picture: Picture, fault: Fault | None) -> Picture:
    """Returns the image as a workflow with `fault` reports it. Unrelated faults change nothing."""
    match fault.kind if fault else None:
        case FaultKind.WRONG_HASH:
            return replace(picture, sha256=hashlib.sha256(b"another image").hexdigest())
        case FaultKind.WRONG_SIZE:
            return replace(picture, size=picture.size + 1)
        case FaultKind.WRONG_DIMENSIONS:
            return replace(picture, width=picture.width + 1, height=picture.height + 1)
        case FaultKind.EXPIRED_URL:
            return replace(picture, url=f"{picture.url}.expired")
        case FaultKind.TRUNCATED_IMAGE:
            half = picture.content[: picture.size // 2]
            return replace(picture, content=half, size=len(half), sha256=hashlib.sha256(half).hexdigest())
    return picture


def _inspected(content: bytes, url: str) -> Picture:
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind, (width, height) = str(image.format).lower(), image.size
    except (UnidentifiedImageError, OSError) as error:
        raise GenerationError("image_unreadable", "What the AI service made is no image") from error
    return Picture(content, url, kind, len(content), width, height, hashlib.sha256(content).hexdigest())
