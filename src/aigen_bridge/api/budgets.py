"""Endpoints of budgets: operators change them, and Odoo shows people what is left."""

from datetime import timedelta
from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from aigen_bridge.api.addon import ADDON_PARAMETER, note_addon
from aigen_bridge.api.auth import MAY_READ, Caller, Operator
from aigen_bridge.api.body import Limits, read_json
from aigen_bridge.api.describe import json_body, problems
from aigen_bridge.api.endpoint import KNOWN_PARAMETERS, Parts, json_answer
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.budgets import NAME_PATTERN, BudgetList, BudgetPut, BudgetResource, BudgetTerms
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.views import PREFIX
from aigen_bridge.domain.budget import Purpose
from aigen_bridge.domain.dead_letter import OperatorAction

OPS = "/api/v1/ops/budgets"
BODY_LIMITS = Limits(max_bytes=16 * 2**10, timeout=timedelta(seconds=30))

router = APIRouter(tags=["budgets"])

Name = Annotated[str, Path(pattern=NAME_PATTERN, description="lower-case letters, digits and `-`, such as `marketing`")]


@router.get(
    f"{PREFIX}/budgets",
    dependencies=[KNOWN_PARAMETERS],
    summary="List the budgets that would count a request",
    response_model=BudgetList,
    responses=problems(401, 403, 422, 429, 503),
    openapi_extra={"parameters": [ADDON_PARAMETER]},
)
async def list_counting(
    request: Request,
    caller: Annotated[Caller, MAY_READ],
    parts: Parts,
    user_id: Annotated[UUID | None, Query(alias="userId")] = None,
    campaign_id: Annotated[UUID | None, Query(alias="campaignId")] = None,
    model_id: Annotated[UUID | None, Query(alias="modelId")] = None,
) -> Response:
    """Returns what is left for a request of this user, campaign and model, of the caller's Odoo."""
    await note_addon(request, caller, parts)
    purpose = Purpose(odoo=caller.odoo, user_id=user_id, campaign_id=campaign_id, model_id=model_id)
    return json_answer(BudgetList.of(await parts.budgets.counting(purpose)))


@router.get(
    OPS,
    dependencies=[KNOWN_PARAMETERS],
    summary="List budgets by name",
    response_model=BudgetList,
    responses=problems(401, 403, 422, 429, 503),
)
async def list_budgets(caller: Operator, parts: Parts) -> Response:
    """Returns all budgets. A client with an Odoo sees and changes those that match its Odoo only."""
    return json_answer(BudgetList.of(await parts.budgets.states(caller.sees_only)))


@router.get(
    f"{OPS}/{{name}}",
    summary="Read a budget",
    response_model=BudgetResource,
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def read_budget(name: Name, caller: Operator, parts: Parts) -> Response:
    """Returns the budget, and how much of it is used in the current period."""
    return json_answer(BudgetResource.of(await parts.budgets.state(name, caller.sees_only)))


@router.put(
    f"{OPS}/{{name}}",
    dependencies=[KNOWN_PARAMETERS],
    summary="Add or replace a budget",
    response_model=BudgetPut,
    responses=problems(400, 401, 403, 408, 409, 413, 415, 422, 429, 503),
    openapi_extra=json_body({"a campaign": {"value": examples.BUDGET}}, BudgetTerms),
)
async def put_budget(
    request: Request,
    name: Name,
    caller: Operator,
    parts: Parts,
    force: Annotated[bool, Query(description="also while an Odoo with an older addon is known")] = False,  # noqa: FBT002
) -> Response:
    """Counts from the beginning of the current period, and holds for every request that is accepted after the answer.

    A limit below what is used already refuses further requests; those that were accepted go on. An addon before 1.5.0
    tries a refused request again and again, and everything that is asked for afterwards waits behind it: while an Odoo
    with one is known, the response is 409.
    """
    terms = parse_body(await read_json(request, BODY_LIMITS), BudgetTerms)
    budget = terms.budget(name, parts.settings.money.time_zone)
    state, remarks = await parts.budget_changes.put(budget, _action(caller), force=force)
    return json_answer(BudgetPut.made(state, remarks))


@router.delete(
    f"{OPS}/{{name}}",
    status_code=204,
    summary="Remove a budget",
    responses=problems(401, 403, 404, 422, 429, 503),
)
async def remove_budget(name: Name, caller: Operator, parts: Parts) -> Response:
    """Requests that are accepted after the answer are not counted by it. The ledger keeps what was spent."""
    await parts.budgets.remove(name, _action(caller))
    return Response(status_code=204)


def _action(caller: Caller) -> OperatorAction:
    return OperatorAction(caller.name, None, caller.sees_only)
