"""The event that starts the workflow, validated as in the workflow's first step."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any
from uuid import UUID, uuid4

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from pydantic.alias_generators import to_camel


def _uuid(text: str) -> str:
    UUID(text)
    return text


def _entry(entry: dict[str, Any]) -> dict[str, Any]:
    provider = entry.get("provider")
    if not isinstance(provider, dict) or not all(isinstance(provider.get(key), str) for key in ("kind", "endpoint")):
        raise ValueError("must have a provider with kind and endpoint")
    loras = entry.get("loras")
    if loras is not None and not (isinstance(loras, list) and all(map(_is_lora, loras))):
        raise ValueError("must have loras with paths")
    return entry


def _is_lora(lora: Any) -> bool:
    return isinstance(lora, dict) and isinstance(lora.get("path"), str)


Identifier = Annotated[str, AfterValidator(_uuid)]
Address = Annotated[str, StringConstraints(pattern=r"^https?://")]
CALLBACK_PATH = "/api/v1/influencegen/ai-image-callback"


@dataclass(frozen=True)
class Start:
    """The input of an execution."""

    event: Any
    base_url: str
    """The URL at which the webhook's caller reached this N8N."""
    trace: dict[str, str]
    """The inbound trace headers, if any."""
    execution_id: str = field(default_factory=lambda: uuid4().hex)
    """Id of the execution; unique among all simulators of a test."""


class Order(BaseModel):
    """The fields of EVT-AIG-001 that the workflow uses."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    request_id: Identifier
    correlation_id: Identifier
    user_id: Identifier
    model_id: Identifier
    prompt: Annotated[str, StringConstraints(pattern=r"\S")]
    resolution: Annotated[str, StringConstraints(pattern=r"^[1-9][0-9]{1,3}x[1-9][0-9]{1,3}$")]
    aspect_ratio: str
    callback_url: Address
    negative_prompt: str | None = None
    seed: int | None = None
    inference_steps: int | None = None
    cfg_scale: float | None = None
    model: Annotated[dict[str, Any], AfterValidator(_entry)] | None = None
    """The entry of the bridge's catalogue; None from an older bridge, or with an empty catalogue."""

    provider_job: dict[str, Any] | None = None
    """The job that an earlier execution has submitted."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        width, height = self.resolution.split("x")
        return int(width), int(height)

    @property
    def bridge(self) -> str:
        """Base URL of the bridge that takes the result."""
        return self.callback_url.removesuffix(CALLBACK_PATH)


Objection = Callable[[Order], tuple[str, str] | None]
"""Returns the error code and the message for an order whose model cannot be called."""


class ReturnAddress(BaseModel):
    """The fields that are needed to answer an invalid event with a failed callback."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True)

    request_id: Identifier
    correlation_id: Identifier
    callback_url: Address


class StoppedError(Exception):
    """The workflow stops with an error of its own, which can or may be reported only to operations."""

    def __init__(self, message: str, event: Any = None) -> None:
        super().__init__(message)
        self.known = {name: event.get(name) for name in ("requestId", "correlationId")} if _is_object(event) else {}


@dataclass(frozen=True)
class Refusal:
    """An event that is answered with a failed callback."""

    to: ReturnAddress
    code: str
    message: str
    event: Mapping[str, Any]


def checked(event: Any, bridge_url: str | None, object_to: Objection) -> Order | Refusal:
    """Validates an event as the workflow's first step does. `object_to` says why its model cannot be called.

    Raises `StoppedError` when the event cannot or may not be answered.
    """
    event = _addressed(event, bridge_url)
    try:
        order = Order.model_validate(event)
    except ValidationError as error:
        return Refusal(_return_address(event), "invalid_event", f"The event is not valid: {_complaint(error)}.", event)
    found = object_to(order)
    return Refusal(_return_address(event), *found, event) if found else order


def _addressed(event: Any, bridge_url: str | None) -> Any:
    """Adds the configured bridge's address to the event. Raises `StoppedError` when the event names another bridge."""
    if bridge_url is None or not _is_object(event):
        return event
    configured = bridge_url.rstrip("/") + CALLBACK_PATH
    if event.get("callbackUrl") not in (None, configured):
        raise StoppedError("The event wants its result somewhere else than at the bridge of the settings.", event)
    return {**event, "callbackUrl": configured}


def _complaint(error: ValidationError) -> str:
    """Describes the validation errors in one line."""
    return "; ".join(f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())


def _return_address(event: Any) -> ReturnAddress:
    try:
        return ReturnAddress.model_validate(event)
    except ValidationError:
        raise StoppedError("The event has no usable requestId and correlationId.", event) from None


def _is_object(event: Any) -> bool:
    return isinstance(event, dict)
