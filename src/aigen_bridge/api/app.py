"""The FastAPI application. Its components open when it starts and close when it stops."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi_offline import FastAPIOffline

from aigen_bridge import __version__, tracing
from aigen_bridge.api import (
    budgets,
    destinations,
    health,
    metrics,
    models,
    n8n_failures,
    ops,
    problems,
    replays,
    search,
)
from aigen_bridge.api.auth import Keyring
from aigen_bridge.api.beat import beat
from aigen_bridge.api.correlation import CorrelationMiddleware
from aigen_bridge.api.describe import complete, json_body
from aigen_bridge.api.middleware import AccessMiddleware, DeprecationMiddleware, HeadMiddleware, begin_at_zero
from aigen_bridge.api.odoo_database import KnownDatabases
from aigen_bridge.api.rate_limit import RateLimits
from aigen_bridge.api.tls import SERVED
from aigen_bridge.api.v1 import callback, generation, requests, usage
from aigen_bridge.api.v2 import callback as callback_v2
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.v1 import ImageRequested
from aigen_bridge.settings import Settings, fingerprints
from aigen_bridge.settings.report import rotating
from aigen_bridge.settings.rotation import Part, Rotation, read_from_settings
from aigen_bridge.store.fresh import Fresh
from aigen_bridge.store.image_state import read_state
from aigen_bridge.store.odoos import Odoos
from aigen_bridge.store.readiness import prove_writable
from aigen_bridge.wiring import open_api

DESCRIPTION = """
Carries AI image requests from Odoo to N8N and the results back. Nothing accepted is lost, nothing takes effect twice,
and every party learns the outcome.

- **Odoo** requests images under *requests* (scope `requests`).
- **N8N** receives them at its webhook (see *Webhooks*), asks before it pays and reports progress under *generation*,
  and reports results under *callback* (scope `callbacks`).
- Every call carries a key: `Authorization: Bearer KEY` or `X-API-Key: KEY`.
- `X-Correlation-ID` is accepted, passed on, and returned in every response of the application. Two kinds of responses
  come from the server and carry no id: a bare 400 for input that is not HTTP, and a problem document for a connection
  that exceeds its limits (408 for a request head that is too slow, 431 for one that is too large, 503 when all
  connections are busy).
- A client speaks for one Odoo (`odoo` in `AIGEN_CLIENTS`; otherwise `default`). It sees the requests of this Odoo, and
  those of others do not exist for it. A client with scope `ops` and without `odoo` sees all. N8N (scope `callbacks`)
  serves every Odoo.
- `X-Odoo-Database: <uuid>; <name>`, the name percent-encoded, says which Odoo database calls. A copy of the database is
  refused with 403 and `wrong_database`. Calls without this header are served.
- When a call carries both headers, the bearer token counts. Blanks around a key are no part of it.
- Bodies are JSON in UTF-8, with or without a byte order mark, and not compressed.
- Errors are `application/problem+json` (RFC 9457). They state what happened, to which request, and what to do next.
- A version that is about to end announces it in every response: `Deprecation` (RFC 9745: since when), `Sunset`
  (RFC 8594: when it ends) and `Link` (what to do instead).
