"""Where the next page of a list begins; opaque to the caller."""

import base64
import json
from datetime import datetime

from aigen_bridge.api.errors import InvalidMessageError
from aigen_bridge.contracts.moment import to_utc
from aigen_bridge.contracts.problem import FieldError
from aigen_bridge.domain.errors import storable


def to_cursor(at: datetime, key: str) -> str:
    """The place after the last item of a page."""
    place = json.dumps([at.isoformat(), key])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def from_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    """The place that `to_cursor` wrote. Raises `InvalidMessageError` for anything else."""
    if cursor is None:
        return None
    try:
        at, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = datetime.fromisoformat(at), key
    except (ValueError, TypeError):
        raise wrong_cursor(cursor) from None
    if place[0].tzinfo is None or not isinstance(key, str) or storable(key) != key:
        raise wrong_cursor(cursor)
    return to_utc(place[0]), key


def wrong_cursor(cursor: str) -> InvalidMessageError:
    """The refusal of something that is no cursor."""
    allowed = "the nextCursor of an earlier page"
    return InvalidMessageError(
        "The address", [FieldError(field="cursor", sent=cursor[:100], allowed=allowed, message="is not a cursor")]
    )
