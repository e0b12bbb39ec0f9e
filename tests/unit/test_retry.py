"""When to try again."""

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.destination import MARKING
from aigen_bridge.domain.errors import PermanentError, TransientError
from aigen_bridge.domain.retry import GiveUp, Policy, RetryAt, decide, exponential
from aigen_bridge.pipeline.deliver import POLICY as DELIVER
from aigen_bridge.pipeline.dispatch import POLICY as DISPATCH
from aigen_bridge.pipeline.fetch import POLICY as FETCH
from aigen_bridge.pipeline.mark import POLICY as MARK
from aigen_bridge.wiring import _breakers
from stage import make_settings

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
PASSING = TransientError("http_503", "busy")
seconds = st.integers(0, 10_000).map(lambda n: timedelta(seconds=n))


def wait(policy: Policy, attempt: int, error: TransientError = PASSING) -> timedelta | None:
    verdict = decide(policy, attempt, error, NOW, policy.until(NOW, None), Random(0))
    return verdict.at - NOW if isinstance(verdict, RetryAt) else None


def test_dispatch_waits_1_2_and_4_seconds_and_then_gives_up() -> None:
    assert [wait(DISPATCH, n) for n in (1, 2, 3, 4)] == [*(timedelta(seconds=s) for s in (1, 2, 4)), None]


def test_an_image_that_was_held_for_days_has_all_its_tries_to_be_marked() -> None:
    held_since = NOW - timedelta(days=3)
    verdicts = [decide(MARK, n, PASSING, NOW, MARK.until(held_since, None), Random(0)) for n in range(1, 10)]
    waits = [verdict.at - NOW for verdict in verdicts if isinstance(verdict, RetryAt)]

    assert [each.total_seconds() for each in waits] == [1, 2, 4, 8, 16, 30, 30, 30]
    assert sum(waits, timedelta(0)) == timedelta(minutes=2, seconds=1)
    assert isinstance(verdicts[-1], GiveUp)


@pytest.mark.parametrize(("on_failure", "held"), [("deliver", timedelta(minutes=2)), ("hold", timedelta(days=30))])
def test_while_none_can_be_marked_images_are_held_for_two_minutes_or_for_thirty_days(
    on_failure: str, held: timedelta
) -> None:
    settings = make_settings("postgresql://u:p@db/aigen", marking={"mode": "metadata", "on_failure": on_failure})
    assert _breakers(settings)[MARKING].hold == held


def test_a_permanent_error_is_given_up_at_once() -> None:
    assert isinstance(decide(DISPATCH, 1, PermanentError("http_404", "no"), NOW, None, Random(0)), GiveUp)


def test_retry_after_lengthens_a_wait_and_never_shortens_it() -> None:
    assert wait(DISPATCH, 3, TransientError("c", "d", retry_after=timedelta(seconds=9))) == timedelta(seconds=9)
    assert wait(DISPATCH, 3, TransientError("c", "d", retry_after=timedelta(seconds=1))) == timedelta(seconds=4)


@pytest.mark.parametrize("asked_for", [timedelta(hours=1), timedelta(days=365)])
def test_a_retry_after_beyond_the_end_costs_no_tries(asked_for: timedelta) -> None:
    """An image URL that lives for five minutes is tried again in time, whatever its host asks for."""
    end = NOW + timedelta(minutes=5)
    verdict = decide(FETCH, 1, TransientError("http_429", "busy", retry_after=asked_for), NOW, end, Random(0))

    assert verdict == RetryAt(NOW + timedelta(seconds=1))


def test_an_error_may_limit_its_own_tries() -> None:
    bug = TransientError("unexpected", "?", tries=3)
    assert [wait(DELIVER, n, bug) is None for n in (1, 2, 3)] == [False, False, True]


@given(attempt=st.integers(1, 10_000))
def test_delivering_goes_on_for_a_day_with_waits_up_to_six_minutes(attempt: int) -> None:
    chosen = wait(DELIVER, attempt)
    assert chosen is not None
    assert timedelta(seconds=1) <= chosen <= timedelta(minutes=6)


@given(age=seconds, wait_after=seconds)
def test_an_entry_is_given_up_when_its_next_try_would_come_too_late(age: timedelta, wait_after: timedelta) -> None:
    policy = Policy((), then_every=wait_after, give_up_after=timedelta(seconds=5_000))
    verdict = decide(policy, 1, PASSING, NOW + age, policy.until(NOW, None), Random(0)) if wait_after else GiveUp()
    too_late = age + wait_after > timedelta(seconds=5_000)
    assert isinstance(verdict, GiveUp) == (too_late or not wait_after)


@given(seed=st.integers(), attempt=st.integers(1, 20))
def test_jitter_only_adds_and_stays_in_its_bounds(seed: int, attempt: int) -> None:
    plain = DELIVER.wait_after(attempt)
    verdict = decide(DELIVER, attempt, PASSING, NOW, None, Random(seed))
    assert plain is not None
    assert isinstance(verdict, RetryAt)
    assert plain <= verdict.at - NOW <= plain * (1 + DELIVER.jitter)


def test_an_exponential_schedule_grows_to_its_cap() -> None:
    waits = exponential(timedelta(seconds=1), factor=3, times=5, cap=timedelta(seconds=20))
    assert [w.total_seconds() for w in waits] == [1, 3, 9, 20, 20]


@pytest.mark.parametrize("attempt", [1, 2, 3, 4, 5])
def test_the_number_of_tries_is_the_length_of_the_schedule_plus_one(attempt: int) -> None:
    assert (DISPATCH.wait_after(attempt) is None) == (attempt > len(DISPATCH.waits))
