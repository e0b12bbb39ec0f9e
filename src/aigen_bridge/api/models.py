"""Endpoints of the catalogue of models: Odoo and N8N read it, operators change it."""

import hashlib
from datetime import timedelta
from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response
from pydantic import BaseModel

from aigen_bridge.api.addon import ADDON_PARAMETER, note_addon
from aigen_bridge.api.auth import MAY_READ_MODELS, Caller, Operator
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, Parts, json_answer
from aigen_bridge.api.entity_tags import is_known
from aigen_bridge.api.errors import ForbiddenError
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.models import ModelEntry, ModelList, ModelResource, model_list, model_resource
from aigen_bridge.contracts.views import PREFIX
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.errors import UnknownModelError
from aigen_bridge.wiring import ApiParts

BODY_LIMITS = Limits(max_bytes=64 * 2**10, timeout=timedelta(seconds=30))
NOT_MODIFIED: dict[int | str, dict[str, Any]] = {304: {"description": "The caller already has it (`If-None-Match`)"}}

router = APIRouter(tags=["models"])

ModelId = Annotated[UUID, Path(alias="modelId", description="the UUID of the model")]
Reader = Annotated[Caller, MAY_READ_MODELS]


@router.get(
    f"{PREFIX}/models",
    dependencies=[KNOWN_PARAMETERS],
    summary="List the models by name",
    response_model=ModelList,
    responses=problems(401, 403, 422, 429, 503) | NOT_MODIFIED,
    openapi_extra={"parameters": [ADDON_PARAMETER]},
)
async def list_models(request: Request, caller: Reader, parts: Parts) -> Response:
    """Returns the whole catalogue. If it is empty, requests for any model are accepted."""
    await note_addon(request, caller, parts)
    return _tagged(request, model_list(await parts.models.read()))


@router.get(
    f"{PREFIX}/models/{{modelId}}",
    summary="Read a model",
    response_model=ModelResource,
    responses=problems(401, 403, 404, 422, 429, 503) | NOT_MODIFIED,
)
async def read_model(request: Request, model_id: ModelId, _caller: Reader, parts: Parts) -> Response:
    """Returns one entry of the catalogue."""
    return _tagged(request, await _found(parts, model_id))


@router.put(
    "/api/v1/ops/models/{modelId}",
    tags=["operations"],
    summary="Add or replace a model",
    response_model=ModelResource,
    responses=problems(400, 401, 403, 408, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"a model with a LoRA": {"value": examples.MODEL}}, ModelEntry),
)
async def put_model(request: Request, model_id: ModelId, caller: Operator, parts: Parts) -> Response:
    """Replaces the whole entry. It counts for new requests within 2 seconds; accepted ones keep the entry they have."""
    check_sees_all(caller.name, caller.sees_only)
    entry = parse_body(await read_json(request, BODY_LIMITS), ModelEntry)
    await parts.catalogue_changes.put({model_id: entry}, OperatorAction(caller.name))
    parts.models.forget()
    return json_answer(await _found(parts, model_id), leaves_out_none=True)


@router.delete(
    "/api/v1/ops/models/{modelId}",
    tags=["operations"],
    status_code=204,
    summary="Remove a model",
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def remove_model(model_id: ModelId, caller: Operator, parts: Parts) -> Response:
    """Accepted requests keep the entry they have. To keep the entry and refuse new requests, put `active: false`."""
    check_sees_all(caller.name, caller.sees_only)
    await parts.catalogue_changes.remove(model_id, OperatorAction(caller.name))
    parts.models.forget()
    return Response(status_code=204)


async def _found(parts: ApiParts, model_id: UUID) -> ModelResource:
    model = (await parts.models.read()).models.get(model_id)
    if model is None:
        raise UnknownModelError(model_id)
    return model_resource(model)


def check_sees_all(name: str, sees_only: str | None) -> None:
    """Raises `ForbiddenError` for an operator of one Odoo: the catalogue belongs to all."""
    if sees_only is not None:
        raise ForbiddenError(
            "odoo_limited",
            f"Client {name!r} acts on Odoo {sees_only!r} only, and the catalogue belongs to every Odoo.",
        )


def _tagged(request: Request, body: BaseModel) -> Response:
    """Returns a message with its hash as the `ETag`; 304 if the caller already has it."""
    answer = json_answer(body, leaves_out_none=True)
    answer.headers["ETag"] = tag = f'"{hashlib.sha256(answer.body).hexdigest()}"'
    return Response(status_code=304, headers={"ETag": tag}) if is_known(request, tag) else answer
