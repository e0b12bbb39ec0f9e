"""Decides when to retry. The schedule is data, and the decision a pure function."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from aigen_bridge.domain.errors import StepError, TransientError


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Retry, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no further attempt: the entry becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The retry schedule of a step.

    `waits`: the wait after each failed attempt. Its length plus one is the number of attempts.
    `then_every`: if set, attempts continue with this wait after the last of `waits`, until `give_up_after`.
    `give_up_after`: the age at which an entry is given up, whatever is left of the schedule.
    `jitter`: the maximum random addition, as a fraction of the wait (0.2 = up to a fifth more).
    """

    waits: tuple[timedelta, ...]
    then_every: timedelta | None = None
    give_up_after: timedelta | None = None
    jitter: float = 0.0

    def until(self, began_at: datetime, give_up_at: datetime | None) -> datetime | None:
        """Returns the time after which there is no attempt: the earlier of `give_up_at` and the age limit, if any."""
        ends = [began_at + self.give_up_after] if self.give_up_after else []
        return min([*ends, *([give_up_at] if give_up_at else [])], default=None)

    def wait_after(self, attempt: int) -> timedelta | None:
        """Returns the wait after attempt number `attempt`, which counts from 1; None if it was the last."""
        return self.waits[attempt - 1] if attempt <= len(self.waits) else self.then_every


def decide(
    policy: Policy, attempt: int, error: StepError, now: datetime, until: datetime | None, random: Random
) -> RetryAt | GiveUp:
    """Decides what follows failed attempt number `attempt`. No retry is due after `until`; None sets no limit.

    A wait that the other system asked for lengthens that of the schedule, unless it would end after `until`: asking for
    too much must not cost the attempts that are left.
    """
    if not isinstance(error, TransientError):
        return GiveUp()
    wait = policy.wait_after(attempt)
    if wait is None or attempt >= (error.tries or attempt + 1):
        return GiveUp()
    wait += wait * policy.jitter * random.random()
    at, asked_for = now + wait, now + max(wait, error.retry_after or timedelta(0))
    if until is None or asked_for <= until:
        return RetryAt(asked_for)
    return RetryAt(at) if at <= until else GiveUp()


def exponential(first: timedelta, *, factor: float, times: int, cap: timedelta) -> tuple[timedelta, ...]:
    """Returns a schedule that grows by `factor` from `first` up to `cap`: 1 s, 2 s, 4 s, …"""
    return tuple(min(first * factor**number, cap) for number in range(times))
