"""The catalogue of models: its entries, and the forms that change them."""

from uuid import UUID, uuid4

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.api.models import check_sees_all
from aigen_bridge.api.problems import kind_of
from aigen_bridge.console import model_form, notices
from aigen_bridge.console.editing import Draft, Original
from aigen_bridge.console.errors import ViewerError
from aigen_bridge.console.form import Form
from aigen_bridge.console.model_form import FIELDS, original
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn, Visitor
from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.domain.catalogue import PriceUnit
from aigen_bridge.domain.errors import BridgeError, UnknownModelError
from aigen_bridge.domain.money import CURRENCIES
from aigen_bridge.domain.seen import ChangedMeanwhileError
from aigen_bridge.wiring import ApiParts

PATH = "/console/models"
NEW = f"{PATH}/new"

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def models_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Lists the models."""
    catalogue = await parts.models.read()
    return render(request, "models.html", catalogue=catalogue, may_change=_may_change(visitor), original=original)


@router.get(NEW)
async def new_page(request: Request, visitor: SignedIn) -> Response:
    """Shows the form of a new model, with an id that may be replaced by another."""
    if not visitor.may_act:
        raise ViewerError
    check_sees_all(visitor.name, visitor.odoo)
    as_json = _as_json(request)
    return _form_page(request, visitor, model_form.opened(Original(), uuid4(), as_json=as_json), None, as_json=as_json)


@router.post(NEW)
async def add(request: Request, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Adds a model."""
    return await _save(request, visitor, form, parts, None)


@router.get(f"{PATH}/{{model_id}}")
async def model_page(request: Request, visitor: SignedIn, parts: Parts, model_id: UUID) -> Response:
    """Shows a model, with the form that changes it for those who may."""
    catalogue = await parts.models.read()
    model = catalogue.models.get(model_id)
    if model is None and model_id not in catalogue.unreadable:
        raise UnknownModelError(model_id)
    as_json, reason = _as_json(request), catalogue.unreadable.get(model_id)
    draft = model_form.opened(original(model), model_id, as_json=as_json)
    return _form_page(request, visitor, draft, model_id, as_json=as_json, unreadable=reason)


@router.post(f"{PATH}/{{model_id}}")
async def change(request: Request, visitor: Operating, form: Sent, parts: Parts, model_id: UUID) -> Response:
    """Changes a model."""
    return await _save(request, visitor, form, parts, model_id)


@router.post(f"{PATH}/{{model_id}}/activate")
async def activate(visitor: Operating, form: Sent, parts: Parts, model_id: UUID) -> Response:
    """Offers a model for new requests."""
    return await _set_active(visitor, form, parts, model_id, is_active=True)


@router.post(f"{PATH}/{{model_id}}/deactivate")
async def deactivate(visitor: Operating, form: Sent, parts: Parts, model_id: UUID) -> Response:
    """Refuses new requests for a model."""
    return await _set_active(visitor, form, parts, model_id, is_active=False)


@router.post(f"{PATH}/{{model_id}}/remove")
async def remove(visitor: Operating, form: Sent, parts: Parts, model_id: UUID) -> Response:
    """Removes a model."""
    check_sees_all(visitor.name, visitor.odoo)
    seen = Original.sent(form).seen if form.text("seen") else None
    await parts.catalogue_changes.remove(model_id, visitor.action(form.reason()), seen=seen)
    parts.models.forget()
    return notices.done(PATH, f"The model {form.text('name')[:200] or model_id} is removed. Accepted requests keep it.")


async def _save(request: Request, visitor: Visitor, form: Form, parts: ApiParts, model_id: UUID | None) -> Response:
    """Puts the entry of a form. What was typed stays in the form if the entry is refused."""
    check_sees_all(visitor.name, visitor.odoo)
    as_json = form.text("as") == "json"
    draft = model_form.sent(form, as_json=as_json)
    try:
        entry = model_form.parse(draft, as_json=as_json)
        put_id = model_id or model_form.parse_id(draft)
        done = await _put(visitor, form, parts, put_id, entry, draft.original)
    except ChangedMeanwhileError:
        now = original((await parts.models.read()).models.get(put_id))
        draft = draft.stale(now, model_form.in_force(draft, as_json=as_json))
        return _form_page(request, visitor, draft, put_id if now.updated_at else None, status=409, as_json=as_json)
    except BridgeError as error:
        status = kind_of(error).status
        return _form_page(request, visitor, draft.refused(error), model_id, status=status, as_json=as_json)
    return notices.done(PATH, done)


async def _put(
    visitor: Visitor, form: Form, parts: ApiParts, model_id: UUID, entry: ModelEntry, before: Original
) -> str:
    """Puts an entry, and returns what happened."""
    # an entry that cannot be read has no known time, and is replaced
    seen = before.seen if before.updated_at or not form.text("unreadable") else None
    changed = await parts.catalogue_changes.put({model_id: entry}, visitor.action(form.reason()), seen=seen)
    parts.models.forget()
    if not changed:
        return f"{entry.name} is as it was: nothing was different."
    remark = "" if entry.price else " It has no price, so budgets do not count it."
    return f"{entry.name} is saved. It counts for new requests within 2 seconds.{remark}"


async def _set_active(visitor: Visitor, form: Form, parts: ApiParts, model_id: UUID, *, is_active: bool) -> Response:
    check_sees_all(visitor.name, visitor.odoo)
    model = (await parts.models.read()).models.get(model_id)
    if model is None:
        raise UnknownModelError(model_id)
    state = "offered for new requests" if is_active else "no longer offered; accepted requests go on"
    if model.is_active is is_active:
        return notices.done(PATH, f"{model.name} is already {state}.")
    before = original(model)
    entry = ModelEntry.model_validate({**before.entry, "active": is_active})
    await parts.catalogue_changes.put({model_id: entry}, visitor.action(form.reason()), seen=before.seen)
    parts.models.forget()
    return notices.done(PATH, f"{model.name} is {state}.")


def _form_page(
    request: Request,
    visitor: Visitor,
    draft: Draft,
    model_id: UUID | None,
    *,
    as_json: bool,
    status: int = 200,
    unreadable: str | None = None,
) -> Response:
    return render(
        request,
        "model.html",
        status=status,
        draft=draft,
        fields=FIELDS,
        model_id=model_id,
        as_json=as_json,
        unreadable=unreadable,
        may_change=_may_change(visitor),
        currencies=[(each, each) for each in sorted(CURRENCIES)],
        units=[(each.value, each.value) for each in PriceUnit],
    )


def _as_json(request: Request) -> bool:
    """Returns whether the page shows the JSON of an entry instead of its fields."""
    return request.query_params.get("as") == "json"


def _may_change(visitor: Visitor) -> bool:
    """Returns whether a visitor may change the catalogue, which belongs to every Odoo."""
    return visitor.may_act and visitor.odoo is None
