"""What the request API answers with."""

from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from aigen_bridge.contracts.wire import Rfc3339DateTime, WireModel
from aigen_bridge.domain.destination import with_breaker
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.request import Status

REASON_MAX = 1000


class ImageResource(WireModel):
    """Describes the image of a request."""

    format: str = Field(description="png, jpeg or webp")
    size: int = Field(description="bytes")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    sha256: str = Field(description="lower-case hex")
    href: str = Field(description="where the bytes are")
    purged_at: datetime | None = Field(
        None, description="when the bytes were removed, kept long enough; `href` answers 410 from then on"
    )


class Held(WireModel):
    """The request waits because the system that its next step calls is away. It goes on when that is back."""

    destination: str = Field(description=" or ".join(f"`{known.name}`" for known in with_breaker()))
    since: datetime = Field(description="the request has waited since then")
    until: datetime = Field(description="given up then, if the system is still away")


class RequestResource(WireModel):
    """One request: how it stands, and what was asked for."""

    request_id: UUID
    correlation_id: UUID
    status: Status
    version: int = Field(description="rises with every change of the status")
    created_at: datetime
    updated_at: datetime
    dispatched_at: datetime | None = Field(None, description="N8N took it")
    completed_at: datetime | None = Field(None, description="it ended, with an image or without")
    delivered_at: datetime | None = Field(None, description="Odoo knew this version")
    error_code: str | None = None
    error_message: str | None = None
    image: ImageResource | None = None
    held: Held | None = Field(None, description="only while a destination is away; the status stays what it was")
    user_id: UUID
    prompt: str
    negative_prompt: str | None = None
    model_id: UUID
    resolution: str
    aspect_ratio: str
    seed: int | None = None
    inference_steps: int | None = None
    cfg_scale: float | None = None
    campaign_id: UUID | None = None


class RequestPage(WireModel):
    """A page of requests, newest first."""

    items: list[RequestResource]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null at the end")


class StateChange(WireModel):
    """The request moved."""

    kind: Literal["state"] = "state"
    at: datetime
    status: Status
    version: int
    note: str | None = None


class AttemptMade(WireModel):
    """One try at an outbox entry ended."""

    kind: Literal["attempt"] = "attempt"
    at: datetime = Field(description="when it ended")
    step: str
    number: int = Field(description="1 is the first try")
    outcome: Literal["done", "retry", "dead", "held", "lost"]
    duration_ms: float
    http_status: int | None = None
    error_code: str | None = None
    detail: str | None = None


class NextStep(WireModel):
    """The next step of a request."""

    model_config = ConfigDict(title="Ahead")  # as it was first published

    what: str = Field(description="a sentence for people")
    at: datetime | None = Field(None, description="when; of a callback: until when")
    dead_letter: str | None = Field(None, description="what a person has to see to, such as `entry-7`")


class Timeline(WireModel):
    """Everything that happened to a request, in order."""

    request_id: UUID
    correlation_id: UUID
    status: Status
    attempts_purged_at: datetime | None = Field(
        None, description="attempts that were made before this are no longer kept; state changes always are"
    )
    entries: list[StateChange | AttemptMade]
    next: NextStep = Field(description="what happens now, and when")


class CallbackReceipt(WireModel):
    """The callback is taken. `duplicate`: it was known already and changed nothing."""

    request_id: UUID
    status: Status = Field(description="the state of the request now")
    duplicate: bool


class Wanted(WireModel):
    """Whether an image for a request, made from now on, would be taken."""

    request_id: UUID
    status: Status = Field(description="the state of the request now")
    wanted: bool = Field(description="false: do not make it; it was cancelled, or there is a result already")


DeadLetterKind = Literal["dispatch", "fetch", "deliver", "alert", "callback", "n8n"]


class DeadLetterResource(WireModel):
    """Something that needs a person: an outbox entry that was given up, or what came from N8N and could not be used."""

    id: str = Field(description="`entry-7` or `callback-7`")
    kind: str = Field(description="the step that was given up, `callback`, or `n8n`")
    request_id: UUID | None = Field(None, description="as far as it is known")
    error_code: str
    detail: str
    times: int = Field(description="tries made, or how often the callback came")
    at: datetime = Field(description="since when")


class DeadLetterPage(WireModel):
    """A page of dead letters, newest first."""

    items: list[DeadLetterResource]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null at the end")


class DeadLetterHandled(WireModel):
    """What was done with a dead letter."""

    id: str
    action: Literal["replayed", "discarded"]
    request_id: UUID | None = None
    status: Status | None = Field(None, description="the state of the request now")


class Discard(WireModel):
    """Why a dead letter needs nothing more."""

    reason: Annotated[str, AfterValidator(storable)] = Field(
        min_length=1, max_length=REASON_MAX, description=f"a text of 1 to {REASON_MAX} characters"
    )


class BulkReplay(WireModel):
    """Which dead letters to put back. A filter that is left out lets all through."""

    model_config = ConfigDict(extra="forbid")

    kind: DeadLetterKind | None = Field(None, description="a step, `callback`, or `n8n`")
    since: Rfc3339DateTime | None = Field(None, description="dead at or after")
    until: Rfc3339DateTime | None = Field(None, description="dead before")
    error_code: Annotated[str, AfterValidator(storable)] | None = Field(
        None, max_length=200, description="an error code, as the list shows it"
    )
    dry_run: bool = Field(default=False, description="only say what would be put back")
    max_per_second: float = Field(10, gt=0, le=1000, description="they become due at this rate, not all at once")


class BulkReplayed(WireModel):
    """What a bulk replay did, or would do."""

    dry_run: bool
    matched: int = Field(description="dead letters that the filter lets through, at most 1000 a call")
    more: bool = Field(description="there are more than that: call again")
    replayed: list[str] = Field(description="ids, the oldest first; in a dry run what would be replayed")
    failed: dict[str, str] = Field(description="id: why it could not be put back")
