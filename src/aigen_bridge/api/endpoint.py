"""Shared by all endpoints: the application's components, and JSON responses."""

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
"""The application's components, which opened when it started."""


def json_answer(body: BaseModel, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Returns a response with the message as its JSON body."""
    return Response(body.model_dump_json(by_alias=True), status, headers, "application/json")
