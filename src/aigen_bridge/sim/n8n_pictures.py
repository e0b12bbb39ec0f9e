"""The first half of the workflow: asks the AI service for an image, fetches it and inspects it."""

import asyncio
import hashlib
import io
from dataclasses import dataclass, replace
from typing import Any

import httpx
from PIL import Image, UnidentifiedImageError

from aigen_bridge.sim.drawing import draw
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n_order import Order
from aigen_bridge.sim.n8n_settings import N8nSettings
from aigen_bridge.sim.temporary import TemporaryFiles

TRANSIENT_AI_STATUSES = frozenset({429, 503, 504})
"""The statuses that fal documents as retryable. It neither bills for the others nor recovers from them."""


class GenerationError(Exception):
    """The AI service made no image. The failed callback carries `code` and the message."""

    def __init__(self, code: str, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.transient = transient


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


class PictureMaker:
    """Makes the image of an order, with the AI service or by drawing it."""

    def __init__(self, settings: N8nSettings, http: httpx.AsyncClient, files: TemporaryFiles) -> None:
        self._settings = settings
        self._http = http
        self._files = files

    async def make(self, order: Order, base_url: str, trace: dict[str, str]) -> Picture:
        """Returns the image; `base_url` is where drawn images are served. Raises `GenerationError`."""
        if self._settings.flux_url is None:
            return await self._draw(order, base_url)
        url, seed = await self._ask_with_retries(order, trace)
        return replace(_inspected(await self._download(url), url), seed=seed)

    async def _draw(self, order: Order, base_url: str) -> Picture:
        await asyncio.sleep(self._settings.seconds)
        kind = self._settings.image_format
        seed = self._settings.seed if order.seed is None else order.seed
        width, height = order.size
        content = await asyncio.to_thread(draw, order.prompt, seed=seed, width=width, height=height, image_format=kind)
        base = (self._settings.public_url or base_url).rstrip("/")
        url = f"{base}/files/{self._files.keep(content, f'image/{kind}')}"
        return replace(_inspected(content, url), seed=seed)

    async def _ask_with_retries(self, order: Order, trace: dict[str, str]) -> tuple[str, int | None]:
        for wait in self._settings.ai_waits:
            try:
                return await self._ask(order, trace)
            except GenerationError as error:
                if not error.transient:
                    raise
            await asyncio.sleep(wait)
        return await self._ask(order, trace)

    async def _ask(self, order: Order, trace: dict[str, str]) -> tuple[str, int | None]:
        try:
            answer = await self._http.post(
                f"{self._settings.flux_url}/fal-ai/flux-lora",
                json=_generation_input(order, self._settings),
                headers=self._headers(order, trace),
                timeout=self._settings.ai_timeout,
            )
        except httpx.TimeoutException as error:
            raise GenerationError("ai_timeout", "The AI service did not answer", transient=True) from error
        except httpx.TransportError as error:
            raise GenerationError("ai_unreachable", "The AI service is away", transient=True) from error
        if not answer.is_success:
            raise _generation_error(answer)
        return _found(answer.json())

    def _headers(self, order: Order, trace: dict[str, str]) -> dict[str, str]:
        return {"Authorization": f"Key {self._settings.flux_key}", "X-Correlation-ID": order.correlation_id, **trace}

    async def _download(self, url: str) -> bytes:
        try:
            answer = await self._http.get(url, timeout=self._settings.ai_timeout)
            answer.raise_for_status()
        except httpx.HTTPError as error:
            raise GenerationError("image_download_failed", "The image could not be fetched") from error
        return answer.content


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


def _found(output: dict[str, Any]) -> tuple[str, int | None]:
    images = output.get("images") or []
    if not images:
        raise GenerationError("ai_no_image", "The AI service answered without an image")
    if (output.get("has_nsfw_concepts") or [False])[0]:
        raise GenerationError("nsfw_content", "The AI service's safety checker withheld the image")
    return str(images[0]["url"]), output.get("seed")


def lora_of(order: Order, settings: N8nSettings) -> dict[str, Any] | None:
    """Returns the LoRA of the order's model; None for the base model."""
    row = settings.loras.get(order.model_id, settings.loras.get("*"))
    return None if row is None else {"path": row["path"], "scale": row.get("scale", 1)}


def _prompt(order: Order, settings: N8nSettings) -> str:
    if settings.negative_prompt == "fold" and order.negative_prompt:
        return f"{order.prompt}\n\nWithout: {order.negative_prompt}"
    return order.prompt


def _generation_input(order: Order, settings: N8nSettings) -> dict[str, Any]:
    width, height = order.size
    lora = lora_of(order, settings)
    fields = {
        "prompt": _prompt(order, settings),
        "image_size": {"width": width, "height": height},
        "num_inference_steps": order.inference_steps,
        "guidance_scale": order.cfg_scale,
        "seed": order.seed,
        "num_images": 1,
        "output_format": settings.image_format,
        "loras": [lora] if lora else None,
    }
    return {name: value for name, value in fields.items() if value is not None}


def _generation_error(answer: httpx.Response) -> GenerationError:
    """Translates fal's two error formats."""
    transient = answer.status_code in TRANSIENT_AI_STATUSES
    try:
        body = answer.json()
        detail = body["detail"]
        if isinstance(detail, list):
            return GenerationError(detail[0]["type"], detail[0]["msg"], transient=transient)
        return GenerationError(body.get("error_type", f"ai_http_{answer.status_code}"), detail, transient=transient)
    except (ValueError, LookupError, TypeError):
        return GenerationError(f"ai_http_{answer.status_code}", "The AI service failed", transient=transient)


def _inspected(content: bytes, url: str) -> Picture:
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind, (width, height) = str(image.format).lower(), image.size
    except (UnidentifiedImageError, OSError) as error:
        raise GenerationError("image_unreadable", "What the AI service made is no image") from error
    return Picture(content, url, kind, len(content), width, height, hashlib.sha256(content).hexdigest())
