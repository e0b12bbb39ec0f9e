"""Shared by all endpoints: the application's components, and JSON responses."""

from collections import Counter
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.contracts.refusal import ERRORS_MAX, InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.wiring import ApiParts


async def _parts(request: Request) -> ApiParts:
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(_parts)]
"""The application's components, which opened when it started."""


def _known_parameters(request: Request) -> None:
    """Raises `InvalidMessageError` for a query parameter that is unknown or repeated, so not applied."""
    known = [str(field.alias) for field in request.scope["route"].dependant.query_params]
    given = Counter(name for name, _ in request.query_params.multi_items())
    allowed = f"each of these once: {', '.join(known)}" if known else "no parameters"
    errors = [
        FieldError(field=name[:100], allowed=allowed, message="is repeated" if name in known else "is not known")
        for name, count in given.items()
        if name not in known or count > 1
    ]
    if errors:
        raise InvalidMessageError("The address", errors[:ERRORS_MAX])


PAGE_MAX, PAGE_DEFAULT = 200, 50
Limit = Annotated[int, Query(ge=1, le=PAGE_MAX)]
Cursor = Annotated[str | None, Query(max_length=200)]
"""Query parameters of lists."""

KNOWN_PARAMETERS = Depends(_known_parameters)
"""For lists: refuses query parameters that would be ignored."""


def json_answer(
    body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None, *, leaves_out_none: bool = False
) -> Response:
    """Returns a response with the message as its JSON body."""
    content = body.model_dump_json(by_alias=True, exclude_none=leaves_out_none)
    return Response(content, status, headers, "application/json")
