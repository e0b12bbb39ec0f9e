"""Dead letters: outbox entries that failed for good, and callbacks in quarantine. They wait for an operator."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import ClassVar
from uuid import UUID

from aigen_bridge.domain.errors import ContradictionError, NotReplayableError, UnknownDeadLetterError
from aigen_bridge.domain.request import FailureCode, ImageRequest, Status, Step, Transition

CALLBACK_KIND, N8N_KIND = "callback", "n8n"
"""Kinds of dead letters in quarantine: a refused callback, and N8N's own report. The kind of an entry is its step."""

N8N_REPORT = "n8n"
"""`RefusedCallback.version` of a report by N8N's dead-letter workflow, which has no version of the callback."""

UNDELIVERED, EXECUTION_FAILED = "n8n_undelivered", "n8n_execution_failed"
"""Error codes of N8N's reports: an undelivered result that can be replayed, or a failed execution without a result."""

CONTENT_TYPE = "content-type"
"""The header in `RefusedCallback.headers` that tells how to read a payload that is a whole body."""

DEAD_LETTER_KINDS = (*(step.value for step in Step), CALLBACK_KIND, N8N_KIND)
"""Every kind of dead letter."""

_DONE = {"replay": "replayed", "discard": "discarded", "complete": "completed by hand"}


@dataclass(frozen=True, slots=True)
class DeadLetterName:
    """The name of a dead letter: `entry-7` is an outbox entry, `callback-7` a callback in quarantine."""

    PATTERN: ClassVar[str] = r"^(entry|callback)-[0-9]{1,18}$"

    kind: str
    number: int

    @classmethod
    def parse(cls, name: str) -> "DeadLetterName":
        """Parses a name. Raises `UnknownDeadLetterError` if it is malformed."""
        if not re.match(cls.PATTERN, name):
            raise UnknownDeadLetterError(name[:100])
        kind, _, number = name.partition("-")
        return cls(kind, int(number))

    def __str__(self) -> str:
        return f"{self.kind}-{self.number}"


@dataclass(frozen=True, slots=True)
class DeadLetterFilter:
    """Selects dead letters. `before` is the last one on the previous page: its time and id.

    With `odoo`, only those of requests of this Odoo.
    """

    kind: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    error_code: str | None = None
    before: tuple[datetime, str] | None = None
    odoo: str | None = None


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter in the list. `id` is its name; `at` is when it became one.

    `times` is the number of attempts, or how often the callback arrived. `odoo` is that of its request; None if it
    belongs to no known request.
    """

    id: str
    kind: str
    request_id: UUID | None
    odoo: str | None
    error_code: str
    detail: str
    times: int
    at: datetime


@dataclass(frozen=True, slots=True)
class DeadLetterCause:
    """Open dead letters with the same kind, error code and Odoo. `example` is the newest, `detail` that of it."""

    kind: str
    error_code: str
    odoo: str | None
    count: int
    oldest_at: datetime
    newest_at: datetime
    example: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedCallback:
    """A callback that could not be used, or a failure report of N8N.

    `payload` is the event or the report, `image` the image part beside it. Where these are not all of the body,
    `payload` is the body as it arrived. `headers` hold no secrets.
    """

    client: str
    version: str
    request_id: UUID | None
    error_code: str
    error_detail: str
    headers: Mapping[str, str]
    payload: bytes
    image: bytes | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedCallback(RefusedCallback):
    """A callback in quarantine. `times_seen` counts how often the same callback arrived."""

    id: int
    state: str
    times_seen: int
    created_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class ReplayLease:
    """A worker's lease on a background replay. Its `fence` increases with every lease on the same `job`."""

    job: int
    fence: int


@dataclass(frozen=True, slots=True)
class OperatorAction:
    """The operator who acts on a dead letter or a request, and the reason. A discard requires a `note`.

    An operator with `odoo` acts on the requests of this Odoo only. Others do not exist for this operator. With
    `lease`, a background replay acts for the operator.
    """

    by: str
    note: str | None = None
    odoo: str | None = None
    lease: ReplayLease | None = None

    def limited(self, wanted: DeadLetterFilter) -> DeadLetterFilter:
        """Returns the filter limited to the operator's Odoo, if there is one."""
        return wanted if self.odoo is None else replace(wanted, odoo=self.odoo)


@dataclass(frozen=True, slots=True)
class EarlierAction:
    """The action after which a dead letter was not open any more, and who took it."""

    by: str
    action: str
    at: datetime

    def __str__(self) -> str:
        done = _DONE.get(self.action, self.action)
        return f"it was {done} by {self.by} at {self.at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


@dataclass(frozen=True, slots=True)
class Handled:
    """A handled dead letter. `request_id` is None for an alert; `status` is the new state of a replayed request."""

    request_id: UUID | None
    status: Status | None = None


def replayed(step: Step, request: ImageRequest, action: OperatorAction, delay: timedelta) -> Transition | None:
    """Returns the transition that replays a dead entry of `step`, due after `delay` with all its attempts.

    None for a delivery or a mark: the entry is enqueued again, and the request does not change. Raises
    `ContradictionError` if the request has moved on and there is nothing to replay.
    """
    if step in {Step.DELIVER, Step.MARK}:
        return None
    if not request.is_replayable:
        raise ContradictionError(
            "request_moved_on", f"Request {request.request_id} is {request.status}; there is nothing to replay."
        )
    return Transition(
        request_id=request.request_id,
        before=frozenset({Status.FAILED}),
        after=Status.QUEUED if step is Step.DISPATCH else Status.RECEIVED,
        awaited=replace(request.awaited, expires_at=None) if request.awaited else None,
        note=f"replayed by {action.by}",
        delay=delay,
    )


def refuse_discarding(request: ImageRequest) -> None:
    """Raises `ContradictionError` for an image that waits for its mark: without one, nobody would ever get it."""
    if request.status is Status.RECEIVED:
        raise ContradictionError(
            "mark_pending",
            f"The image of request {request.request_id} waits for its mark. Replay this dead letter once images can be "
            "marked, or cancel the request.",
        )


def repeated_step(request: ImageRequest, now: datetime, url_lifetime: timedelta) -> Step:
    """Returns the step that the replay of a request repeats, with or without a dead letter.

    An image that N8N has generated is fetched again while its URL may work, because it is paid for. `url_lifetime` is
    assumed if N8N did not say when the URL expires. Raises `NotReplayableError` if the bridge did not fail the request.
    """
    if not request.is_replayable:
        raise _not_replayable(request)
    if request.error_code != FailureCode.IMAGE_FETCH_FAILED or request.awaited is None:
        return Step.DISPATCH
    expires_at = request.awaited.expires_at or (request.finished_at or request.updated_at) + url_lifetime
    return Step.FETCH if now < expires_at else Step.DISPATCH


_NOT_REPLAYABLE: Mapping[Status, str] = {
    Status.COMPLETED: "has its image",
    Status.CANCELLED: "was cancelled",
    Status.FAILED: "failed because N8N reported {reason}, so the same request would fail again",
}


def _not_replayable(request: ImageRequest) -> NotReplayableError:
    reason = ": ".join(text for text in (request.error_code, request.error_message) if text)
    why = _NOT_REPLAYABLE.get(request.status, "is {status}, which means that it is on its way")
    detail = f"Request {request.request_id} {why.format(reason=reason, status=request.status)}."
    return NotReplayableError(detail, is_final=request.status in _NOT_REPLAYABLE)
