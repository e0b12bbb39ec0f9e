"""Is it alive, and can it work? Neither needs a key, neither tells a secret."""

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
from aigen_bridge.store.fresh import Fresh
from aigen_bridge.store.readiness import WriteProof
from aigen_bridge.wiring import ApiParts

FRESH_SECONDS, PATIENCE_SECONDS = 2.0, 3.0
"""How long a proof is reused, and the longest wait for an answer."""

router = APIRouter(prefix="/health", tags=["health"])


class Freshness:
    """What readiness asks the database: a proof, which is shared for a while, and how the destinations stand now."""

    def __init__(self, parts: ApiParts) -> None:
        prove, states = WriteProof(parts.database).prove, parts.destinations.states
        self.proof = Fresh(prove, fresh=FRESH_SECONDS, patience=PATIENCE_SECONDS)
        self.states = Fresh(states, fresh=0, patience=PATIENCE_SECONDS)

    async def close(self) -> None:
        """Stop asking."""
        await self.proof.close()
        await self.states.close()


class Health(WireModel):
    """It is well."""

    status: Literal["ok"] = "ok"


class DestinationHealth(WireModel):
    """How a system that we call stands. `out`: what is owed to it is held, and goes out by itself when it is back."""

    state: Literal["ok", "out"] = Field(description="out: its breaker is open")
    since: datetime | None = Field(None, description="out since then")
    probe_at: datetime | None = Field(None, description="the next try")
    held: int = Field(description="outbox entries that wait for it")


Destination = TypeAliasType("Destination", Annotated[str, Field(description="a system that the bridge calls")])


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
    """The database has the tables of this version, and took a test write at most 2 seconds ago."""
    health: Freshness = request.app.state.health
    _, states = await asyncio.gather(health.proof.get(), health.states.get())
    ready = Readiness(destinations={state.destination.name: _destination(state) for state in states})
    return Response(ready.model_dump_json(by_alias=True), media_type="application/json")


def _destination(state: DestinationState) -> DestinationHealth:
    return DestinationHealth(
        state="out" if state.opened_at else "ok", since=state.opened_at, probe_at=state.probe_at, held=state.held
    )
