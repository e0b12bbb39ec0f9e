"""The domain's words → what the API answers."""

from dataclasses import asdict

from aigen_bridge.contracts.resources import AttemptMade, ImageResource, RequestResource, StateChange
from aigen_bridge.domain.request import ImageRequest, Status
from aigen_bridge.store.timeline import Moved, Tried

PREFIX = "/api/v1/influencegen"
REQUESTS_PATH = f"{PREFIX}/ai-image-requests"


def resource(request: ImageRequest) -> RequestResource:
    """One request, with its parameters."""
    path = f"{REQUESTS_PATH}/{request.request_id}"
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
            "image": ImageResource(**asdict(request.image), href=f"{path}/image") if request.image else None,
        },
        strict=False,
    )


def story(request: ImageRequest, entries: list[Moved | Tried]) -> list[StateChange | AttemptMade]:
    """The timeline, beginning with the accept."""
    accepted = StateChange(at=request.created_at, status=Status.QUEUED, version=1, note="accepted")
    return [accepted, *(_entry(entry) for entry in entries)]


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
