"""What every endpoint uses: the parts of the application, and answers as JSON."""

from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.wiring import ApiParts


async def _parts(request: Request) -> ApiParts:
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(_parts)]
"""The parts of the application, which opened when it started."""


def json_answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """The message as the body of an answer."""
    return Response(body.model_dump_json(by_alias=True), status, headers, "application/json")
