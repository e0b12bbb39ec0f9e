"""The three events of the specification, version 1: EVT-AIG-001, EVT-AIG-002, EVT-AIG-003.

A field's description states the allowed values; error messages quote it.
"""

import re
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import (
    AfterValidator,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError

from aigen_bridge.contracts.facts import MaybeCost, MaybeGeneration
from aigen_bridge.contracts.tolerance import is_url
from aigen_bridge.contracts.wire import ANYTHING, UtcDatetime, WireModel, shows_nothing
from aigen_bridge.domain.errors import storable

PROMPT_MAX = 4000
SIDE_MIN, SIDE_MAX = 64, 4096
STEPS_MAX = 100
CFG_MAX = 35
SEED_MAX = 2**53 - 1
"""The largest integer that JavaScript, and therefore N8N, passes on unchanged."""
ASPECT_TOLERANCE = 0.04
"""The largest relative difference between width / height and the aspect ratio: models round sides (1152x896 is
called 4:3)."""

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z", re.IGNORECASE)


def _canonical_uuid(value: Any) -> Any:
    if isinstance(value, str) and not _UUID.match(value):
        raise PydanticCustomError("uuid_form", "must be a UUID in its usual form")
    return value


def _storable(text: str) -> str:
    if "\x00" in text:
        raise PydanticCustomError("nul_character", "contains the NUL character, which cannot be stored")
    return text


def _not_blank(text: str) -> str:
    if shows_nothing(text):
        raise PydanticCustomError("blank", "is blank")
    return _storable(text)


def _bare(text: str) -> str:
    return storable(text.replace("\0", "").strip())


def _sides_within_limits(value: str) -> str:
    if not all(SIDE_MIN <= side <= SIDE_MAX for side in _numbers(value, "x")):
        raise PydanticCustomError(
            "resolution_range", "must have sides from {least} to {most}", {"least": SIDE_MIN, "most": SIDE_MAX}
        )
    return value


def _numbers(text: str, separator: str) -> tuple[int, int]:
    first, second = text.split(separator)
    return int(first), int(second)


Uuid = Annotated[UUID, BeforeValidator(_canonical_uuid)]
StorableText = Annotated[str, AfterValidator(_storable)]
NotBlank = Annotated[str, AfterValidator(_not_blank)]
Resolution = Annotated[str, Field(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$"), AfterValidator(_sides_within_limits)]
ReportedText = Annotated[str, AfterValidator(storable)]
BareText = Annotated[str, AfterValidator(_bare)]
"""A text in which NUL characters, and blanks and line breaks around it, mean nothing."""


class ImageRequested(WireModel):
    """EVT-AIG-001 AIImageGenerationRequested: a user requests an image."""

    model_config = ConfigDict(extra="forbid", title="AIImageGenerationRequested")

    request_id: Uuid = Field(description="a UUID, created by Odoo, one for each requested image")
    correlation_id: Uuid = Field(description="a UUID that follows the request through every system")
    user_id: Uuid = Field(description="the UUID of the user who requests the image")
    prompt: NotBlank = Field(
        min_length=1, max_length=PROMPT_MAX, description=f"a text of 1 to {PROMPT_MAX} characters, not blank"
    )
    negative_prompt: StorableText | None = Field(
        None, max_length=PROMPT_MAX, description=f"a text of at most {PROMPT_MAX} characters"
    )
    model_id: Uuid = Field(description="the UUID of the Flux LoRA model")
    resolution: Resolution = Field(
        description=f"WIDTHxHEIGHT in pixels, each side {SIDE_MIN} to {SIDE_MAX}, such as 1024x1024",
    )
    aspect_ratio: str = Field(
        pattern=r"^[1-9][0-9]{0,2}:[1-9][0-9]{0,2}$",
        description="WIDTH:HEIGHT as small whole numbers that fit the resolution, such as 1:1 or 16:9",
    )
    seed: int | None = Field(None, ge=0, le=SEED_MAX, description=f"a whole number from 0 to {SEED_MAX}")
    inference_steps: int | None = Field(None, ge=1, le=STEPS_MAX, description=f"a whole number from 1 to {STEPS_MAX}")
    cfg_scale: float | None = Field(
        None, ge=0, le=CFG_MAX, allow_inf_nan=False, description=f"a number from 0 to {CFG_MAX}"
    )
    campaign_id: Uuid | None = Field(None, description="the UUID of the campaign the image is for")
    callback_url: str | None = Field(
        None, max_length=2048, description="the callback address of this service, or nothing"
    )
    deliver: bool | None = Field(
        None, description="false for a trial that Odoo did not ask for: its result is not delivered to Odoo"
    )

    @field_validator("aspect_ratio")
    @classmethod
    def _ratio_fits_resolution(cls, value: str, info: ValidationInfo) -> str:
        resolution = info.data.get("resolution")
        if resolution is None:  # reported already
            return value
        width, height = _numbers(resolution, "x")
        across, down = _numbers(value, ":")
        if abs(width * down / (height * across) - 1) > ASPECT_TOLERANCE:
            raise PydanticCustomError(
                "aspect_ratio_mismatch",
                "does not fit the resolution {resolution}, which is {ratio} to 1",
                {"resolution": resolution, "ratio": f"{width / height:.2f}"},
            )
        return value

    @field_validator("callback_url")
    @classmethod
    def _callback_url_matches(cls, value: str | None, info: ValidationInfo) -> str | None:
        own = (info.context or {}).get("callback_url", value)
        if value is not None and value != own:
            raise PydanticCustomError("callback_url", "is not the bridge's, which is {own}", {"own": own})
        return value

    def stored_form(self) -> dict[str, Any]:
        """Returns the event as it is stored and sent on, without absent fields and without the callback URL."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True, exclude={"callback_url"})


class ReportedMetadata(WireModel):
    """The image metadata that N8N reports."""

    format: BareText = Field(max_length=40, description="png, jpeg or webp, as the bytes are")
    size: int = Field(description="the number of bytes")
    width: int = Field(description="pixels across")
    height: int = Field(description="pixels down")


class _Callback(WireModel):
    # Additive changes are allowed (REQ: versioning strategy): unknown fields are ignored.
    model_config = ConfigDict(extra="ignore")

    request_id: Uuid = Field(description="the UUID of the request")
    correlation_id: Uuid = Field(description="the correlationId of the request")
    payload_version: Annotated[str | None, ANYTHING] = Field(
        None, max_length=20, description="the version of the payload, a text; ignored if it is something else"
    )
    execution_id: Annotated[ReportedText | None, ANYTHING] = Field(
        None,
        min_length=1,
        max_length=200,
        description="N8N's `$execution.id`, a text of 1 to 200 characters; ignored if it is something else. A failure "
        "from another execution than the one that works on the request is a `duplicate`",
    )
    generation: MaybeGeneration = Field(
        None, description="how the image was generated; a wrong value is ignored on its own, and anything but an object"
    )
    cost: MaybeCost = Field(None, description="what the generation cost; anything but an object is ignored")


class ImageCompleted(_Callback):
    """EVT-AIG-002 AIImageGenerationCompleted: exactly one of `imageData` and `imageUrl`."""

    model_config = ConfigDict(title="AIImageGenerationCompleted")

    status: Literal["completed"] = Field(description="completed or failed")
    image_data: str | None = Field(
        None, description="the image, base64; whitespace, missing padding and a data: URI are accepted"
    )
    image_url: BareText | None = Field(None, max_length=4096, description="a temporary URL of the image")
    image_metadata: ReportedMetadata = Field(description="format, size, width and height of the image")
    result_expires_at: Annotated[UtcDatetime | None, ANYTHING] = Field(
        None, description="when imageUrl expires, as a time with its zone (RFC 3339); ignored if it is something else"
    )
    hash_value: BareText = Field(max_length=100, description="the SHA-256 of the image as 64 hex digits or base64")

    @property
    def needs_image(self) -> bool:
        """Returns whether the image is not in the event, so it must be beside it."""
        return self.image_data is None and self.image_url is None

    @model_validator(mode="after")
    def _exactly_one_image(self, info: ValidationInfo) -> "ImageCompleted":
        context = info.context or {}
        beside, files = bool(context.get("image_beside")), bool(context.get("files_beside"))
        own = (self.image_data is not None) + (self.image_url is not None)
        if own + beside != 1 and not (files and self.needs_image):
            way = "in the part 'image' or as imageUrl" if beside else "as imageData or as imageUrl"
            raise PydanticCustomError("one_image", "needs exactly one image, {way}", {"way": way})
        if files and self.image_url is not None and not is_url(self.image_url):
            raise PydanticCustomError("no_url", "has an imageUrl that is no URL")
        return self


class ImageFailed(_Callback):
    """EVT-AIG-003 AIImageGenerationFailed."""

    model_config = ConfigDict(title="AIImageGenerationFailed")

    status: Literal["failed"] = Field(description="completed or failed")
    error_code: Annotated[ReportedText | None, ANYTHING] = Field(
        None, description="a text: the AI service's own code; ignored if it is something else"
    )
    error_message: ReportedText = Field(description="a text that says what happened")


CallbackEvent = Annotated[ImageCompleted | ImageFailed, Field(discriminator="status")]
callback_event: TypeAdapter[ImageCompleted | ImageFailed] = TypeAdapter(CallbackEvent)
