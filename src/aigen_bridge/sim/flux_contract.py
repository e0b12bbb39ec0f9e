"""The request and error formats of fal.ai's flux-lora."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, StringConstraints, ValidationError

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
