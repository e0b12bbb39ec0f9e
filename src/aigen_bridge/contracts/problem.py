"""The error body (RFC 9457)."""

from uuid import UUID

from pydantic import Field

from aigen_bridge.contracts import WireModel


class FieldError(WireModel):
    """What is wrong with one field of a message."""

    field: str = Field(description="the field's name on the wire, nested names joined by dots")
    sent: str | None = Field(None, description="what was sent, as JSON, shortened")
    allowed: str | None = Field(None, description="what is allowed there")
    message: str


class Problem(WireModel):
    """What happened, which request, and what to do next."""

    type: str = Field(description="stable; `urn:aigen-bridge:problem:` and the code")
    title: str
    status: int
    code: str = Field(description="stable, for programs")
    detail: str = Field(description="what happened, for people")
    action: str = Field(description="what to do next")
    instance: str = Field(description="the path that was called")
    correlation_id: str = Field(description="as in the `X-Correlation-ID` header of this answer")
    request_id: UUID | None = None
    errors: list[FieldError] | None = None
