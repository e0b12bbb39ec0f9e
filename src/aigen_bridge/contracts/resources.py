"""The resources of the API."""

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field, ValidationInfo, field_validator
from pydantic_core import PydanticCustomError

from aigen_bridge.contracts.wire import Rfc3339DateTime, WireModel, shows_nothing
from aigen_bridge.domain.destination import with_breaker
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.facts import Cost, CostBasis, GenerationFacts, NegativePromptUse
from aigen_bridge.domain.generation import ProviderJob, Stage, State
from aigen_bridge.domain.money import Money, amount_text
from aigen_bridge.domain.provenance import Mark, Provenance
from aigen_bridge.domain.request import Status

REASON_MAX = 1000


class ImageResource(WireModel):
    """Describes the image of a request."""

    format: str = Field(description="png, jpeg or webp")
    size: int = Field(description="bytes")
    width: int = Field(description="pixels")
    height: int = Field(description="pixels")
    sha256: str = Field(description="lower-case hex")
    href: str = Field(description="the path of the image's bytes")
    purged_at: datetime | None = Field(
        None, description="when the bytes were deleted past their retention; `href` responds with 410 from then on"
    )


class ProvenanceState(WireModel):
    """The marks of the image that say where it comes from."""

    found: list[Mark] = Field(
        description="the marks in the image as it came: `c2pa`, a C2PA manifest; `digitalSourceType`, IPTC's property "
        "with a term for generated images"
    )
    valid: bool | None = Field(
        None,
        description="whether that manifest is intact and signed correctly; null without one, or if it was not checked",
    )
    marked: Literal["metadata", "c2pa"] | None = Field(
        None, description="how the bridge marked the image; null: it did not"
    )
    original_sha256: str = Field(
        description="of the image as it came, in lower-case hex; `image.sha256` is as delivered"
    )

    @classmethod
    def of(cls, provenance: Provenance) -> "ProvenanceState":
        """Returns the marks in the form of the API."""
        return cls.model_validate(asdict(provenance), strict=False)

    @property
    def came_with(self) -> str:
        """The marks in the image as it came, in words."""
        validity = {True: "valid", False: "NOT VALID", None: "not validated"}[self.valid]
        words = {
            Mark.C2PA: f"a C2PA manifest ({validity})",
            Mark.DIGITAL_SOURCE_TYPE: "metadata that says that AI made it",
        }
        return " and ".join(words[mark] for mark in self.found) or "no mark"

    @property
    def added(self) -> str:
        """How the bridge marked the image, in words."""
        words = {"c2pa": "by the bridge, with a signed C2PA manifest", "metadata": "by the bridge, in its metadata"}
        return words[self.marked] if self.marked else "not by the bridge"


class Held(WireModel):
    """The request waits because the destination of its next step is away or paused. It continues by itself."""

    destination: str = Field(
        description=f"{', '.join(f'`{known.name}`' for known in with_breaker(marks=True))}, or `odoo:<name>` for "
        "another Odoo"
    )
    since: datetime = Field(description="the time since which the request has waited")
    until: datetime = Field(
        description="the time at which the bridge gives up if the destination is still away. While it is paused, "
        "nothing is given up, and this time moves on"
    )
    paused: bool = Field(default=False, description="operators have paused the destination")


class GenerationState(WireModel):
    """How the image is generated, as far as it is known: the facts that N8N reported, otherwise the known job."""

    provider: str | None = Field(None, description="the AI service")
    job_id: str | None = Field(None, description="the provider's id of the job")
    model: str | None = Field(None, description="the provider's name of the model")
    seed: int | None = Field(None, description="the seed that was really used")
    seconds: float | None = Field(None, description="how long the inference took, as the provider says")
    negative_prompt: NegativePromptUse | None = Field(
        None, description="`used`, `folded` into the prompt, or `ignored` because the model supports none"
    )
    has_nsfw_concepts: list[bool] | None = Field(None, description="the provider's flags")
    lora: str | None = Field(None, description="the LoRA that was used")
    resent: int | None = Field(
        None, description="how often the request was sent to N8N again because its execution had died or fallen silent"
    )

    @classmethod
    def of(cls, facts: GenerationFacts | None, job: ProviderJob | None) -> "GenerationState":
        """Returns the facts in the form of the API. What they lack is taken from the known job, unless it is another.

        `resent` is not set.
        """
        known = asdict(facts or GenerationFacts())
        if job and known["provider"] in {None, job.provider} and known["job_id"] in {None, job.job_id}:
            known |= {"provider": job.provider, "job_id": job.job_id}
        return cls.model_validate(known, strict=False)


