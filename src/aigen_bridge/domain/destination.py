"""The systems that we call, and when one counts as out: that is one event, however many requests wait for it.

Pure: the store keeps a `Condition` for each destination, shared by all workers, and `after` says what it becomes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from aigen_bridge.domain.errors import InternalError, TransientError
from aigen_bridge.domain.outcome import Dead, Done, Outcome, Retry
from aigen_bridge.domain.request import Step


class Destination(StrEnum):
    """A system that one step calls for every request."""

    N8N = "n8n"
    ODOO = "odoo"


TRIES = 4
"""The first try and the specified three retries."""

DESTINATIONS: Mapping[Step, Destination] = {Step.DISPATCH: Destination.N8N, Step.DELIVER: Destination.ODOO}


@dataclass(frozen=True, slots=True)
class Gate:
    """How much a destination gets, and when it gets nothing for a while.

    `failures`: transient failures in a row that open the breaker; one entry that finds the destination away in
    `TRIES` tries opens it, too. `probe_every`: the pause between tries while it is open. `hold`: an entry older than
    this is given up. `at_once`: the most calls in flight over all workers (None: no limit). `slow_after`: a call that
    takes longer halves what is sent at once.
    """

    failures: int = 20
    probe_every: timedelta = timedelta(seconds=5)
    hold: timedelta = timedelta(minutes=10)
    at_once: int | None = None
    slow_after: timedelta = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Condition:
    """How a destination stands. `allowance`: calls that may be in flight at once, between 1 and `Gate.at_once`."""

    failures: int
    is_open: bool
    allowance: float


@dataclass(frozen=True, slots=True)
class Hold:
    """A request waits because the destination of its next step is away: since when, and until when at most."""

    destination: Destination
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Answered:
    """How a try went, how long it took, and which try of its entry it was (1 is the first).

    `others_worked`: the destination took something else since this entry's first try.
    """

    outcome: Outcome
    took: timedelta
    attempt: int = 1
    others_worked: bool = False


def is_outage(outcome: Outcome) -> bool:
    """The destination did not do its part. Errors of ours and answers that are final say nothing about it."""
    if not isinstance(outcome, Retry | Dead):
        return False
    return isinstance(outcome.error, TransientError) and not isinstance(outcome.error, InternalError)


def found_it_away(tried: Answered) -> bool:
    """Returns whether an entry found its destination away in its last specified try, or in a later one.

    Such an entry is held instead of failed (interface, "What counts as N8N's acknowledgement").
    """
    if not isinstance(tried.outcome, Retry | Dead) or not isinstance(tried.outcome.error, TransientError):
        return False
    return tried.outcome.error.away and tried.attempt >= TRIES


def proves_absence(tried: Answered) -> bool:
    """Returns whether one entry is proof enough that its destination is away, which opens the breaker at once.

    It is not if others got through: then the cause lies with this entry, for instance with a proxy's limit.
    """
    return found_it_away(tried) and not tried.others_worked


def after(condition: Condition, tries: list[Answered], gate: Gate) -> Condition:
    """The condition of a destination after tries that ended together. One success closes its breaker."""
    failed = sum(is_outage(tried.outcome) for tried in tries)
    done = [tried for tried in tries if isinstance(tried.outcome, Done)]
    slow = failed + sum(tried.took > gate.slow_after for tried in done)
    allowance = _adapted(condition.allowance, gate, quick=len(done), slow=slow)
    if done:
        return Condition(0, is_open=False, allowance=allowance)
    failures = condition.failures + failed
    is_away = any(proves_absence(tried) for tried in tries)
    is_open = condition.is_open or is_away or failures >= gate.failures
    return replace(condition, failures=failures, is_open=is_open, allowance=allowance)


def _adapted(allowance: float, gate: Gate, *, quick: int, slow: int) -> float:
    """One more after as many quick answers as are in flight; half as many after a slow one."""
    if gate.at_once is None:
        return allowance
    grown = allowance / 2 if slow else allowance + quick / allowance
    return max(1.0, min(grown, float(gate.at_once)))
