"""The destinations: what waits for each, and pausing, resuming and limiting it; and the image store."""

from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console import notices
from aigen_bridge.console.errors import WrongFormError
from aigen_bridge.console.form import Form
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.domain.destination import N8N, Availability, DestinationStatus
from aigen_bridge.pipeline.destinations import DestinationChange
from aigen_bridge.store.image_state import ImageStoreState, read_state
from aigen_bridge.wiring import ApiParts

PATH = "/console/destinations"
DIGITS_MAX = 9

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@router.get(PATH)
async def destinations_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Shows every destination that the visitor may see."""
    return render(
        request,
        "destinations.html",
        destinations=await parts.destinations.overview(visitor.odoo),
        shared=N8N.name if visitor.odoo else None,
        images=await _image_store(parts) if visitor.odoo is None else None,
        each_worker=parts.settings.n8n.concurrency,
        most=parts.destination_changes.most,
    )


@router.post(PATH + "/{name}/pause")
async def pause(name: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Pauses a destination."""
    change = await parts.destination_changes.pause(name, visitor.action(form.required_reason()))
    label = change.status.label
    if change.changed:
        return notices.done(PATH, f"{label} is paused. Calls in flight are finished, and nothing expires.")
    return _unchanged(f"{label} was paused already, {_by_whom(change.status)}")


@router.post(PATH + "/{name}/resume")
async def resume(name: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Resumes a destination, if it is still the pause that the operator saw."""
    change = await parts.destination_changes.resume(name, visitor.action(form.reason()), seen=_seen_pause(form))
    return _resumed(change)


@router.post(PATH + "/{name}/limit")
async def limit(name: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Limits the calls to a destination, if it still has the limit that the operator saw."""
    wanted, seen = _number(form.text("concurrency")), _number(form.text("seen"))
    try:
        change = await parts.destination_changes.limit(name, wanted, visitor.action(form.reason()), seen=seen)
    except InvalidMessageError as error:
        allowed = str(error.errors[0].allowed).partition(",")[0]
        raise WrongFormError(f"The limit {wanted} is out of range. Allowed: {allowed}, or nothing.") from None
    return _limited(change, wanted, seen)


async def _image_store(parts: ApiParts) -> ImageStoreState | None:
    """Returns the state of the image store. None where images are kept in PostgreSQL."""
    state = await read_state(parts.database)
    return state if state.location or state.away_since else None


def _resumed(change: DestinationChange) -> Response:
    label, state = change.status.label, change.status.state
    if change.changed:
        away = " It was away before the pause, and is probed at once." if state is Availability.OPEN else ""
        return notices.done(PATH, f"{label} is resumed.{away}")
    if state is Availability.PAUSED:
        return _unchanged(f"Meanwhile, {label} was resumed and paused again, {_by_whom(change.status)}")
    return _unchanged(f"{label} was resumed already.")


def _limited(change: DestinationChange, wanted: int | None, seen: int | None) -> Response:
    status = change.status
    limit = "each worker's own" if status.concurrency is None else str(status.concurrency)
    if change.changed:
        return notices.done(PATH, f"The limit of {status.label} is {limit}.")
    if status.concurrency not in {wanted, seen}:
        return _unchanged(f"Meanwhile, somebody has changed the limit of {status.label} to {limit}.")
    return _unchanged(f"The limit of {status.label} was {limit} already.")


def _unchanged(what: str) -> Response:
    return notices.back_to(PATH, notices.Notice("problem", f"{what} Nothing was changed."))


def _by_whom(status: DestinationStatus) -> str:
    since = f"{status.since:%H:%M:%S} UTC" if status.since else "some time ago"
    return f"at {since} by {status.paused_by}: “{status.pause_reason}”."


def _seen_pause(form: Form) -> datetime | None:
    """Returns when the pause began that the operator saw. None in a form that does not say."""
    try:
        seen = datetime.fromisoformat(form.text("seen"))
    except ValueError:
        return None
    return seen if seen.tzinfo else None


def _number(text: str) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= DIGITS_MAX):
        raise WrongFormError(f"The limit {text[:20]!r} is no whole number. Leave it empty for the setting.")
    return int(text)