class CostState(WireModel):
    """What was paid: as N8N reported it, or as the ledger has booked it."""

    amount: str = Field(description="a decimal with at least two places and no further trailing zeros, such as `0.035`")
    currency: str = Field(description="three upper-case letters (ISO 4217)")
    basis: CostBasis = Field(description="`billed`: the provider said it; `estimated`: from a price")

    @classmethod
    def of(cls, cost: Cost) -> "CostState":
        """Returns a cost in the form of the API."""
        return cls(amount=cost.amount, currency=cost.currency, basis=cost.basis)


class EstimatedCost(WireModel):
    """What the generation costs by the price of the model when the request was accepted."""

    amount: str = Field(description="a decimal, as in `cost`")
    currency: str = Field(description="three upper-case letters (ISO 4217)")

    @classmethod
    def of(cls, money: Money) -> "EstimatedCost":
        """Returns an amount in the form of the API."""
        return cls(amount=amount_text(money.amount), currency=money.currency)


class ProgressState(WireModel):
    """How far the generation is, as N8N last reported."""

    stage: Stage = Field(description="how far the job is")
    queue_position: int | None = Field(None, description="the number of jobs before this one, if reported")
    percent: float | None = Field(None, description="from 0 to 100, if reported")
    message: str | None = Field(None, description="a text for people, if reported")
    reported_at: datetime | None = Field(None, description="when N8N reported this")


class RequestResource(WireModel):
    """One request: its state and its parameters."""

    request_id: UUID
    correlation_id: UUID
    odoo: str = Field(description="the name of the Odoo that gets the result")
    status: Status
    version: int = Field(description="increases with every change of the status")
    created_at: datetime
    updated_at: datetime
    dispatched_at: datetime | None = Field(None, description="when N8N accepted the request")
    completed_at: datetime | None = Field(None, description="when the request ended, with or without an image")
    delivered_at: datetime | None = Field(
        None, description="when Odoo received this version; of a trial, when it ended"
    )
    error_code: str | None = None
    error_message: str | None = None
    replayable: bool = Field(
        default=False, description="the bridge failed it, so an operator can send it again; false: ask for a new one"
    )
    image: ImageResource | None = Field(None, description="null until it is marked, if the bridge marks images")
    provenance: ProvenanceState | None = Field(
        None, description="the marks of the image; null without an image, and for images from before this field"
    )
    held: Held | None = Field(None, description="only while a destination is away; the status does not change")
    progress: ProgressState | None = Field(None, description="how far the generation is; null while N8N reports none")
    generation: GenerationState | None = Field(
        None, description="how the image is generated; null while nothing is known of it"
    )
    cost: CostState | None = Field(None, description="what the generation cost; null unless N8N reported it")
    charged: list[CostState] = Field(
        default_factory=list,
        description="what the ledger has booked for the request, by currency; a result paid twice counts twice. Empty "
        "until something is booked, a few seconds after the request ended",
    )
    estimated_cost: EstimatedCost | None = Field(
        None, description="the price when the request was accepted; null without a price in the catalogue"
    )
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
    """The request changed its state."""

    kind: Literal["state"] = "state"
    at: datetime
    status: Status
    version: int
    note: str | None = None


class AttemptMade(WireModel):
    """One attempt at an outbox entry has ended."""

    kind: Literal["attempt"] = "attempt"
    at: datetime = Field(description="when the attempt ended")
    step: str
    number: int = Field(description="1 is the first attempt")
    outcome: Literal["done", "retry", "dead", "held", "lost"]
    duration_ms: float
    http_status: int | None = None
    error_code: str | None = None
    detail: str | None = None


class GenerationChange(WireModel):
    """The paid work at the AI provider was permitted, started, continued or lost."""

    at: datetime
    state: State = Field(description="the state of the generation since then")
    note: str


class NextStep(WireModel):
    """The next step of a request."""

    model_config = ConfigDict(title="Ahead")  # the name under which it was first published

    what: str = Field(description="a sentence for people")
    at: datetime | None = Field(None, description="the time of the step; for a callback, its deadline")
    dead_letter: str | None = Field(None, description="the dead letter that needs an operator, such as `entry-7`")


