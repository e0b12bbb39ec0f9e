"""The state of the whole bridge at one moment, as the console's first page shows it, and the verdict on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.destination import MARKING, N8N, Availability, DestinationStatus, odoo_destination
from aigen_bridge.domain.incident import ADVICE, Cause, incident_key
from aigen_bridge.domain.request import DEFAULT_ODOO

LATE = timedelta(minutes=2)
"""Work that has been due for longer needs an operator, unless its destination is away (as AigenBacklogOld says)."""

LEAVES: Mapping[Cause, str] = {
    Cause.DISPATCH_FAILED: "dispatch",
    Cause.IMAGE_FETCH_FAILED: "fetch",
    Cause.IMAGE_REJECTED: "fetch",
    Cause.IMAGE_UNMARKED: "mark",
    Cause.DELIVERY_FAILED: "deliver",
    Cause.CALLBACK_QUARANTINED: "callback",
    Cause.EXECUTION_LOST: "n8n",
    Cause.WORKFLOW_FAILED: "n8n",
}
"""The kind of dead letters that each cause leaves, if it leaves any."""


class Outcome(StrEnum):
    """What became of a request."""

    COMPLETED = "completed"
    FAILED_BY_N8N = "failed by N8N"
    FAILED_BY_BRIDGE = "failed by the bridge"
    CANCELLED = "cancelled"
    OPEN = "on their way"


class Hop(StrEnum):
    """A part of a request's way. The first three are the stages of the metric `aigen_stage_seconds`."""

    TO_N8N = "to N8N"
    AT_N8N = "at N8N"
    TO_ODOO = "to Odoo"
    FETCH = "fetching or marking the image"


@dataclass(frozen=True, slots=True)
class Counts:
    """Requests by outcome, in buckets of `step` by the time of their acceptance, oldest first.

    `is_capped`: a bucket holds more than were counted, so that the sums mean "at least".
    """

    step: timedelta
    buckets: tuple[Mapping[Outcome, int], ...]
    is_capped: bool = False

    def of(self, outcome: Outcome) -> list[int]:
        """Returns the numbers of one outcome, oldest first."""
        return [bucket.get(outcome, 0) for bucket in self.buckets]

    def total(self, *outcomes: Outcome) -> int:
        """Returns the sum of these outcomes, or of all."""
        return sum(sum(self.of(outcome)) for outcome in outcomes or Outcome)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenIncident:
    """An incident that lasts. `detail` and `request_id` are those of its latest occurrence."""

    cause: Cause
    odoo: str
    times: int
    opened_at: datetime
    seen_at: datetime
    detail: str | None
    request_id: UUID | None

    @property
    def title(self) -> str:
        """What the incident means, in one line."""
        title = ADVICE[self.cause].title
        return title if self.odoo == DEFAULT_ODOO else f"{title} (Odoo {self.odoo})"

    @property
    def advice(self) -> str:
        """The command that fixes it or shows more."""
        return ADVICE[self.cause].mend


@dataclass(frozen=True, slots=True)
class HopTimes:
    """How long a hop took for the last finished requests."""

    hop: Hop
    median: timedelta
    p95: timedelta
    count: int


@dataclass(frozen=True, slots=True)
class Wait:
    """The request that has waited longest in a hop."""

    hop: Hop
    request_id: UUID
    waited: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class OverviewFacts:
    """What the overview shows. `at` is the database's time. `day` is None while it is being counted for the first time.

    `late` is how long the first due entry of each destination has been due, `dead` are dead letters by kind, counted up
    to a limit.
    """

    at: datetime
    hour: Counts
    day: Counts | None
    destinations: tuple[DestinationStatus, ...]
    incidents: tuple[OpenIncident, ...] = ()
    workers: int
    apis: int
    late: Mapping[str, timedelta] = field(default_factory=dict)
    dead: Mapping[str, int] = field(default_factory=dict)
    hops: tuple[HopTimes, ...] = ()
    waits: tuple[Wait, ...] = ()

    @property
    def slowest(self) -> HopTimes | None:
        """The hop that took longest."""
        return max(self.hops, key=lambda each: each.median, default=None)


