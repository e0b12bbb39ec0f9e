"""The states of a request, the legal transitions between them, and the step that each transition enqueues."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

from aigen_bridge.domain.facts import NO_FACTS, Facts
from aigen_bridge.domain.image import StoredImage

DEFAULT_ODOO = "default"
"""The name of the Odoo in `AIGEN_ODOO__…`. Requests that are older than the names of Odoos belong to it."""


class Status(StrEnum):
    """The state of a request."""

    QUEUED = "queued"
    """Accepted and stored; a `dispatch` entry is pending. N8N's acknowledgement or an early callback moves it on."""

    DISPATCHED = "dispatched"
    """N8N has acknowledged it, and a callback deadline runs. The callback moves it on, or the deadline fails it. If N8N
    reports that it lost the execution, the request is queued again."""

    RECEIVED = "received"
    """N8N sent a temporary URL; a `fetch` entry is pending. The fetched image completes the request."""

    COMPLETED = "completed"
    """The image is checked and stored; a `deliver` entry sends it to Odoo. Nothing moves the request on."""

    FAILED = "failed"
    """It ended without an image; a `deliver` entry reports it to Odoo. If the bridge gave up, a late result or a replay
    moves the request on. A failure that N8N reported is final."""

    CANCELLED = "cancelled"
    """A person cancelled it; a `deliver` entry reports that to Odoo. A later result is stored but not delivered."""


class Step(StrEnum):
    """A kind of outbound call that is kept as an outbox entry until it has ended."""

    DISPATCH = "dispatch"
    """Sends the request to N8N."""

    FETCH = "fetch"
    """Fetches the image from the temporary URL that N8N sent."""

    DELIVER = "deliver"
    """Reports the state of the request to Odoo."""

    ALERT = "alert"
    """Notifies people of an incident. It belongs to no single request."""


class FailedBy(StrEnum):
    """The system that failed the request. The error code does not show it, because N8N may send any code."""

    BRIDGE = "bridge"
    """The bridge gave up. A late result or a replay still moves the request on: paid work is never discarded."""

    N8N = "n8n"
    """N8N reported the failure (EVT-AIG-003), which is final."""


class FailureCode(StrEnum):
    """The error codes of failures of the bridge. All other error codes are N8N's."""

    DISPATCH_FAILED = "dispatch_failed"
    IMAGE_FETCH_FAILED = "image_fetch_failed"
    IMAGE_REJECTED = "image_rejected"
    TIMED_OUT = "timed_out"
    EXECUTION_LOST = "execution_lost"
    WORKFLOW_FAILED = "workflow_failed"
    MAYBE_PAID = "maybe_paid"


TRANSITIONS: Mapping[Status, frozenset[Status]] = {
    Status.QUEUED: frozenset({Status.DISPATCHED, Status.RECEIVED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.DISPATCHED: frozenset({Status.QUEUED, Status.RECEIVED, Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.RECEIVED: frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset({Status.QUEUED, Status.RECEIVED, Status.COMPLETED}),  # only failures of the bridge
    Status.CANCELLED: frozenset(),
}

FINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELLED})

NEXT_STEPS: Mapping[Status, Step] = {
    Status.QUEUED: Step.DISPATCH,
    Status.RECEIVED: Step.FETCH,
    Status.COMPLETED: Step.DELIVER,
    Status.FAILED: Step.DELIVER,
    Status.CANCELLED: Step.DELIVER,
}
"""The step that is enqueued when a request enters a state, in the same transaction."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedImage(StoredImage):
    """An image at a temporary URL, as declared by N8N. Unverified.

    `expires_at` is when the URL expires, if N8N declared it.
    """

    url: str = field(repr=False)  # a temporary URL is a credential
    expires_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRequest:
    """One image that a person asked for, as it was when it was read.

    `event` is EVT-AIG-001 as sent to N8N, without the callback URL. `image` describes the accepted image, `awaited` one
    that is still to be fetched. `finished_at` is when the request reached its terminal state (`completedAt` on the
    wire); `delivered_at` is when Odoo acknowledged this `version`. `image_purged_at` and `attempts_purged_at` are when
    the image's bytes and the earlier attempts were deleted past their retention. `traceparent` is the request's trace.
    `client` is who asked; None for requests older than this field. `odoo` is the name of the Odoo that gets the result,
    as in `AIGEN_ODOOS`. `facts` are those of the last result; the
    cost also stays when the request is sent again. `model` is the catalogue's entry with which it was accepted, as N8N
    gets it; None if the catalogue was empty.
    """

    request_id: UUID
    correlation_id: UUID
    event: Mapping[str, Any]
    status: Status
    version: int
    created_at: datetime
    updated_at: datetime
    dispatched_at: datetime | None = None
    finished_at: datetime | None = None
    delivered_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    failed_by: FailedBy | None = None
    image: StoredImage | None = None
    awaited: AwaitedImage | None = None
    image_purged_at: datetime | None = None
    attempts_purged_at: datetime | None = None
    traceparent: str | None = None
    client: str | None = None
    odoo: str = DEFAULT_ODOO
    facts: Facts = NO_FACTS
    model: Mapping[str, Any] | None = None

    @property
    def is_replayable(self) -> bool:
        """True if the bridge failed the request: sending it again may help, because nobody refused it."""
        return self.status is Status.FAILED and self.failed_by is FailedBy.BRIDGE


@dataclass(frozen=True, slots=True)
class NewRequest:
    """A request to be stored. Its fields are as in `ImageRequest`; `client` is who asked, as in `AIGEN_CLIENTS`."""

    request_id: UUID
    correlation_id: UUID
    event: Mapping[str, Any]
    traceparent: str | None = None
    client: str | None = None
    odoo: str = DEFAULT_ODOO
    model: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A legal state change of one request, which applies only while the request is in one of the states `before`.

    It is applied with the request locked, so everything that other writers committed is visible to it. `facts` replace
    those that are stored, as far as they are known. `delay` is added to the due time of the next step, which spreads
    the load of a bulk replay. Raises `ValueError` for a change that is not in `TRANSITIONS`. That is a bug, and is
    detected where the transition is constructed.
    """

    request_id: UUID
    before: frozenset[Status]
    after: Status
    failed_by: FailedBy | None = None
    error_code: str | None = None
    error_message: str | None = None
    image: StoredImage | None = None
    awaited: AwaitedImage | None = None
    facts: Facts = NO_FACTS
    note: str | None = None
    delay: timedelta = timedelta(0)

    def __post_init__(self) -> None:
        illegal = [state for state in self.before if self.after not in TRANSITIONS[state]]
        if illegal or not self.before:
            raise ValueError(f"no request moves from {illegal or 'nowhere'} to {self.after}")

    @property
    def next_step(self) -> Step | None:
        """The step that is enqueued with this transition."""
        return NEXT_STEPS.get(self.after)


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionedTransition(Transition):
    """A transition that applies only if the request still has the `version` that was read.

    It needs no lock, because the version protects it. A failure of the bridge cannot be versioned: its incident is
    recorded in the same transaction, which locks the request.
    """

    version: int

    def __post_init__(self) -> None:
        super(VersionedTransition, self).__post_init__()
        if self.failed_by is FailedBy.BRIDGE:
            raise ValueError("a failure of the bridge is applied with the request locked")
