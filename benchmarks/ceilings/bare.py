"""A bare FastAPI application that parses and answers the same messages without database, keys, limits or logs."""

from datetime import UTC, datetime

from fastapi import FastAPI, Request
from fastapi.responses import Response
from pydantic import TypeAdapter

from aigen_bridge.contracts.resources import CallbackReceipt, RequestResource
from aigen_bridge.contracts.v1 import ImageRequested, callback_event
from aigen_bridge.domain.request import DEFAULT_ODOO, Status

app = FastAPI()
_requested = TypeAdapter(ImageRequested)


@app.get("/health/live")
async def live() -> None:
    """Responds to the readiness check."""


@app.post("/api/v1/influencegen/ai-image-requests")
async def accept(request: Request) -> Response:
    """Parses EVT-AIG-001 and responds with the resource."""
    event = _requested.validate_json(await request.body())
    now = datetime.now(UTC)
    known = {"status": Status.QUEUED, "version": 1, "createdAt": now, "updatedAt": now, "odoo": DEFAULT_ODOO}
    answer = RequestResource.model_validate(event.stored_form() | known, strict=False)
    return Response(answer.model_dump_json(by_alias=True), 202, media_type="application/json")


@app.post("/api/v1/influencegen/ai-image-callback")
async def take(request: Request) -> Response:
    """Parses EVT-AIG-003 and responds with the receipt."""
    event = callback_event.validate_json(await request.body())
    answer = CallbackReceipt(request_id=event.request_id, status=Status.FAILED, duplicate=False)
    return Response(answer.model_dump_json(by_alias=True), 202, media_type="application/json")
