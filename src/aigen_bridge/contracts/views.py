"""Builds the views of requests, timelines and dead letters for the API and the CLI, and the cursors of lists."""

import base64
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from uuid import UUID

import structlog
from pydantic import ValidationError

from aigen_bridge.contracts.models import estimated_cost
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.resources import (
    AttemptMade,
    CostState,
    DeadLetterPage,
    DeadLetterResource,
    EstimatedCost,
    GenerationChange,
    GenerationState,
    Held,
    ImageResource,
    NextStep,
    ProgressState,
    RequestPage,
    RequestResource,
    StateChange,
    Timeline,
)
from aigen_bridge.contracts.wire import FieldError, to_utc
from aigen_bridge.domain import generation as rules
from aigen_bridge.domain.dead_letter import DeadLetter
from aigen_bridge.domain.destination import Hold
from aigen_bridge.domain.errors import UnreadableRequestError, storable
from aigen_bridge.domain.generation import Generation, GenerationView, State
from aigen_bridge.domain.request import FailureCode, ImageRequest, Status
from aigen_bridge.domain.timeline import (
    AttemptRecord,
    GenerationRecord,
    PendingEntry,
    PendingWork,
    Record,
    TransitionRecord,
)

PREFIX = "/api/v1/influencegen"
REQUESTS_PATH = f"{PREFIX}/ai-image-requests"

log = structlog.get_logger(__name__)


def request_page(
    requests: Iterable[ImageRequest],
    holds: Mapping[UUID, Hold],
    generations: Mapping[UUID, GenerationView],
    end: tuple[datetime, UUID] | None,
) -> RequestPage:
    """Returns a page of the readable requests; logs the others. `end` is the place of the last one, if more follow."""
    items = []
    for request in requests:
        try:
            name = request.request_id
            items.append(resource(request, holds.get(name), generations.get(name)))
        except UnreadableRequestError as error:
            log.error("request.unreadable", request_id=str(request.request_id), detail=error.detail)  # noqa: TRY400
    return RequestPage(items=items, next_cursor=to_cursor(end[0], str(end[1])) if end else None)


def resource(
    request: ImageRequest, hold: Hold | None = None, generation: GenerationView | None = None
) -> RequestResource:
    """Returns one request with its parameters. Raises `UnreadableRequestError` when the stored ones are not valid."""
    try:
        return _resource(request, hold, generation or GenerationView())
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors(include_url=False))
        raise UnreadableRequestError(request.request_id, f"wrong or missing: {wrong[:300]}") from None


def _resource(request: ImageRequest, hold: Hold | None, generation: GenerationView) -> RequestResource:
    estimate = estimated_cost(request.model, request.event)
    return RequestResource.model_validate(
        dict(request.event)
        | {
            "odoo": request.odoo,
            "status": request.status,
            "version": request.version,
            "createdAt": request.created_at,
            "updatedAt": request.updated_at,
            "dispatchedAt": request.dispatched_at,
            "completedAt": request.finished_at,
            "deliveredAt": request.delivered_at,
            "errorCode": request.error_code,
            "errorMessage": request.error_message,
            "replayable": request.is_replayable,
            "image": _image(request),
            "held": _held(hold) if hold else None,
            "progress": ProgressState(**asdict(generation.progress)) if generation.progress else None,
            "generation": _generation(request, generation),
            "cost": CostState.of(request.facts.cost) if request.facts.cost else None,
            "charged": [CostState.of(each) for each in generation.charged],
            "estimatedCost": EstimatedCost.of(estimate) if estimate else None,
        },
        strict=False,
    )


def _held(hold: Hold) -> Held:
    return Held(destination=hold.destination, since=hold.since, until=hold.until, paused=hold.is_paused)


def _generation(request: ImageRequest, generation: GenerationView) -> GenerationState | None:
    if not (request.facts.generation or generation.job or generation.resent):
        return None
    known = GenerationState.of(request.facts.generation, generation.job)
    return known.model_copy(update={"resent": generation.resent})


def _image(request: ImageRequest) -> ImageResource | None:
    if request.image is None:
        return None
    href = f"{REQUESTS_PATH}/{request.request_id}/image"
    return ImageResource(**asdict(request.image), href=href, purged_at=request.image_purged_at)


def timeline(request: ImageRequest, entries: Sequence[Record], pending: PendingWork) -> Timeline:
    """Returns the history of a request, beginning with its acceptance, and its next step."""
    accepted = StateChange(at=request.created_at, status=Status.QUEUED, version=1, note="accepted")
    return Timeline(
        request_id=request.request_id,
        correlation_id=request.correlation_id,
        odoo=request.odoo,
        status=request.status,
        attempts_purged_at=request.attempts_purged_at,
        entries=[accepted, *(_entry(entry) for entry in entries if not isinstance(entry, GenerationRecord))],
        generation=[
            GenerationChange(at=entry.at, state=entry.state, note=entry.note)
            for entry in entries
            if isinstance(entry, GenerationRecord)
        ],
        next=next_step(request, pending),
    )


def _entry(entry: TransitionRecord | AttemptRecord) -> StateChange | AttemptMade:
    if isinstance(entry, TransitionRecord):
        return StateChange(at=entry.at, status=entry.status, version=entry.version, note=entry.note)
    return AttemptMade.model_validate(
        {
            "at": entry.at,
            "step": entry.step.value,
            "number": entry.number,
            "outcome": entry.outcome,
            "duration_ms": round(entry.took.total_seconds() * 1000, 1),
            "http_status": entry.http_status,
            "error_code": entry.error_code,
            "detail": entry.detail,
        }
    )