class Timeline(WireModel):
    """Everything that happened to a request, in order."""

    request_id: UUID
    correlation_id: UUID
    odoo: str = Field(description="the name of the Odoo that gets the result")
    status: Status
    attempts_purged_at: datetime | None = Field(
        None, description="attempts before this time have been deleted; state changes are always kept"
    )
    entries: list[StateChange | AttemptMade]
    generation: list[GenerationChange] = Field([], description="the paid work at the AI provider, in order")
    next: NextStep = Field(description="the next step and its time")


class CallbackReceipt(WireModel):
    """Confirms a callback. `duplicate`: it was already known and changed nothing."""

    request_id: UUID
    status: Status = Field(
        description="the state of the request now; `received` while its image is still to be fetched or marked"
    )
    duplicate: bool


class Wanted(WireModel):
    """Whether an image generated from now on would be accepted for the request."""

    request_id: UUID
    status: Status = Field(description="the state of the request now")
    wanted: bool = Field(description="false: do not generate it; the request is cancelled or has a result")


DeadLetterKind = Literal["dispatch", "fetch", "mark", "deliver", "alert", "callback", "n8n"]


class DeadLetterResource(WireModel):
    """Needs an operator: a failed outbox entry, a callback that could not be used, or a failure reported by N8N."""

    id: str = Field(description="`entry-7` or `callback-7`")
    kind: str = Field(description="the failed step, `callback`, or `n8n`")
    request_id: UUID | None = Field(None, description="the request, if known")
    odoo: str | None = Field(None, description="the name of the request's Odoo; null if it belongs to no known request")
    error_code: str
    detail: str
    times: int = Field(description="the number of attempts, or of times the callback arrived")
    at: datetime = Field(description="the time since which it is a dead letter")


class DeadLetterPage(WireModel):
    """A page of dead letters, newest first."""

    items: list[DeadLetterResource]
    next_cursor: str | None = Field(None, description="pass it as `cursor` for the next page; null at the end")


class DeadLetterHandled(WireModel):
    """The result of replaying or discarding a dead letter."""

    id: str
    action: Literal["replayed", "discarded"]
    request_id: UUID | None = None
    status: Status | None = Field(None, description="the state of the request now")


def not_blank(text: str) -> str:
    """Returns the text as it can be stored. Raises if it shows nothing."""
    if shows_nothing(text):
        raise PydanticCustomError("blank", "is blank")
    return storable(text)


class Discard(WireModel):
    """The reason for discarding a dead letter."""

    reason: Annotated[str, AfterValidator(not_blank)] = Field(
        min_length=1, max_length=REASON_MAX, description=f"a text of 1 to {REASON_MAX} characters, not blank"
    )


class BulkReplay(WireModel):
    """Selects the dead letters to replay. An omitted filter matches all."""

    model_config = ConfigDict(extra="forbid")

    kind: DeadLetterKind | None = Field(None, description="a step, `callback`, or `n8n`")
    since: Rfc3339DateTime | None = Field(None, description="dead at or after this time")
    until: Rfc3339DateTime | None = Field(None, description="dead before this time")
    error_code: Annotated[str, AfterValidator(storable)] | None = Field(
        None, max_length=200, description="an error code, as the list shows it"
    )
    dry_run: bool = Field(default=False, description="only report what would be replayed")
    reason: Annotated[str, AfterValidator(not_blank)] | None = Field(
        None, max_length=REASON_MAX, description="why, for the record"
    )
    max_per_second: float = Field(10, gt=0, le=1000, description="the rate at which the replayed entries become due")

    @field_validator("until")
    @classmethod
    def _later_than_since(cls, value: datetime | None, info: ValidationInfo) -> datetime | None:
        since = info.data.get("since")
        if value and since and value <= since:
            raise PydanticCustomError("no_time_between", "must be later than since")
        return value


class BulkReplayed(WireModel):
    """The result of a bulk replay or of its dry run."""

    dry_run: bool
    matched: int = Field(description="dead letters that match the filter, at most 1000 per call")
    more: bool = Field(description="more dead letters match: call again")
    replayed: list[str] = Field(description="ids, oldest first; in a dry run, those that would be replayed")
    failed: dict[str, str] = Field(description="the reason by id of each dead letter that could not be replayed")
