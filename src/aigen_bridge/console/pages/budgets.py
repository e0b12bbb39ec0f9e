"""The budgets: how much of each is used, and the forms that change them."""

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.budgets import Name
from aigen_bridge.api.endpoint import Parts
from aigen_bridge.api.problems import kind_of
from aigen_bridge.console import budget_form, notices
from aigen_bridge.console.budget_list import Order, row, select
from aigen_bridge.console.editing import Draft, Original
from aigen_bridge.console.errors import ViewerError
from aigen_bridge.console.filters import without_blanks
from aigen_bridge.console.form import Form
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn, Visitor
from aigen_bridge.domain.budget import LEAST_ADDON, OldAddonError, UnknownBudgetError
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.domain.money import CURRENCIES
from aigen_bridge.domain.seen import ChangedMeanwhileError
from aigen_bridge.wiring import ApiParts

PATH = "/console/budgets"
NEW = f"{PATH}/_new"
"""No budget can have this name."""
ONE = f"{PATH}/{{name}}"
SHOWN_MAX = 200
"""There may be a budget for every person."""
WORDS_MAX = 200
"""Characters."""

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def budgets_page(
    request: Request,
    visitor: SignedIn,
    parts: Parts,
    q: str = "",
    sort: str = "",
) -> Response:
    """Lists the budgets with what is used of them, at most `SHOWN_MAX`."""
    if shorter := without_blanks(request):
        return shorter
    order = Order(sort) if sort in set(Order) else Order.NAME
    models = {model.model_id: model.name for model in (await parts.models.read()).models.values()}
    states = await parts.budgets.states(visitor.odoo)
    found = select([row(state, models) for state in states], q[:WORDS_MAX], order)
    return render(
        request, "budgets.html", rows=found[:SHOWN_MAX], found=len(found), all=len(states), q=q[:WORDS_MAX], order=order
    )


@router.get(NEW)
async def new_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Shows the form of a new budget."""
    if not visitor.may_act:
        raise ViewerError
    return await _form_page(request, visitor, parts, budget_form.opened(Original(), "", visitor.odoo), None)


@router.post(NEW)
async def add(request: Request, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Adds a budget."""
    return await _save(request, visitor, form, parts, None)


@router.get(ONE)
async def budget_page(request: Request, visitor: SignedIn, parts: Parts, name: Name) -> Response:
    """Shows the form that changes a budget."""
    if not visitor.may_act:
        raise ViewerError
    found = budget_form.original(await parts.budgets.state(name, visitor.odoo))
    return await _form_page(request, visitor, parts, budget_form.opened(found, name, visitor.odoo), name)


@router.post(ONE)
async def change(request: Request, visitor: Operating, form: Sent, parts: Parts, name: Name) -> Response:
    """Changes a budget."""
    return await _save(request, visitor, form, parts, name)


@router.post(f"{ONE}/remove")
async def remove(visitor: Operating, form: Sent, parts: Parts, name: Name) -> Response:
    """Removes a budget."""
    seen = Original.sent(form).seen if form.text("seen") else None
    await parts.budgets.remove(name, visitor.action(form.reason()), seen)
    return notices.done(PATH, f"The budget {name} is removed. The ledger keeps what was spent.")


async def _save(request: Request, visitor: Visitor, form: Form, parts: ApiParts, name: str | None) -> Response:
    """Puts the budget of a form. What was typed stays in the form if the budget is refused."""
    draft, may_force = budget_form.sent(form), False
    try:
        budget = budget_form.parse(draft).budget(name or budget_form.parse_name(draft), parts.settings.money.time_zone)
        state, remarks = await parts.budget_changes.put(
            budget, visitor.action(form.reason()), force=bool(form.text("force")), seen=draft.original.seen
        )
    except ChangedMeanwhileError as error:
        return await _stale_page(request, visitor, parts, draft, budget.name, error)
    except BridgeError as error:
        may_force, status = isinstance(error, OldAddonError), kind_of(error).status
        return await _form_page(request, visitor, parts, draft.refused(error), name, status=status, may_force=may_force)
    return notices.done(PATH, " Note: ".join([f"The budget {state.budget.name} is saved.", *remarks]))


async def _stale_page(
    request: Request, visitor: Visitor, parts: ApiParts, draft: Draft, name: str, error: BridgeError
) -> Response:
    """Shows the form again, with what somebody else changed meanwhile."""
    try:
        now = budget_form.original(await parts.budgets.state(name, visitor.odoo))
    except UnknownBudgetError:
        now = Original()
    stale, kept = draft.stale(now, budget_form.in_force(draft)), name if now.updated_at else None
    return await _form_page(request, visitor, parts, stale, kept, status=kind_of(error).status)


async def _form_page(
    request: Request,
    visitor: Visitor,
    parts: ApiParts,
    draft: Draft,
    name: str | None,
    *,
    status: int = 200,
    may_force: bool = False,
) -> Response:
    catalogue, odoos = await parts.models.read(), sorted(parts.settings.all_odoos)
    return render(
        request,
        "budget.html",
        status=status,
        draft=draft,
        name=name,
        may_force=may_force,
        least_addon=LEAST_ADDON,
        currencies=[(each, each) for each in sorted(CURRENCIES)],
        odoos=[(each, each) for each in odoos if visitor.odoo in {None, each}],
        models=[(str(model.model_id), model.name) for model in catalogue.by_name()],
        time_zone=parts.settings.money.time_zone,
    )
