"""Is it alive, and can it work? Neither needs a key, neither tells a secret."""

from typing import Literal

from fastapi import APIRouter
from fastapi.responses import Response

from aigen_bridge.api.describe import problems
from aigen_bridge.api.parts import Parts
from aigen_bridge.contracts import WireModel
from aigen_bridge.domain.errors import StoreUnavailableError
from aigen_bridge.store import migrations

router = APIRouter(prefix="/health", tags=["health"])


class Health(WireModel):
    """It is well."""

    status: Literal["ok"] = "ok"


@router.head("/live", include_in_schema=False)
@router.get("/live", summary="The process answers")
async def live() -> Health:
    """Needs nothing but the process itself."""
    return Health()


@router.head("/ready", include_in_schema=False)
@router.get(
    "/ready",
    summary="It can take requests",
    response_model=Health,
    responses=problems(503),
)
async def ready(parts: Parts) -> Response:
    """The database answers and has the tables of this version."""
    found, expected = await migrations.current(parts.database), migrations.head()
    if found is None or migrations.is_older(found):  # a newer one is fine: upgrades migrate first
        raise StoreUnavailableError(
            f"The database is at revision {found}, this version needs {expected}: run 'aigen-bridge migrate'."
        )
    return Response(Health().model_dump_json(), media_type="application/json")
