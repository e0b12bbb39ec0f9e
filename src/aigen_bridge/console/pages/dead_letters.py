"""Dead letters: their causes, the letters of a cause, and one letter with what is in quarantine."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Path, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.console.addresses import own_path
from aigen_bridge.console.errors import UnknownPageError, WrongFormError
from aigen_bridge.console.form import Form
from aigen_bridge.console.letter_filter import read_cursor, read_filter
from aigen_bridge.console.notices import Notice, back_to, done
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn, Visitor
from aigen_bridge.contracts.quarantined import examine, image_of
from aigen_bridge.contracts.views import to_cursor
from aigen_bridge.domain.dead_letter import DeadLetter, DeadLetterName, QuarantinedCallback
from aigen_bridge.domain.errors import UnknownDeadLetterError
from aigen_bridge.pipeline.replay import BulkResult
from aigen_bridge.wiring import ApiParts

PATH = "/console/dead-letters"
PAGE, SELECTED_MAX = 50, 200
NAMED_MAX = 3
"""Letters that a notice names, with the reason why nothing was done with them."""
SANDBOX = {"Content-Security-Policy": "default-src 'none'; sandbox", "X-Content-Type-Options": "nosniff"}
"""For bytes from outside: whatever a browser takes them for, nothing in them is carried out."""

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)

Name = Annotated[str, Path(alias="name", max_length=50)]


@router.get(PATH)
async def list_page(request: Request, visitor: SignedIn, parts: Parts) -> Response:
    """Shows the causes of the open dead letters, and the letters that match the filter, newest first."""
    asked = read_filter(lambda name: request.query_params.get(name, ""), visitor.odoo)
    before, problem = read_cursor(request.query_params.get("cursor", ""))
    letters = await parts.dead_letters.page(replace(asked.wanted, before=before), PAGE + 1)
    last = letters[PAGE - 1] if len(letters) > PAGE else None
    return render(
        request,
        "dead_letters.html",
        causes=await parts.dead_letters.recent_causes(visitor.odoo),
        letters=letters[:PAGE],
        asked=asked,
        problems=[*asked.problems, *([problem] if problem else [])],
        next_cursor=to_cursor(last.at, last.id) if last else None,
        several_odoos=len(parts.settings.all_odoos) > 1,
    )


@router.post(f"{PATH}/replay")
async def replay_selected(visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Replays the selected letters."""
    result = await parts.replays.replay_each(_selected(form), visitor.action(form.reason()))
    return _answer(parts, form, result, "Replayed")


@router.post(f"{PATH}/discard")
async def discard_selected(visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Discards the selected letters."""
    result = await parts.replays.discard_each(_selected(form), visitor.action(form.required_reason()))
    return _answer(parts, form, result, "Discarded")


@router.get(f"{PATH}/{{name}}")
async def letter_page(request: Request, name: Name, visitor: SignedIn, parts: Parts) -> Response:
    """Shows one letter; of a callback, what it promised beside what it holds."""
    letter = await _letter(name, visitor, parts)
    contents = None
    if kept := await _callback(letter, parts):
        async with parts.large_in_hand:
            contents = await asyncio.to_thread(examine, kept)
    return render(request, "dead_letter.html", letter=letter, kept=kept, contents=contents)


@router.get(f"{PATH}/{{name}}/images/{{number}}")
async def read_image(request: Request, name: Name, number: str, visitor: SignedIn, parts: Parts) -> Response:
    """Returns an image in quarantine, if its bytes begin like one of an accepted format."""
    kept = await _callback(await _letter(name, visitor, parts), parts) if visitor.sees_content else None
    image = None
    if kept and number.isascii() and number.isdecimal():
        async with parts.large_in_hand:
            image = await asyncio.to_thread(image_of, kept, int(number[:9]))
    if image is None:
        raise UnknownPageError(request.url.path)
    return Response(image[0], media_type=image[1], headers=SANDBOX)


@router.get(f"{PATH}/{{name}}/body")
async def save_body(request: Request, name: Name, visitor: SignedIn, parts: Parts) -> Response:
    """Returns the body of a callback as it arrived, as a file."""
    kept = await _callback(await _letter(name, visitor, parts), parts) if visitor.sees_content else None
    if kept is None:
        raise UnknownPageError(request.url.path)
    file = {"Content-Disposition": f'attachment; filename="callback-{kept.id}.body"'}
    return Response(kept.payload, media_type="application/octet-stream", headers=SANDBOX | file)


@router.post(f"{PATH}/{{name}}/replay")
async def replay_one(name: Name, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Replays a letter."""
    handled = await parts.replays.replay(DeadLetterName.parse(name), visitor.action(form.reason()))
    parts.dead_letters.forget()
    state = f" Its request is {handled.status}." if handled.status else ""
    return done(_back(form), f"{name} is replayed.{state}")


@router.post(f"{PATH}/{{name}}/discard")
async def discard_one(name: Name, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Discards a letter."""
    await parts.replays.discard(DeadLetterName.parse(name), visitor.action(form.required_reason()))
    parts.dead_letters.forget()
    return done(_back(form), f"{name} is discarded.")


async def _letter(name: str, visitor: Visitor, parts: ApiParts) -> DeadLetter:
    letter = await parts.dead_letters.get(name, visitor.odoo)
    if letter is None:
        earlier = await parts.dead_letters.handled(DeadLetterName.parse(name), visitor.odoo)
        raise UnknownDeadLetterError(name, str(earlier) if earlier else None)
    return letter


async def _callback(letter: DeadLetter, parts: ApiParts) -> QuarantinedCallback | None:
    name = DeadLetterName.parse(letter.id)
    return await parts.quarantine.get(name.number) if name.kind == "callback" else None


def _selected(form: Form) -> Sequence[str]:
    names = form.texts("selected")
    if not names:
        raise WrongFormError("No dead letter was selected. Check the boxes of those that you mean.")
    if len(names) > SELECTED_MAX:
        raise WrongFormError(f"{len(names)} dead letters were selected; at most {SELECTED_MAX} at once.")
    return names


def _answer(parts: ApiParts, form: Form, result: BulkResult, verb: str) -> Response:
    parts.dead_letters.forget()
    lines = [f"{verb} {len(result.done)} of {result.matched}."]
    lines += [f"{name}: {reason}" for name, reason in list(result.failed.items())[:NAMED_MAX]]
    if len(result.failed) > NAMED_MAX:
        lines.append(f"{len(result.failed) - NAMED_MAX} more were left as they are.")
    return back_to(_back(form), Notice("problem" if result.failed else "done", " ".join(lines)))


def _back(form: Form) -> str:
    """Returns the page of the list from which the form came."""
    wanted = own_path(form.text("back"))
    return wanted if wanted.partition("?")[0] == PATH else PATH
