"""One request: its picture, its story, and what an operator can do with it."""

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from fastapi import APIRouter, Request
from fastapi.responses import Response

from aigen_bridge.api.endpoint import Parts
from aigen_bridge.api.entity_tags import is_known
from aigen_bridge.api.v1.requests import chosen_image, described, stored_content
from aigen_bridge.console import notices
from aigen_bridge.console.errors import HiddenContentError, WrongFormError, WrongIdError
from aigen_bridge.console.picture import Picture, draw
from aigen_bridge.console.render import render
from aigen_bridge.console.route import ConsoleRoute
from aigen_bridge.console.visitor import Operating, Sent, SignedIn, Visitor
from aigen_bridge.contracts.resources import RequestResource, Timeline
from aigen_bridge.contracts.views import commands, timeline
from aigen_bridge.domain.dead_letter import DeadLetter, DeadLetterName
from aigen_bridge.domain.errors import ImageMissingError, ImagePurgedError, ImageRejectedError, UnknownRequestError
from aigen_bridge.domain.image import MEDIA_TYPES, read_metadata
from aigen_bridge.domain.request import FINAL, ImageRequest, Status
from aigen_bridge.domain.story import story
from aigen_bridge.domain.timeline import AttemptRecord, PendingWork, Record
from aigen_bridge.wiring import ApiParts

PATH = "/console/requests/{request_id}"
ROUNDS = 5
"""Reads of a request that others keep moving, before its page shows what it has."""
ATTEMPTS = 20
"""The most first attempts of each step that are shown, and the most last ones."""
IMAGE_HEADERS = {"Content-Security-Policy": "default-src 'none'; sandbox", "Cache-Control": "private, no-cache"}
RESULT = {"status", "error_code", "error_message", "image", "provenance", "generation", "cost"}

router = APIRouter(route_class=ConsoleRoute, include_in_schema=False)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page shows of a request."""

    found: ImageRequest
    resource: RequestResource
    timeline: Timeline
    picture: Picture
    is_over: bool
    is_shortened: bool
    letters: list[DeadLetter]

    @property
    def is_open(self) -> bool:
        """Returns whether it can be cancelled."""
        return self.found.status not in FINAL

    @property
    def takes_image(self) -> bool:
        """Returns whether an image may be uploaded by hand."""
        return self.is_open or self.found.is_replayable

    @property
    def has_original(self) -> bool:
        """Returns whether the image was marked, and the bytes before that are different ones."""
        image = self.found.finished_image
        return image is not None and self.found.image_purged_at is None and self.found.original_sha256 != image.sha256

    @property
    def history(self) -> list[Any]:
        """Returns everything that happened, in order."""
        return sorted([*self.timeline.generation, *self.timeline.entries], key=lambda entry: entry.at)

    @property
    def result(self) -> dict[str, Any]:
        """Returns what was taken from N8N's result, as in the API."""
        return self.resource.model_dump(mode="json", by_alias=True, include=RESULT, exclude_none=True)


@router.get(PATH)
async def request_page(request: Request, request_id: str, visitor: SignedIn, parts: Parts) -> Response:
    """Shows one request. The page renews itself until nothing will happen by itself any more."""
    shown = await _shown(parts, request_id, visitor)
    found = shown.found
    url = parts.settings.public_url
    trace_url = _trace_url(parts.settings.console.trace_url, found.traceparent)
    return render(
        request,
        "request.html",
        shown=shown,
        commands=commands(shown.resource, url),
        trace_url=trace_url,
        most=ATTEMPTS,
        original_kept=visitor.sees_content and shown.has_original and parts.settings.marking.keep_original,
    )


@router.get(f"{PATH}/image")
async def request_image(
    request: Request, request_id: str, visitor: SignedIn, parts: Parts, *, original: bool = False
) -> Response:
    """Returns the bytes of the image, or of the original before it was marked, as the type that they have."""
    if not visitor.sees_content:
        raise HiddenContentError
    found = await _found(parts, request_id, visitor)
    image, ref = chosen_image(found, original=original)
    tag = f'"{ref.sha256}"'
    if is_known(request, tag):
        return Response(status_code=304, headers=IMAGE_HEADERS | {"ETag": tag})
    if found.image_purged_at is not None:
        raise ImagePurgedError(found.request_id)
    content = await stored_content(parts, image, ref)
    metadata = read_metadata(content)
    if metadata is None:  # it was checked when it was taken; who writes into the store by other ways is not trusted
        raise ImageMissingError("image_missing", f"What is stored for request {request_id} is no image.")
    return Response(content, headers=IMAGE_HEADERS | {"ETag": tag}, media_type=MEDIA_TYPES[metadata.format])


