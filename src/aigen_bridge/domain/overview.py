"""The state of the whole bridge at one moment, as the console's first page shows it, and the verdict on it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.destination import Destination
from aigen_bridge.domain.incident import ADVICE, RUNBOOKS, Cause, incident_key
from aigen_bridge.domain.request import DEFAULT_ODOO

LATE = timedelta(minutes=2)
"""Work that has been due for longer needs an operator, unless its destination is away (as AigenBacklogOld says)."""


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
    FETCH = "fetching the image"


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
class DestinationFacts:
    """The breaker and the work of a destination. The breaker is open since `opened_at`, if that is set.

    `backlog` counts waiting entries up to a limit, `oldest` is how long the first of them has been due, `in_flight` are
    calls under way. `limit` is the number of calls that may be in flight over all workers; None: each worker has its
    own limit.
    """

    destination: Destination
    opened_at: datetime | None
    probe_at: datetime | None
    error_code: str | None
    error_detail: str | None
    backlog: int
    oldest: timedelta | None
    in_flight: int
    limit: int | None


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

    @property
    def runbook(self) -> str:
        """Its entry in the documentation."""
        return RUNBOOKS[self.cause]


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

    `dead` are dead letters by kind, counted up to a limit.
    """

    at: datetime
    hour: Counts
    day: Counts | None
    destinations: tuple[DestinationFacts, ...]
    incidents: tuple[OpenIncident, ...] = ()
    workers: int
    apis: int
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
    """Whether all is well, in one sentence, and what is not."""

    reasons: tuple[Reason, ...]

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
    """Judges the facts. An outage counts once, although its breaker and its incidents tell of it."""
    return Verdict((*_workers(facts), *_destinations(facts), *_incidents(facts), *_dead_letters(facts)))


def _workers(facts: OverviewFacts) -> Iterator[Reason]:
    if not facts.workers:
        yield Reason("No worker is running: nothing is sent to N8N or Odoo.", Place.WORKERS)


def _destinations(facts: OverviewFacts) -> Iterator[Reason]:
    for each in facts.destinations:
        if each.opened_at:
            why = f" ({each.error_code})" if each.error_code else ""
            yield Reason(f"{each.destination.label} is away{why}: what waits for it is held.", Place.DESTINATIONS)
        elif facts.workers and each.oldest and each.oldest > LATE:
            yield Reason(f"Work for {each.destination.label} is due, and nothing takes it up.", Place.DESTINATIONS)


def _incidents(facts: OverviewFacts) -> Iterator[Reason]:
    away = [each.destination for each in facts.destinations if each.opened_at]
    outages = {incident_key(cause, each.odoo) for each in away for cause in each.causes}
    for each in facts.incidents:
        if incident_key(each.cause, each.odoo) not in outages:
            times = f", {each.times} times" if each.times > 1 else ""
            yield Reason(f"{each.title}{times}.", Place.INCIDENTS)


def _dead_letters(facts: OverviewFacts) -> Iterator[Reason]:
    for kind, number in facts.dead.items():
        if number:
            what = f"{number} dead letters of kind {kind} wait" if number > 1 else f"A dead letter of kind {kind} waits"
            yield Reason(f"{what} for a decision.", Place.DEAD_LETTERS, kind)