def next_step(request: ImageRequest, pending: PendingWork) -> NextStep:
    """Returns the next step of a request as one sentence, and its time."""
    for entry in pending.entries:  # newest first; a pending one matters more than a dead one
        if not entry.is_dead:
            return _pending_step(entry, request.odoo)
    if request.status is Status.DISPATCHED:
        return _dispatched_step(request, pending)
    for entry in pending.entries:
        what = (
            f"Nothing automatic: {entry.step} failed for good ({entry.error_code}). An operator replays or discards it."
        )
        return NextStep(what=what, dead_letter=f"entry-{entry.id}")
    if request.error_code == FailureCode.MAYBE_PAID and request.is_replayable:
        what = (
            "Nothing automatic: the image may have been paid for. An operator looks for its job at the AI service, "
            "and can send the request again, which may pay again."
        )
        return NextStep(what=what)
    if request.is_replayable:
        return NextStep(what=f"Nothing automatic: it failed as {request.error_code}. An operator can send it again.")
    return NextStep(what="Nothing: Odoo has the outcome." if request.delivered_at else "Nothing: no step is pending.")


def _dispatched_step(request: ImageRequest, pending: PendingWork) -> NextStep:
    """Returns what happens if N8N falls silent, or at the callback deadline, whichever is first."""
    found, deadline = pending.generation, pending.callback_deadline_at
    expected = _expectation(found.generation) if found else "Waiting for N8N's result."
    if found and found.silent_at and (deadline is None or found.silent_at < deadline or found.is_n8n_out):
        silence = rules.fall_silent(found.generation, request, found.policy).transition
        if silence and found.is_n8n_out:
            until = "resumed" if pending.is_n8n_paused else "back"
            why = "paused" if pending.is_n8n_paused else "away"
            return NextStep(what=f"{expected} N8N is {why}, and its silence does not count until it is {until}.")
        if silence:
            effect = "is sent to N8N again" if silence.after is Status.QUEUED else "fails as maybe_paid"
            return NextStep(what=f"{expected} Without a word until then, the request {effect}.", at=found.silent_at)
    if pending.is_n8n_paused:
        return NextStep(what=f"{expected} N8N is paused, and the deadline stands still until it is resumed.")
    late = "Without a result, the request fails as timed_out at the deadline. A late result is still accepted."
    return NextStep(what=f"{expected} {late}", at=deadline)


def _expectation(generation: Generation) -> str:
    """Returns what N8N is expected to do, as one sentence."""
    if generation.is_suspended:
        return "The request is not sent to N8N again, because an image was refused."
    if generation.job:
        return f"N8N polls job {generation.job.job_id} at {generation.job.provider}."
    return {
        State.GRANTED: f"N8N execution {generation.execution_id} may submit one job to the AI service, and names it.",
        State.DOUBTFUL: "The image may have been paid for, and no job is known.",
    }.get(generation.state, "Waiting for N8N's result.")


def _pending_step(entry: PendingEntry, odoo: str) -> NextStep:
    number = entry.attempts + 1
    if entry.is_leased:
        return NextStep(
            what=f"Attempt {entry.attempts} to {entry.step} is in progress. If its worker dies, another takes over.",
            at=entry.due_at,
        )
    if entry.destination_is_paused:
        return NextStep(
            what=f"The {entry.step} waits because operators have paused its destination, until they resume it."
        )
    if entry.destination_is_away:
        return NextStep(
            what=f"The {entry.step} is held because its destination is away. The bridge retries until it is back.",
            at=entry.probe_at,
        )
    if entry.odoo_is_unknown:
        return NextStep(what=f"The {entry.step} waits until Odoo {odoo} is in the settings again (AIGEN_ODOOS).")
    return NextStep(what=f"Attempt {number} to {entry.step}.", at=entry.due_at)


def dead_letter_page(found: Sequence[DeadLetter], limit: int) -> DeadLetterPage:
    """Returns a page of at most `limit` dead letters. One more in `found` means that there is a next page."""
    last = found[limit - 1] if len(found) > limit else None
    items = [DeadLetterResource(**asdict(letter)) for letter in found[:limit]]
    return DeadLetterPage(items=items, next_cursor=to_cursor(last.at, last.id) if last else None)


def to_cursor(at: datetime, key: str) -> str:
    """Encodes the place of the last item of a page."""
    place = json.dumps([at.isoformat(), key])
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def from_cursor(cursor: str | None) -> tuple[datetime, str] | None:
    """Decodes a cursor made by `to_cursor`. Raises `InvalidMessageError` for anything else."""
    if cursor is None:
        return None
    try:
        at, key = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        place = datetime.fromisoformat(at), key
    except (ValueError, TypeError):
        raise wrong_cursor(cursor) from None
    if place[0].tzinfo is None or not isinstance(key, str) or storable(key) != key:
        raise wrong_cursor(cursor)
    return to_utc(place[0]), key


def wrong_cursor(cursor: str) -> InvalidMessageError:
    """Returns the error for a value that is not a cursor."""
    allowed = "the nextCursor of an earlier page"
    return InvalidMessageError(
        "The address", [FieldError(field="cursor", sent=cursor[:100], allowed=allowed, message="is not a cursor")]
    )