class Place(StrEnum):
    """The part of the console where a reason is shown in full."""

    WORKERS = "workers"
    DESTINATIONS = "destinations"
    INCIDENTS = "incidents"
    DEAD_LETTERS = "dead letters"


@dataclass(frozen=True, slots=True)
class Reason:
    """One thing that needs an operator. `kind` is that of dead letters."""

    text: str
    place: Place
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether all is well, in one sentence, and what is not. `notes` are what operators themselves have stopped."""

    reasons: tuple[Reason, ...]
    notes: tuple[Reason, ...] = ()

    @property
    def is_well(self) -> bool:
        """Returns whether nothing needs an operator."""
        return not self.reasons

    @property
    def sentence(self) -> str:
        """The verdict."""
        if self.is_well:
            return "All is well."
        return "1 thing needs you." if len(self.reasons) == 1 else f"{len(self.reasons)} things need you."


def verdict(facts: OverviewFacts) -> Verdict:
    """Judges the facts. A trouble counts once, although a breaker, an incident and dead letters may tell of it."""
    reasons = (*_workers(facts), *_destinations(facts), *_incidents(facts), *_dead_letters(facts))
    return Verdict(reasons, tuple(_pauses(facts)))


def _workers(facts: OverviewFacts) -> Iterator[Reason]:
    if not facts.workers:
        yield Reason("No worker is running: nothing is sent to N8N or Odoo.", Place.WORKERS)


def _destinations(facts: OverviewFacts) -> Iterator[Reason]:
    for each in facts.destinations:
        if each.state is Availability.OPEN:
            why = f" ({each.error_code})" if each.error_code else ""
            yield Reason(f"{each.label} is away{why}: what waits for it is held.", Place.DESTINATIONS)
        elif each.state is Availability.CLOSED and facts.workers and facts.late.get(each.name, LATE) > LATE:
            yield Reason(f"Work for {each.label} is due, and nothing takes it up.", Place.DESTINATIONS)


def _pauses(facts: OverviewFacts) -> Iterator[Reason]:
    for each in facts.destinations:
        if each.state is Availability.PAUSED:
            why = f": {each.pause_reason}" if each.pause_reason else ""
            yield Reason(f"{each.label} is paused by {each.paused_by}{why}", Place.DESTINATIONS)


def _incidents(facts: OverviewFacts) -> Iterator[Reason]:
    told = {key for each in facts.destinations if each.state is not Availability.CLOSED for key in _outages(each)}
    for each in facts.incidents:
        if incident_key(each.cause, each.odoo) not in told:
            times = f", {each.times} times" if each.times > 1 else ""
            kind = LEAVES.get(each.cause)
            is_left = bool(kind and facts.dead.get(kind))
            place = Place.DEAD_LETTERS if is_left else Place.INCIDENTS
            yield Reason(f"{each.title}{times}.", place, kind if is_left else None)


def _outages(status: DestinationStatus) -> set[str]:
    """Returns the keys of the incidents that an outage of this destination causes."""
    shared = {each.name: each for each in (N8N, MARKING)}
    destination = shared.get(status.name) or odoo_destination(status.name.partition(":")[2] or DEFAULT_ODOO)
    return {incident_key(cause, destination.odoo) for cause in destination.causes}


def _dead_letters(facts: OverviewFacts) -> Iterator[Reason]:
    told = {LEAVES.get(each.cause) for each in facts.incidents}
    for kind, number in facts.dead.items():
        if number and kind not in told:
            what = f"{number} dead letters of kind {kind} wait" if number > 1 else f"A dead letter of kind {kind} waits"
            yield Reason(f"{what} for a decision.", Place.DEAD_LETTERS, kind)
