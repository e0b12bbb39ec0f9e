"""What the endpoints get from the application: its parts, opened when it started."""

from typing import Annotated

from fastapi import Depends, Request

from aigen_bridge.wiring import ApiParts


async def _parts(request: Request) -> ApiParts:
    parts: ApiParts = request.app.state.parts
    return parts


Parts = Annotated[ApiParts, Depends(_parts)]
