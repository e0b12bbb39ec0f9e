"""The event that the workflow is started with, checked as the workflow's first step checks it."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel


def _uuid(text: str) -> str:
    UUID(text)
    return text


Identifier = Annotated[str, AfterValidator(_uuid)]


class Order(BaseModel):
    """EVT-AIG-001 as the workflow uses it."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    request_id: Identifier
    correlation_id: Identifier
    user_id: Identifier
    model_id: Identifier
    prompt: Annotated[str, StringConstraints(min_length=1)]
    resolution: Annotated[str, StringConstraints(pattern=r"^[1-9]\d{0,4}x[1-9]\d{0,4}$")]
    aspect_ratio: str
    callback_url: Annotated[str, StringConstraints(pattern=r"^https?://")]
    seed: int | None = None
    inference_steps: int | None = None
    cfg_scale: float | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self.resolution.split("x")
        return int(width), int(height)


class ReturnAddress(BaseModel):
    """What is needed to tell the sender of a bad event that it was bad."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    request_id: str
    correlation_id: str
    callback_url: Annotated[str, StringConstraints(pattern=r"^https?://")]


def complaint(error: ValidationError) -> str:
    """Return what is wrong with an event, in one line."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())


def return_address(event: Any) -> ReturnAddress | None:
    """Return where to complain about a bad event, if it says so at all."""
    try:
        return ReturnAddress.model_validate(event)
    except ValidationError:
        return None