@router.post(f"{PATH}/cancel")
async def cancel_request(request_id: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Cancels the request."""
    cancelled = await parts.replays.cancel(_id(request_id), visitor.action(form.reason()))
    return _done(cancelled.request_id, "The request is cancelled. An image that arrives later is kept, not delivered.")


@router.post(f"{PATH}/replay")
async def replay_request(request_id: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Sends the request again."""
    again = await parts.replays.replay_request(_id(request_id), visitor.action(form.reason()))
    return _done(again.request_id, f"The request goes on: it is {again.status} again.")


@router.post(f"{PATH}/complete")
async def complete_request(request_id: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Completes the request with an image from the operator's machine, with the checks of the API."""
    if form.file is None:
        raise WrongFormError("Choose an image file. Nothing was changed.")
    action = visitor.action(form.reason())
    try:
        image = await parts.examine.check.as_found(form.file)
    except ImageRejectedError as error:
        raise WrongFormError(f"The file was refused, and nothing was changed: {error.detail}") from None
    completed = await parts.replays.complete(_id(request_id), image, action)
    if completed.status is Status.COMPLETED:
        return _done(completed.request_id, "The image passed its checks. The request is completed, and goes to Odoo.")
    return _done(completed.request_id, "The image passed its checks, and goes to Odoo once it is marked.")


@router.post(f"{PATH}/letters/{{name}}/replay")
async def replay_letter(request_id: str, name: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Replays a dead letter of the request."""
    handled = await parts.replays.replay(DeadLetterName.parse(name), visitor.action(form.reason()))
    parts.dead_letters.forget()
    status = f" The request is {handled.status}." if handled.status else ""
    return _done(_id(request_id), f"{name} was replayed.{status}")


@router.post(f"{PATH}/letters/{{name}}/discard")
async def discard_letter(request_id: str, name: str, visitor: Operating, form: Sent, parts: Parts) -> Response:
    """Discards a dead letter of the request."""
    await parts.replays.discard(DeadLetterName.parse(name), visitor.action(form.required_reason()))
    parts.dead_letters.forget()
    return _done(_id(request_id), f"{name} was discarded.")


def _id(text: str) -> UUID:
    try:
        return UUID(text)
    except ValueError:
        raise WrongIdError(text) from None


def _done(request_id: UUID, text: str) -> Response:
    return notices.done(PATH.format(request_id=request_id), text)


async def _found(parts: ApiParts, request_id: str, visitor: Visitor) -> ImageRequest:
    found = await parts.requests.get(_id(request_id), visitor.odoo)
    if found is None:
        raise UnknownRequestError(_id(request_id))
    return found


async def _shown(parts: ApiParts, request_id: str, visitor: Visitor) -> Shown:
    found, pending = await _found_with_pending_work(parts, request_id, visitor)
    records = await parts.timelines.read(found.request_id, most=ATTEMPTS)
    if not visitor.sees_content:
        found, records = replace(found, error_message=None), [_without_detail(each) for each in records]
    told = story(found, records, pending, datetime.now(UTC))
    tries = Counter(each.step for each in records if isinstance(each, AttemptRecord))
    return Shown(
        found=found,
        resource=await described(parts, found),
        timeline=timeline(found, records, pending),
        picture=draw(told),
        is_over=told.is_over,
        is_shortened=any(number >= 2 * ATTEMPTS for number in tries.values()),
        letters=await parts.dead_letters.of_request(found.request_id),
    )


async def _found_with_pending_work(
    parts: ApiParts, request_id: str, visitor: Visitor
) -> tuple[ImageRequest, PendingWork]:
    """Returns the request and what is pending for it at the same moment.

    A request that ended between two reads would seem to have ended with nothing pending, and its page would not renew
    itself any more.
    """
    found = await _found(parts, request_id, visitor)
    for _ in range(ROUNDS):
        pending, before = await parts.timelines.pending_work(found.request_id), found
        found = await _found(parts, request_id, visitor)
        if (found.version, found.delivered_at) == (before.version, before.delivered_at):
            break
    return found, pending


def _without_detail(record: Record) -> Record:
    """Returns a record without the text of another system, which may quote the prompt."""
    return replace(record, detail=None) if isinstance(record, AttemptRecord) else record


def _trace_url(template: str | None, traceparent: str | None) -> str | None:
    """Returns where the trace of a request is shown, if that is known."""
    return template.replace("{traceId}", traceparent.split("-")[1]) if template and traceparent else None
