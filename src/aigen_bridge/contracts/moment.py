"""A moment on the wire: RFC 3339 with its zone. A bare number, or a time without zone, is not guessed at."""

import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BeforeValidator
from pydantic_core import PydanticCustomError

_RFC_3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d", re.ASCII)


def _written_out(value: Any) -> Any:
    if isinstance(value, str) and not _RFC_3339.match(value):
        raise PydanticCustomError("moment_form", "not a time as 2026-01-31T12:00:00Z")
    return value


Moment = Annotated[AwareDatetime, BeforeValidator(_written_out)]
