"""Liveness and readiness. Neither needs a key, and neither exposes a secret."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field
from typing_extensions import TypeAliasType

from aigen_bridge.api.describe import problems
from aigen_bridge.contracts.wire import WireModel
from aigen_bridge.store.destinations import DestinationState
from aigen_bridge.store.image_state import ImageStoreState

router = APIRouter(prefix="/health", tags=["health"])


class Health(WireModel):
    """The service works."""

    status: Literal["ok"] = "ok"


class DestinationHealth(WireModel):
    """The state of a destination. Unless it is `ok`, its outbox entries wait until it is back or resumed."""

    state: Literal["ok", "out", "paused"] = Field(
        description="`out`: its breaker is open; `paused`: operators have paused it, whatever its breaker"
    )
    since: datetime | None = Field(None, description="the time since which it has been out or paused")
    probe_at: datetime | None = Field(None, description="the time of the next attempt")
    held: int = Field(description="outbox entries that wait for this destination (10000: or more)")


DestinationName = TypeAliasType(  # type: ignore[misc]  # the published schema keeps its name
    "Destination", Annotated[str, Field(description="a system that the bridge calls")]
)


class ImageStoreHealth(WireModel):
    """The object store of the images. While it is out, new images are kept in PostgreSQL."""

    state: Literal["ok", "out", "draining"] = Field(
        description="`out`: it does not answer; `draining`: its images are being moved to PostgreSQL"
    )
    since: datetime | None = Field(None, description="the time since which it has been out")
    waiting: int = Field(description="images in PostgreSQL that belong in the store (10000: or more)")


class Readiness(Health):
    """The service can accept requests, even while a destination or the image store is out, or one is paused."""

    destinations: dict[DestinationName, DestinationHealth] = Field(  # type: ignore[valid-type]
        description="the destinations, by name"
    )
    image_store: ImageStoreHealth | None = Field(None, description="null unless images are kept in an object store")


@router.get("/live", summary="Check that the process is alive")
async def live() -> Health:
    """Depends on nothing but the process itself."""
    return Health()


@router.get(
    "/ready",
    summary="Check that the service can accept requests",
    response_model=Readiness,
    responses=problems(503),
)
async def ready(request: Request) -> Response:
    """Ready: the database has the tables of this version and accepted a test write within the last 2 seconds."""
    state = request.app.state
    _, states, images = await asyncio.gather(state.proof.get(), state.destinations.get(), state.image_store.get())
    ready = Readiness(
        destinations={state.destination.name: _destination(state) for state in states},
        image_store=_image_store(images),
    )
    return Response(ready.model_dump_json(by_alias=True), media_type="application/json")


def _destination(state: DestinationState) -> DestinationHealth:
    if state.paused_at:
        return DestinationHealth(state="paused", since=state.paused_at, held=state.held)
    return DestinationHealth(
        state="out" if state.opened_at else "ok", since=state.opened_at, probe_at=state.probe_at, held=state.held
    )


def _image_store(state: ImageStoreState) -> ImageStoreHealth | None:
    if state.away_since:
        return ImageStoreHealth(state="out", since=state.away_since, waiting=state.waiting)
    if state.location is None:
        return None
    return ImageStoreHealth(state="draining" if state.is_draining else "ok", waiting=state.waiting)
