"""The systems that the bridge calls, and when one counts as away: one event, however many requests wait for it.

`DESTINATIONS` is the registry: SQL, doctor, metrics, gauges and health derive from it. How to add a destination is
described in docs/adding-a-step.md.

Everything here is pure. The store keeps a `BreakerState` for each destination, which all workers share; `after` returns
its next value.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from aigen_bridge.domain.errors import InternalError, TransientError
from aigen_bridge.domain.incident import Cause
from aigen_bridge.domain.outcome import Dead, Done, Outcome, Retry
from aigen_bridge.domain.request import Step

TRIES = 4
"""The first attempt and the specified three retries."""
LASTS = timedelta(minutes=1)
"""After this time, a lasting error is an incident of its own. An ordinary restart of N8N answers 404 for 4 seconds."""


@dataclass(frozen=True, slots=True)
class Destination:
    """A system that one step calls.

    `name` is used by settings, metrics and the database, `label` in sentences. `outage` is the incident while its
    breaker is open; one without has no breaker. `lasting` are the incidents for error codes that its breaker meets for
    `LASTS`. All these incidents end when the breaker closes; other incidents end after a quiet time.
    """

    name: str
    label: str
    step: Step
    outage: Cause | None = None
    lasting: Mapping[str, Cause] = field(default_factory=dict, hash=False)

    @property
    def causes(self) -> tuple[Cause, ...]:
        """The incidents that end when the breaker closes."""
        return (*((self.outage,) if self.outage else ()), *self.lasting.values())


N8N = Destination("n8n", "N8N", Step.DISPATCH, Cause.N8N_DOWN, {"http_404": Cause.WEBHOOK_NOT_FOUND})
ODOO = Destination("odoo", "Odoo", Step.DELIVER, Cause.ODOO_DOWN)
IMAGE_HOSTS = Destination("image", "image hosts", Step.FETCH)

DESTINATIONS: dict[str, Destination] = {destination.name: destination for destination in (N8N, ODOO, IMAGE_HOSTS)}
"""Every destination, by name."""


def with_breaker() -> list[Destination]:
    """The destinations that have a breaker."""
    return [destination for destination in DESTINATIONS.values() if destination.outage]


@dataclass(frozen=True, slots=True)
class BreakerConfig:
    """The limits of the calls to a destination.

    `failures`: transient failures in a row that open the breaker; one entry that finds the destination away in `TRIES`
    attempts opens it, too. `probe_every`: the pause between attempts while it is open. `hold`: an entry older than this
    is given up. `concurrency_limit`: the most calls in flight over all workers (None: no limit). `slow_after`: a call
    that takes longer halves the current limit.
    """

    failures: int = 20
    probe_every: timedelta = timedelta(seconds=5)
    hold: timedelta = timedelta(minutes=10)
    concurrency_limit: int | None = None
    slow_after: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class BreakerState:
    """The breaker of a destination. `concurrency_limit` adapts between 1 and that of its `BreakerConfig`."""

    failures: int
    is_open: bool
    concurrency_limit: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A request waits because the destination of its next step is away: since when, and until when at most.

    `destination` is its name.
    """

    destination: str
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """How an attempt ended, how long it took, and its number at its entry (1 is the first).

    `others_worked`: the destination took something else since this entry's first attempt.
    """

    outcome: Outcome
    took: timedelta
    attempt: int = 1
    others_worked: bool = False


def is_outage(outcome: Outcome) -> bool:
    """Whether the destination did not do its part. Internal errors and final answers say nothing about it."""
    if not isinstance(outcome, Retry | Dead):
        return False
    return isinstance(outcome.error, TransientError) and not isinstance(outcome.error, InternalError)


def found_it_away(tried: Answered) -> bool:
    """Whether an entry found its destination away in its last specified attempt, or in a later one.

    Such an entry is held instead of failed (interface, "What counts as N8N's acknowledgement").
    """
    if not isinstance(tried.outcome, Retry | Dead) or not isinstance(tried.outcome.error, TransientError):
        return False
    return tried.outcome.error.away and tried.attempt >= TRIES


def proves_absence(tried: Answered) -> bool:
    """Whether one entry is proof enough that its destination is away, which opens the breaker at once.

    It is not if others got through: then the cause lies with this entry, for instance with a proxy's limit.
    """
    return found_it_away(tried) and not tried.others_worked


def after(state: BreakerState, tried: list[Answered], config: BreakerConfig) -> BreakerState:
    """The state of a breaker after attempts that ended together. One success closes it."""
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
    """One more after as many quick answers as are in flight; half as many after a slow one."""
    if config.concurrency_limit is None:
        return limit
    grown = limit / 2 if slow else limit + quick / limit
    return max(1.0, min(grown, float(config.concurrency_limit)))
