"""Decides when to try again. Pure: the schedule is data, the decision a function of its arguments."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

from aigen_bridge.domain.errors import StepError, TransientError


@dataclass(frozen=True, slots=True)
class RetryAt:
    """Try again, not before `at`."""

    at: datetime


@dataclass(frozen=True, slots=True)
class GiveUp:
    """There is no further attempt: the entry becomes a dead letter."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The retry schedule of a step.

    `waits`: the pause after each failed attempt; its length plus one is the number of attempts.
    `then_every`: if set, keep trying with this pause after the last wait, until `give_up_after`.
    `give_up_after`: the age of an entry at which it is given up, whatever is left of the schedule.
    `jitter`: the largest part of a wait that is added to it at random (0.2 = up to a fifth more).
    """

    waits: tuple[timedelta, ...]
    then_every: timedelta | None = None
    give_up_after: timedelta | None = None
    jitter: float = 0.0

    def until(self, began_at: datetime, give_up_at: datetime | None) -> datetime | None:
        """The time of the last possible attempt: `give_up_at`, or the age limit if that is earlier."""
        ends = [began_at + self.give_up_after] if self.give_up_after else []
        return min([*ends, *([give_up_at] if give_up_at else [])], default=None)

    def wait_after(self, attempt: int) -> timedelta | None:
        """The pause after attempt number `attempt`, which counts from 1; None when there is no further one."""
        return self.waits[attempt - 1] if attempt <= len(self.waits) else self.then_every


def decide(
    policy: Policy, attempt: int, error: StepError, now: datetime, until: datetime | None, random: Random
) -> RetryAt | GiveUp:
    """What follows failed attempt number `attempt` at an entry that may be tried `until` then; None sets no limit."""
    if not isinstance(error, TransientError):
        return GiveUp()
    wait = policy.wait_after(attempt)
    if wait is None or attempt >= (error.tries or attempt + 1):
        return GiveUp()
    wait += wait * policy.jitter * random.random()
    at = now + max(wait, error.retry_after or timedelta(0))
    if until is not None and at > until:
        return GiveUp()
    return RetryAt(at)


def exponential(first: timedelta, *, factor: float, times: int, cap: timedelta) -> tuple[timedelta, ...]:
    """A schedule that grows by `factor` from `first`, never above `cap`: 1 s, 2 s, 4 s, …"""
    return tuple(min(first * factor**number, cap) for number in range(times))
