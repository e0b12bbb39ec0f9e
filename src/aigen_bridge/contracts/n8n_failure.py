"""Failure reports from N8N's dead-letter workflow. Lenient: a report is not refused because of a detail."""

import json
from typing import Annotated, Any
from uuid import UUID

from pydantic import BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from aigen_bridge.contracts.wire import ANYTHING, WireModel
from aigen_bridge.domain.errors import storable

TEXT_MAX = 2000
"""The number of characters stored of each text."""
LINK_MAX = 500
"""Characters. A longer address is none of N8N's, would fill the detail of the dead letter, and is no use when cut."""
NO_WORDS = "No reason was reported."
"""The message of a report that has a result and gives none."""


def _text(value: Any) -> str | None:
    return None if value is None else storable(str(value))[:TEXT_MAX]


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


def _link(value: Any) -> str | None:
    """Returns an address that is safe to use as a link, otherwise None."""
    text = str(value)
    is_safe = text.startswith(("http://", "https://")) and text.isprintable() and len(text) <= LINK_MAX
    return text if is_safe else None


def _words(value: Any) -> str:
    if value is None or value == "":
        return NO_WORDS
    return storable(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def _message(value: Any) -> Any:
    """Reads a result that was written as a text."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        return value


Text = Annotated[str | None, BeforeValidator(_text), ANYTHING]
MaybeUuid = Annotated[UUID | None, BeforeValidator(_uuid), ANYTHING]
Link = Annotated[str | None, BeforeValidator(_link), ANYTHING]


class N8nFailure(WireModel):
    """A failed execution, or a result that N8N could not deliver."""

    model_config = ConfigDict(extra="ignore", title="N8nFailure")

    workflow: Text = Field(None, description="the name of the workflow, a text")
    workflow_version: Text = Field(None, description="the version of the workflow, a text")
    execution_id: Text = Field(None, description="the id of the execution, a text")
    execution_url: Link = Field(None, description="the http or https address at which N8N shows the execution")
    node: Text = Field(None, description="the node that ran last, a text")
    request_id: MaybeUuid = Field(
        None, description="the UUID of the request; without it, the request is found by `executionId`"
    )
    correlation_id: MaybeUuid = Field(None, description="the correlationId of the request, if known")
    error_name: Text = Field(None, description="the class of N8N's error, such as `WorkflowCrashedError`")
    error_message: Annotated[str, BeforeValidator(_words), ANYTHING] = Field(
        NO_WORDS, description="a text that says what happened; required without a `result`"
    )
    result: Annotated[dict[str, Any] | None, BeforeValidator(_message)] = Field(
        None, description="EVT-AIG-002 or EVT-AIG-003 that could not be delivered, without the image"
    )

    @model_validator(mode="after")
    def _says_something(self) -> "N8nFailure":
        if self.result is None and self.error_message == NO_WORDS:
            raise PydanticCustomError("no_words", "needs an errorMessage, or the result that was not delivered")
        return self

    @property
    def result_event(self) -> bytes | None:
        """Returns the result as it would have come in a callback, if there is one."""
        return None if self.result is None else json.dumps(self.result, ensure_ascii=False).encode(errors="replace")

    @property
    def needs_image(self) -> bool:
        """Returns whether the result is an image that is neither in it nor named by it."""
        result = self.result or {}
        is_completed = str(result.get("status")).strip().lower() == "completed"
        return is_completed and not (result.get("imageData") or result.get("imageUrl"))


class N8nFailureReceipt(WireModel):
    """Confirms that the failure is stored for an operator."""

    id: str = Field(description="the dead letter, such as `callback-7`")
    request_id: UUID | None = Field(None, description="the request, if known")
