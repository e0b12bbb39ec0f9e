"""The systems that the bridge calls, and the rules of their breakers.

`every_destination` is the registry: SQL, doctor, metrics, gauges and health derive from it. It depends on the Odoos of
the settings, because each is a destination of its own. docs/adding-a-step.md describes how to add a destination.

Everything here is pure. The store keeps one `BreakerState` per destination, which all workers share. `next_state`
returns its next value.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Literal

from aigen_bridge.domain.errors import InternalError, TransientError
from aigen_bridge.domain.incident import Cause
from aigen_bridge.domain.outbox import Dead, Done, Outcome, Retry
from aigen_bridge.domain.queues import queue_of
from aigen_bridge.domain.request import DEFAULT_ODOO, Step

TRIES = 4
"""The specified attempts: the first one and three retries."""
ODOO_CALLS_MAX, N8N_CALLS_MAX = 64, 2000
"""The most calls in flight that settings and operators may allow."""
LASTS = timedelta(minutes=1)
"""A lasting error becomes its own incident after this time. An ordinary restart of N8N answers 404 for 4 seconds."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A system that one step calls.

    `name` is used in settings, metrics and the database, `label` in sentences. `outage` is the cause of the incident
    while the breaker is open; a destination without one has no breaker. `lasting` maps error codes to the incidents
    that they cause when they last for `LASTS`. All these incidents end when the breaker closes; others end after a
    quiet time. `odoos` are those for whose requests it is called.
    """

    name: str
    label: str
    step: Step
    outage: Cause | None = None
    lasting: Mapping[str, Cause] = field(default_factory=dict, hash=False)
    odoos: tuple[str, ...] = (DEFAULT_ODOO,)

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues whose entries are sent to it."""
        return tuple(dict.fromkeys(queue_of(self.step, odoo) for odoo in self.odoos))

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The causes of the incidents that end when the breaker closes."""
        return (*((self.outage,) if self.outage else ()), *self.lasting.values())

    @property
    def odoo(self) -> str:
        """The Odoo whose incidents those are: itself, or the default one for what is no Odoo."""
        return self.odoos[0]


N8N = Destination("n8n", "N8N", Step.DISPATCH, Cause.N8N_DOWN, {"http_404": Cause.WEBHOOK_NOT_FOUND})
ODOO = Destination("odoo", "Odoo", Step.DELIVER, Cause.ODOO_DOWN)
IMAGE_HOSTS = Destination("image", "image hosts", Step.FETCH)
MARKING = Destination("marking", "the marking of images", Step.MARK, Cause.MARKING_DOWN)
"""The signing certificate and the timestamp service, on which every mark depends. Only if the bridge marks images."""

DESTINATIONS: dict[str, Destination] = {destination.name: destination for destination in (N8N, ODOO, IMAGE_HOSTS)}
"""The destinations of every installation, by name."""


def odoo_destination(odoo: str) -> Destination:
    """Returns the destination of an Odoo, by its name in the settings: `odoo` for the default one, or `odoo:north`."""
    if odoo == DEFAULT_ODOO:
        return ODOO
    return replace(ODOO, name=f"{ODOO.name}:{odoo}", label=f"{ODOO.label} {odoo}", odoos=(odoo,))


def every_destination(odoos: Iterable[str] = ()) -> dict[str, Destination]:
    """Returns every destination by name, for an installation with these Odoos beside the default one."""
    others = tuple(odoo for odoo in odoos if odoo != DEFAULT_ODOO)
    shared = {name: replace(each, odoos=(DEFAULT_ODOO, *others)) for name, each in DESTINATIONS.items() if each != ODOO}
    return DESTINATIONS | shared | {each.name: each for each in map(odoo_destination, others)}


def by_public_name(name: str) -> str:
    """Returns the name of a destination. The first Odoo also has one like the others: `odoo:default`."""
    return ODOO.name if name == f"{ODOO.name}:{DEFAULT_ODOO}" else name


def with_breaker(odoos: Iterable[str] = (), *, marks: bool = False) -> list[Destination]:
    """Returns the destinations that have a breaker, as `every_destination` does. `marks`: the bridge marks images."""
    marking = [MARKING] if marks else []
    return [*(destination for destination in every_destination(odoos).values() if destination.outage), *marking]


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """The limits on calls to a destination.

    `failures`: the number of consecutive transient failures that opens the breaker. One entry that finds the
    destination away in `TRIES` attempts also opens it. `probe_every`: the pause between probes while it is open.
    `hold`: entries older than this are given up. `concurrency_limit`: the most calls in flight across all workers
    (None: no limit). `slow_after`: a call that takes longer halves the current limit.
    """

    failures: int = 20
    probe_every: timedelta = timedelta(seconds=5)
    hold: timedelta = timedelta(minutes=10)
    concurrency_limit: int | None = None
    slow_after: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The breaker of a destination. `concurrency_limit` adapts between 1 and the limit in its `BreakerConfig`."""

    failures: int
    is_open: bool
    concurrency_limit: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A request is held because the destination of its next step is away or paused.

    `destination` is its name. The request has been held since `since`, and is given up at `until` if the destination is
    still away. `is_paused`: `until` moves on with the time, because nothing is given up.
    """

    destination: str
    since: datetime
    until: datetime
    is_paused: bool = False


@dataclass(frozen=True, slots=True)
class AttemptResult:
    """A finished attempt, how long it took, and its number (1 is the first at its entry).

    `others_worked`: an attempt at another entry has succeeded since this entry's first attempt.
    """

    outcome: Outcome
    took: timedelta
    attempt: int = 1
    others_worked: bool = False


SeenLimit = int | Literal["any"] | None
"""The limit in force that an operator has seen before changing it; `any`: whatever it is."""


class Availability(StrEnum):
    """What a destination does with what waits for it."""

    CLOSED = "closed"
    """Its breaker is closed: it is called."""

    OPEN = "open"
    """Its breaker is open: it is away, and only probed."""

    PAUSED = "paused"
    """Operators have paused it: it is not called, whatever its breaker."""


@dataclass(frozen=True, slots=True)
class DestinationStatus:
    """A destination as operators see it.

    `since` is that of a state other than `CLOSED`, `away_since` that of its open breaker, also while it is paused.
    `backlog` and `in_flight` count its entries, at least that many at 10000; `oldest` is when the oldest was first due.
    `concurrency` is the most calls in flight over all workers; None: only each worker's own limit. It is `configured`
    in the settings unless operators have set another. `allowance` is how much of it slow answers leave now.
    """

    name: str
    label: str
    state: Availability
    since: datetime | None
    away_since: datetime | None
    probe_at: datetime | None
    backlog: int
    oldest: datetime | None
    in_flight: int
    concurrency: int | None
    configured: int | None
    allowance: int | None
    paused_by: str | None
    pause_reason: str | None
    error_code: str | None
    error_detail: str | None


def is_outage(outcome: Outcome) -> bool:
    """Returns whether the destination failed. Internal and permanent errors say nothing about its health."""
    if not isinstance(outcome, Retry | Dead):
        return False
    return isinstance(outcome.error, TransientError) and not isinstance(outcome.error, InternalError)


def found_it_away(result: AttemptResult) -> bool:
    """Returns whether an entry found its destination away in its last specified attempt, or in a later one.

    Such an entry is held instead of failed (interface, "What counts as N8N's acknowledgement").
    """
    if not isinstance(result.outcome, Retry | Dead) or not isinstance(result.outcome.error, TransientError):
        return False
    return result.outcome.error.away and result.attempt >= TRIES


def proves_absence(result: AttemptResult) -> bool:
    """Returns whether this entry alone proves that its destination is away, which opens the breaker at once.

    It does not if other entries succeeded: then the cause lies with this entry, for example a proxy's limit.
    """
    return found_it_away(result) and not result.others_worked


def next_state(state: BreakerState, tried: list[AttemptResult], config: BreakerConfig) -> BreakerState:
    """Returns the state of a breaker after attempts that ended together. One success closes it."""
    failed = sum(is_outage(each.outcome) for each in tried)
    done = [each for each in tried if isinstance(each.outcome, Done)]
    slow = failed + sum(each.took > config.slow_after for each in done)
    limit = _adapted(state.concurrency_limit, config, quick=len(done), slow=slow)
    if done:
        return BreakerState(0, is_open=False, concurrency_limit=limit)
    failures = state.failures + failed
    is_away = any(proves_absence(each) for each in tried)
    is_open = state.is_open or is_away or failures >= config.failures
    return replace(state, failures=failures, is_open=is_open, concurrency_limit=limit)


def _adapted(limit: float, config: BreakerConfig, *, quick: int, slow: int) -> float:
    """Adapts the limit: increases it by one per `limit` quick answers, and halves it after a slow one."""
    if config.concurrency_limit is None:
        return limit
    adapted = limit / 2 if slow else limit + quick / limit
    return max(1.0, min(adapted, float(config.concurrency_limit)))
