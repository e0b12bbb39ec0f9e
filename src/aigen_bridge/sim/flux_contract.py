"""The request and error formats of fal.ai's flux-lora."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError
from starlette.responses import JSONResponse, Response

from aigen_bridge.sim.drawing import ImageFormat

PRESETS: dict[str, tuple[int, int]] = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}
Preset = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]
SEEDS = 2**32
"""Exclusive upper bound of random seeds."""
ERROR_TYPES = {
    429: "runner_scheduling_failure",
    500: "runner_server_error",
    502: "runner_incomplete_response",
    503: "runner_scheduling_failure",
    504: "request_timeout",
}
"""The usual error_type of infrastructure errors, by HTTP status. Other statuses are errors of the model."""


class Size(BaseModel):
    """An image size in pixels. Small sizes are allowed because they make tests fast."""

    width: int = Field(ge=16, le=4096)
    height: int = Field(ge=16, le=4096)


class Lora(BaseModel):
    """One LoRA to apply."""

    path: str
    scale: float = 1


class FluxInput(BaseModel):
    """The body of a generation request. Unknown fields are ignored; there is no negative_prompt."""

    prompt: Annotated[str, StringConstraints(min_length=1)]
    image_size: Preset | Size = "landscape_4_3"
    num_inference_steps: int = Field(default=28, ge=1, le=50)
    guidance_scale: float = Field(default=3.5, ge=0, le=35)
    seed: int | None = None
    loras: list[Lora] = []
    num_images: int = Field(default=1, ge=1, le=4)
    enable_safety_checker: bool = True
    output_format: ImageFormat = "jpeg"
    """`webp` is an extension of this simulator."""
    sync_mode: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        if isinstance(self.image_size, Size):
            return self.image_size.width, self.image_size.height
        return PRESETS[self.image_size]


def model_errors(error: ValidationError) -> dict[str, Any]:
    """Returns fal's body for input that the model rejects (HTTP 422)."""
    found = error.errors(include_url=False, include_context=True)
    return {"detail": [{**item, "loc": ["body", *item["loc"]]} for item in found]}


def model_error(kind: str, message: str) -> dict[str, Any]:
    """Returns fal's body for one model error of type `kind`."""
    return {"detail": [{"loc": ["body"], "msg": message, "type": kind, "input": None}]}


def infrastructure_error(kind: str, message: str) -> dict[str, Any]:
    """Returns fal's body for a failure outside the model."""
    return {"detail": message, "error_type": kind}


@dataclass(frozen=True)
class Ending:
    """How a generation ended: the response of the synchronous call, and of the queue's `response_url`."""

    status: int
    body: dict[str, Any]
    billed: bool = True
    """Whether a generation that was started is paid for."""

    @property
    def error_type(self) -> str | None:
        """The error_type of an infrastructure error or a cancellation; None for images and errors of the model."""
        return self.body.get("error_type")

    def response(self) -> Response:
        """Returns the HTTP response."""
        return JSONResponse(self.body, self.status, {"X-Fal-Error-Type": self.error_type} if self.error_type else None)


CANCELLED = Ending(499, infrastructure_error("client_cancelled", "Request was cancelled"))


def failure(status: int, kind: str, message: str) -> Ending:
    """Returns fal's error for `status`; an empty kind or message means a default. Errors of the model are billed."""
    if status in ERROR_TYPES:
        body = infrastructure_error(kind or ERROR_TYPES[status], message or "No runner available")
        return Ending(status, body, billed=False)
    return Ending(status, model_error(kind or "generation_error", message or "The image was not made"))
