"""Failure reports from N8N's dead-letter workflow. Lenient: a report is not refused because of a detail."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, WithJsonSchema

from aigen_bridge.contracts.wire import WireModel
from aigen_bridge.domain.errors import storable

TEXT_MAX = 2000
"""The number of characters stored of each text."""


def _text(value: Any) -> str | None:
    return None if value is None else storable(str(value))[:TEXT_MAX]


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


def _link(value: Any) -> str | None:
    """Returns an address that is safe to use as a link, otherwise None."""
    text = _text(value)
    return text if text and text.startswith(("http://", "https://")) and text.isprintable() else None


ANYTHING = WithJsonSchema({})
"""The schema of a field that accepts any value; its description says what is useful there."""
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
    error_message: Annotated[str, AfterValidator(storable)] = Field(description="a text that says what happened")
    result: dict[str, Any] | None = Field(
        None, description="EVT-AIG-002 or EVT-AIG-003 that could not be delivered, without the image"
    )


class N8nFailureReceipt(WireModel):
    """Confirms that the failure is stored for an operator."""

    id: str = Field(description="the dead letter, such as `callback-7`")
    request_id: UUID | None = Field(None, description="the request, if known")
