"""A request's states, what moves it from one to the next, and what each move obliges us to do."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from aigen_bridge.domain.image import StoredImage


class Status(StrEnum):
    """Where a request is. Only the moves in `TRANSITIONS` are legal."""

    QUEUED = "queued"
    """Accepted and stored, a `dispatch` entry is live. N8N's acknowledgement moves it on; so does an early callback."""

    DISPATCHED = "dispatched"
    """N8N has taken it and a callback deadline runs. The callback moves it on, or the deadline fails it. When N8N says
    that it lost the execution, it is queued again."""

    RECEIVED = "received"
    """N8N sent a temporary URL, a `fetch` entry is live. The fetched image completes it."""

    COMPLETED = "completed"
    """The image is checked and stored, Odoo is told. Nothing moves it on."""

    FAILED = "failed"
    """It ended without an image, Odoo is told why. If the failure was ours, a late result or a replay wins."""

    CANCELLED = "cancelled"
    """A person withdrew it, Odoo is told. A result that comes later is kept but not delivered."""


class Step(StrEnum):
    """An outbound obligation, kept as an outbox entry until it ends."""

    DISPATCH = "dispatch"
    """Hand the request to N8N."""

    FETCH = "fetch"
    """Get the image from the temporary URL that N8N sent."""

    DELIVER = "deliver"
    """Tell Odoo how the request stands."""

    ALERT = "alert"
    """Tell people of an incident; it belongs to no single request."""


class FailedBy(StrEnum):
    """Whose failure it was. N8N may send any error code, so the code alone cannot tell."""

    BRIDGE = "bridge"
    """We gave up. A late result or a replay still wins: paid work is never thrown away."""

    N8N = "n8n"
    """N8N reported it (EVT-AIG-003). It is final."""


class FailureCode(StrEnum):
    """Why *we* gave up on a request. Other error codes are N8N's."""

    DISPATCH_FAILED = "dispatch_failed"
    IMAGE_FETCH_FAILED = "image_fetch_failed"
    IMAGE_REJECTED = "image_rejected"
    TIMED_OUT = "timed_out"
    EXECUTION_LOST = "execution_lost"
    WORKFLOW_FAILED = "workflow_failed"


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.DISPATCHED, Status.RECEIVED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.DISPATCHED: frozenset({Status.QUEUED, Status.RECEIVED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.RECEIVED: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED, Status.RECEIVED, Status.COMPLETED}),  # only failures of ours
    Status.CANCELLED: frozenset(),
}

FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

OBLIGATIONS: Mapping[Status, Step] = {
    Status.QUEUED: Step.DISPATCH,
    Status.RECEIVED: Step.FETCH,
    Status.COMPLETED: Step.DELIVER,
    Status.FAILED: Step.DELIVER,
    Status.CANCELLED: Step.DELIVER,
}
"""Entering a state owes this step, written in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedImage(StoredImage):
    """An image that N8N has and we still have to fetch, as N8N describes it; nothing of it is checked yet.

    `expires_at` is when the URL ends, if N8N said so.
    """

    url: str = field(repr=False)  # a temporary URL is a credential
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """One image that a person asked for, as it was when it was read.

    `event` is EVT-AIG-001 as it goes to N8N, without the callback URL. `image` describes the accepted image,
    `awaited` one that still has to be fetched. `completed_at` is when it ended, however; `delivered_at` is when
    Odoo knew this `version`. `image_purged_at` and `attempts_purged_at` are when the image's bytes and the
    attempts until then were removed because they had been kept long enough. `traceparent` is the trace that
    everything done for it belongs to.
    """

    request_id: UUID
    correlation_id: UUID
    event: Mapping[str, Any]
    status: Status
    version: int
    created_at: datetime
    updated_at: datetime
    dispatched_at: datetime | None = None
    completed_at: datetime | None = None
    delivered_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    failed_by: FailedBy | None = None
    image: StoredImage | None = None
    awaited: AwaitedImage | None = None
    image_purged_at: datetime | None = None
    attempts_purged_at: datetime | None = None
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One legal move of one request, made only while it is in one of the states `before`.

    `version`, if given, is the version that was read: the move happens only if it is still that one.
    `delay` is when what the move owes is due: a replay of many must not come all at once.
    Raises `ValueError` for a move that `TRANSITIONS` does not know: a bug, found where it is made.
    """

    request_id: UUID
    before: frozenset[Status]
    after: Status
    version: int | None = None
    failed_by: FailedBy | None = None
    error_code: str | None = None
    error_message: str | None = None
    image: StoredImage | None = None
    awaited: AwaitedImage | None = None
    note: str | None = None
    delay: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        illegal = [state for state in self.before if self.after not in TRANSITIONS[state]]
        if illegal or not self.before:
            raise ValueError(f"no request moves from {illegal or 'nowhere'} to {self.after}")

    @property
    def obligation(self) -> Step | None:
        """The outbox entry that this move causes."""
        return OBLIGATIONS.get(self.after)
