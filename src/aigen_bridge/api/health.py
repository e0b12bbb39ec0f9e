"""Is it alive, and can it work? Neither needs a key, neither tells a secret."""

from collections.abc import Sequence
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import Field

from aigen_bridge.api.describe import problems
from aigen_bridge.contracts import WireModel
from aigen_bridge.domain.destination import Destination
from aigen_bridge.store.destinations import DestinationState
from aigen_bridge.store.fresh import Fresh

FRESH_SECONDS, PATIENCE_SECONDS = 2.0, 3.0
"""However often it is asked, the database is asked at this pace; whoever asks is answered by then."""

Proof = Fresh[Sequence[DestinationState]]

router = APIRouter(prefix="/health", tags=["health"])


class Health(WireModel):
    """It is well."""

    status: Literal["ok"] = "ok"


class DestinationHealth(WireModel):
    """How a system that we call stands. `out`: what is owed to it is held, and goes out by itself when it is back."""

    state: Literal["ok", "out"] = Field(description="out: its breaker is open")
    since: datetime | None = Field(None, description="out since then")
    probe_at: datetime | None = Field(None, description="the next try")
    held: int = Field(description="outbox entries that wait for it")


class Readiness(Health):
    """It can take requests, also while a destination is out."""

    destinations: dict[Destination, DestinationHealth] = Field(description="the systems that we call, by name")


@router.head("/live", include_in_schema=False)
@router.get("/live", summary="The process answers")
async def live() -> Health:
    """Needs nothing but the process itself."""
    return Health()


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    summary="It can take requests",
    response_model=Readiness,
    responses=problems(503),
)
async def ready(request: Request) -> Response:
    """The database has the tables of this version and takes a write, as it did at most 2 seconds ago."""
    proof: Proof = request.app.state.readiness
    states = await proof.get()
    ready = Readiness(destinations={state.name: _destination(state) for state in states})
    return Response(ready.model_dump_json(by_alias=True), media_type="application/json")


def _destination(state: DestinationState) -> DestinationHealth:
    return DestinationHealth(
        state="out" if state.opened_at else "ok", since=state.opened_at, probe_at=state.probe_at, held=state.held
    )