"""

PROOF_SECONDS, HEALTH_PATIENCE_SECONDS = 2.0, 3.0
"""The time for which a write proof is reused, and the longest wait of `/health/ready` for the database."""
GAUGES_SECONDS = 5.0
"""The time for which gauges are reused, however often `/metrics` is scraped, and the longest wait for them."""

ROUTERS = (
    requests.router,
    generation.router,
    callback.router,
    callback_v2.router,
    n8n_failures.router,
    models.router,
    budgets.router,
    usage.router,
    ops.router,
    replays.router,
    destinations.router,
    search.router,
    health.router,
    metrics.router,
)
webhooks = APIRouter()


@webhooks.post(
    "ai-image-generation-requested",
    summary="AIImageGenerationRequested",
    tags=["webhook"],
    openapi_extra=json_body({"EVT-AIG-001": {"value": examples.DISPATCHED}}, ImageRequested),
    responses={
        200: {
            "description": "202 or 204, or another 2xx whose body is empty or JSON: N8N has accepted the request and "
            "will call `callbackUrl`. Any other 2xx, such as N8N's start page, is no acknowledgement"
        },
        404: {"description": "N8N is away: retried after 1, 2 and 4 seconds, then held until N8N is back"},
        "4XX": {"description": "Permanent refusal (except 404, 408, 425, 429): the request fails"},
        "5XX": {
            "description": "Retried after 1, 2 and 4 seconds (500: or after `Retry-After`). After that, 502, 503 and "
            "504 are held like 404"
        },
    },
)
async def requested() -> None:
    """EVT-AIG-001, sent to `AIGEN_N8N__WEBHOOK_URL` with `X-API-Key` and `X-Correlation-ID`.

    `model` is the catalogue's entry with which the request was accepted (see *models*), without `active` and
    `description`. It is absent if the catalogue was empty.

    Delivered at least once: the same `requestId` may be sent again when an acknowledgement was lost, or when the
    execution fell silent. Once a job at the AI provider is known, the event has `providerJob` (`provider`, `jobId`,
    `statusUrl`, `responseUrl`, `cancelUrl`): poll that job. A workflow that asks before it pays (see *generation*)
    acknowledges with `{"speaks": ["generation"]}`.
    """


def create_app(settings: Settings, rotation: Rotation | None = None) -> FastAPI:
    """Creates the application for these settings. Without a `rotation`, its secrets never change."""
    rotation = rotation or Rotation(settings)
    app = _assemble(_lifespan(settings, rotation))
    if settings.deprecated:
        app.add_middleware(DeprecationMiddleware, deprecated=settings.deprecated)
    app.add_middleware(AccessMiddleware)
    begin_at_zero(ROUTERS)
    app.state.rotation = rotation
    _use_secrets(app, rotation)
    app.state.rate_limits = RateLimits(settings)
    return app


def _use_secrets(app: FastAPI, rotation: Rotation) -> None:
    app.state.keyring = Keyring(rotation.settings.clients)

    async def use_keys(settings: Settings) -> None:
        app.state.keyring = Keyring(settings.clients)

    async def use_certificate(_settings: Settings) -> None:
        SERVED.renew()

    rotation.add(Part(fingerprints.of_clients, use_keys))
    rotation.add(Part(fingerprints.of_metrics, read_from_settings))
    rotation.add(Part(fingerprints.of_tls, use_certificate))
    SERVED.renew()  # uvicorn has read the files before, and they may have changed since


def describe() -> dict[str, Any]:
    """Returns the OpenAPI document. Needs no settings."""
    return _assemble(None).openapi()


def _assemble(lifespan: Any) -> FastAPI:
    app: FastAPI = FastAPIOffline(
        title="aigen-bridge",
        version=__version__,
        summary="Reliable AI image requests between Odoo and N8N.",
        description=DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would trust the caller's Host header
        swagger_ui_parameters={"persistAuthorization": True},
    )
    app.add_middleware(HeadMiddleware)
    app.add_middleware(CorrelationMiddleware, on_bug=problems.on_bug)
    problems.install(app)
    for router in ROUTERS:
        app.router.routes += router.routes  # `include_router` would build them again, with the first request: 100 ms
    app.state.routes = [route for router in ROUTERS for route in router.routes]
    app.webhooks.include_router(webhooks)
    _extend_openapi(app)
    return app


def _lifespan(settings: Settings, rotation: Rotation) -> Any:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_api(settings, rotation) as parts, rotating(rotation, "api"):
            app.state.parts = parts
            proof = partial(prove_writable, parts.database)
            patience = parts.database.timeout.total_seconds()
            app.state.databases = KnownDatabases(Odoos(parts.database).known, patience=patience)
            app.state.proof = Fresh(proof, fresh=PROOF_SECONDS, patience=HEALTH_PATIENCE_SECONDS)
            app.state.destinations = Fresh(parts.destinations.states, fresh=0, patience=HEALTH_PATIENCE_SECONDS)
            read_images = partial(read_state, parts.database)
            app.state.image_store = Fresh(read_images, fresh=PROOF_SECONDS, patience=HEALTH_PATIENCE_SECONDS)
            app.state.gauges = Fresh(parts.gauges.read, fresh=GAUGES_SECONDS, patience=GAUGES_SECONDS)
            regular = {
                asyncio.create_task(beat(parts.generations)),
                asyncio.create_task(parts.key_uses.write_regularly()),
            }
            try:
                yield
            finally:
                for task in regular:
                    task.cancel()
                await asyncio.wait(regular)  # they may hold connections
                state = app.state
                for answer in (state.proof, state.destinations, state.image_store, state.gauges, state.databases):
                    await answer.close()
        tracing.stop()

    return lifespan


def _extend_openapi(app: FastAPI) -> None:
    """Completes the document with what FastAPI does not know: headers, and bodies that endpoints read themselves."""
    generate = app.openapi

    def openapi() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = generate()
            complete(document)
            app.openapi_schema = document
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]
