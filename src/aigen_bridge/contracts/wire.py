"""Shared by all messages: camelCase names, times, and the error body."""

import re
import unicodedata
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.alias_generators import to_camel
from pydantic_core import PydanticCustomError

FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)

_RFC_3339 = re.compile(r"(\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(?:\.\d+)?)([Zz]|[-+ ]\d\d:\d\d)\Z", re.ASCII)
_EMPTY_MARKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers, which Unicode counts as letters or symbols although they show nothing."""


class WireModel(BaseModel):
    """The base of all messages: camelCase on the wire, frozen, no type coercion."""

    model_config = ConfigDict(
        alias_generator=to_camel, validate_by_alias=True, validate_by_name=True, frozen=True, strict=True
    )


def to_utc(at: datetime) -> datetime:
    """Returns the time in UTC, or the nearest one when its offset leads outside the years 1 to 9999."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return FIRST if at.year == FIRST.year else LAST


def _rfc_3339(value: Any) -> Any:
    if not (isinstance(value, str) and (parts := _RFC_3339.match(value))):
        raise PydanticCustomError("rfc3339_form", "must be a time with its zone, such as 2026-01-31T12:00:00Z")
    return parts[1] + parts[2].replace(" ", "+")  # an unescaped plus sign in a query arrives as a blank


UtcDatetime = Annotated[AwareDatetime, AfterValidator(to_utc)]
"""A time with its zone, converted to UTC: PostgreSQL has no offset above 15:59, Python no time before the year 1."""
Rfc3339DateTime = Annotated[UtcDatetime, Field(strict=False), BeforeValidator(_rfc_3339)]
"""A time in RFC 3339 format with its zone. A bare number or a time without a zone is refused.

Not strict: after a validator that runs first, a strict model would refuse every string.
"""


def shows_nothing(text: str) -> bool:
    """Returns whether a text has no visible character, only blanks, controls, joiners, accents and the like."""
    return not any(map(_is_visible, text))


def _is_visible(character: str) -> bool:
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"}
    return not (hidden or character in _EMPTY_MARKS or "\U000e0000" <= character <= "\U000e0fff")


ANYTHING = WithJsonSchema({})
"""The schema of a field that accepts any value; its description says what is useful there."""


class FieldError(WireModel):
    """The error of one field of a message."""

    field: str = Field(description="the field's name on the wire, nested names joined by dots")
    sent: str | None = Field(None, description="the value that was sent, as JSON, shortened")
    allowed: str | None = Field(None, description="the allowed values")
    message: str


class Problem(WireModel):
    """A problem (RFC 9457): what happened, to which request, and what to do next."""

    type: str = Field(description="stable: `urn:aigen-bridge:problem:` followed by the code")
    title: str
    status: int
    code: str = Field(description="stable, for programs")
    detail: str = Field(description="what happened, in a sentence for people")
    action: str = Field(description="what to do next")
    instance: str = Field(description="the path that was called")
    correlation_id: str = Field(description="as in the `X-Correlation-ID` header of this response")
    request_id: UUID | None = None
    errors: list[FieldError] | None = None
