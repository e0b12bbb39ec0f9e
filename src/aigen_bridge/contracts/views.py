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
    ProvenanceState,
    RequestPage,
    RequestResource,
    StateChange,
    Timeline,
)
from aigen_bridge.contracts.wire import FieldError, to_utc
from aigen_bridge.domain.dead_letter import DeadLetter
from aigen_bridge.domain.destination import Hold
from aigen_bridge.domain.errors import UnreadableRequestError, storable
from aigen_bridge.domain.generation import GenerationView
from aigen_bridge.domain.request import FINAL, ImageRequest, Status
from aigen_bridge.domain.timeline import (
    AttemptRecord,
    GenerationRecord,
    PendingWork,
    Record,
    TransitionRecord,
)
from aigen_bridge.domain.upcoming import upcoming

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
            "provenance": ProvenanceState.of(request.provenance) if request.provenance else None,
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
    if request.finished_image is None:
        return None
    href = f"{REQUESTS_PATH}/{request.request_id}/image"
    return ImageResource(**asdict(request.finished_image), href=href, purged_at=request.image_purged_at)


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
    return NextStep(**asdict(upcoming(request, pending)))


def commands(request: RequestResource, url: str) -> list[str]:
    """Returns commands that show more of a request, or act on it. `url` is the bridge's own address."""
    path, curl = f"{url}{REQUESTS_PATH}/{request.request_id}", 'curl -H "X-API-Key: $OPS_KEY"'
    found = [f"{curl} '{path}/timeline'"]
    if request.image and not request.image.purged_at:
        found.append(f"{curl} -o image.{request.image.format} '{path}/image'")
    if request.status not in FINAL:
        found.append(f"{curl} -X POST '{path}/cancel'")
    if request.replayable:
        found.append(f"aigen-bridge requests replay {request.request_id}")
    return found


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
