"""The domain's words → what the API answers."""

from collections.abc import Iterable, Mapping
from dataclasses import asdict
from uuid import UUID

import structlog
from pydantic import ValidationError

from aigen_bridge.contracts.resources import (
    Ahead,
    AttemptMade,
    Held,
    ImageResource,
    RequestResource,
    StateChange,
    Timeline,
)
from aigen_bridge.domain.destination import Hold
from aigen_bridge.domain.errors import UnreadableRequestError
from aigen_bridge.domain.request import ImageRequest, Status
from aigen_bridge.store.timeline import Moved, Tried

PREFIX = "/api/v1/influencegen"
REQUESTS_PATH = f"{PREFIX}/ai-image-requests"

log = structlog.get_logger(__name__)


def resources(requests: Iterable[ImageRequest], holds: Mapping[UUID, Hold]) -> list[RequestResource]:
    """Those of the requests that can be shown."""
    shown = []
    for request in requests:
        try:
            shown.append(resource(request, holds.get(request.request_id)))
        except UnreadableRequestError as error:
            log.error("request.unreadable", request_id=str(request.request_id), detail=error.detail)  # noqa: TRY400
    return shown


def resource(request: ImageRequest, hold: Hold | None = None) -> RequestResource:
    """One request, with its parameters. Raises `UnreadableRequestError` when they are none."""
    try:
        return _resource(request, hold)
    except ValidationError as error:
        wrong = ", ".join(".".join(map(str, detail["loc"])) for detail in error.errors(include_url=False))
        raise UnreadableRequestError(request.request_id, f"wrong or missing: {wrong[:300]}") from None


def _resource(request: ImageRequest, hold: Hold | None) -> RequestResource:
    return RequestResource.model_validate(
        dict(request.event)
        | {
            "status": request.status,
            "version": request.version,
            "createdAt": request.created_at,
            "updatedAt": request.updated_at,
            "dispatchedAt": request.dispatched_at,
            "completedAt": request.completed_at,
            "deliveredAt": request.delivered_at,
            "errorCode": request.error_code,
            "errorMessage": request.error_message,
            "image": _image(request),
            "held": Held(destination=hold.destination, since=hold.since, until=hold.until) if hold else None,
        },
        strict=False,
    )


def _image(request: ImageRequest) -> ImageResource | None:
    if request.image is None:
        return None
    href = f"{REQUESTS_PATH}/{request.request_id}/image"
    return ImageResource(**asdict(request.image), href=href, purged_at=request.image_purged_at)


def timeline(request: ImageRequest, entries: list[Moved | Tried], ahead: Ahead) -> Timeline:
    """What happened to the request, beginning with the accept."""
    accepted = StateChange(at=request.created_at, status=Status.QUEUED, version=1, note="accepted")
    return Timeline(
        request_id=request.request_id,
        correlation_id=request.correlation_id,
        status=request.status,
        attempts_purged_at=request.attempts_purged_at,
        entries=[accepted, *(_entry(entry) for entry in entries)],
        next=ahead,
    )


def _entry(entry: Moved | Tried) -> StateChange | AttemptMade:
    if isinstance(entry, Moved):
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
