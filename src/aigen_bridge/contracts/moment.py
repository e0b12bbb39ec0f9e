"""A moment on the wire: RFC 3339 with its zone. A bare number, or a time without zone, is not guessed at."""

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field
from pydantic_core import PydanticCustomError

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d", re.ASCII)


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def _written_out(value: Any) -> Any:
    if not (isinstance(value, str) and _RFC_3339.match(value)):
        raise PydanticCustomError("moment_form", "not a time as 2026-01-31T12:00:00Z")
    return value


def to_utc(at: datetime) -> datetime:
    """The same moment in UTC; the first or last one there is when the offset leads out of the years 1 to 9999."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return FIRST if at.year == FIRST.year else LAST


UtcDatetime = Annotated[AwareDatetime, AfterValidator(to_utc)]
"""A time with its zone, in UTC: PostgreSQL has no offset above 15:59, Python has no time before the year 1."""
Moment = Annotated[UtcDatetime, Field(strict=False), BeforeValidator(_written_out)]
"""Not strict: behind a validator of ours, a strict model would refuse every string."""
