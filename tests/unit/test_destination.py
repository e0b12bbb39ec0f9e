"""When a destination counts as out, and how much it gets at once."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.destination import TRIES, AttemptResult, BreakerConfig, BreakerState, is_outage, next_state
from aigen_bridge.domain.errors import InternalError, PermanentError, TransientError
from aigen_bridge.domain.outbox import Dead, Done, Outcome, Retry
from aigen_bridge.pipeline.alert import POLICY as ALERT

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
AWAY = TransientError("http_503", "busy")
FAILED = Retry(NOW, AWAY)
INTERNAL = Retry(NOW, InternalError("unexpected", "a bug"))
REFUSED = Dead(PermanentError("http_403", "no"), None)
DONE = Done(None)
CLOSED = BreakerState(0, is_open=False, concurrency_limit=4)
CONFIG = BreakerConfig(failures=5, concurrency_limit=4, slow_after=timedelta(seconds=2))
QUICK, SLOW = timedelta(milliseconds=50), timedelta(seconds=3)

outcomes = st.sampled_from([FAILED, Dead(AWAY, None), INTERNAL, REFUSED, DONE])
tries = st.lists(st.builds(AttemptResult, outcomes, st.sampled_from([QUICK, SLOW])), min_size=1, max_size=30)
states = st.builds(BreakerState, st.integers(0, 30), is_open=st.booleans(), concurrency_limit=st.floats(1, 4))


def tried(outcome: Outcome, times: int = 1, took: timedelta = QUICK) -> list[AttemptResult]:
    return [AttemptResult(outcome, took)] * times


@pytest.mark.parametrize(
    ("outcome", "counts"),
    [(FAILED, True), (Dead(AWAY, None), True), (INTERNAL, False), (REFUSED, False), (DONE, False)],
)
def test_only_what_the_destination_did_not_do_speaks_against_it(outcome: Outcome, counts: bool) -> None:  # noqa: FBT001
    assert is_outage(outcome) is counts


def test_the_breaker_opens_with_the_last_of_so_many_failures_in_a_row() -> None:
    nearly = next_state(CLOSED, tried(FAILED, 4), CONFIG)
    assert (nearly.failures, nearly.is_open) == (4, False)
    assert next_state(nearly, tried(FAILED), CONFIG).is_open


GONE = TransientError("http_404", "no webhook", away=True)


@pytest.mark.parametrize(
    ("outcome", "opens"),
    [(Dead(GONE, None), True), (Retry(NOW, GONE), True), (Dead(AWAY, None), False), (REFUSED, False), (DONE, False)],
)
def test_one_entry_that_finds_it_away_in_all_specified_tries_opens_it(outcome: Outcome, opens: bool) -> None:  # noqa: FBT001
    third, fourth = (AttemptResult(outcome, QUICK, attempt) for attempt in (TRIES - 1, TRIES))
    assert not next_state(CLOSED, [third], CONFIG).is_open
    assert next_state(CLOSED, [fourth], CONFIG).is_open is opens


def test_an_entry_that_finds_it_away_while_others_get_through_proves_nothing() -> None:
    alone = AttemptResult(Dead(GONE, None), QUICK, attempt=TRIES, others_worked=True)
    assert not next_state(CLOSED, [alone], CONFIG).is_open


def test_one_success_among_the_failures_begins_the_count_again() -> None:
    nearly = next_state(CLOSED, tried(FAILED, 4), CONFIG)
    assert next_state(nearly, [*tried(FAILED), *tried(DONE)], CONFIG).failures == 0


@pytest.mark.parametrize("outcome", [INTERNAL, REFUSED])
def test_errors_of_ours_and_final_answers_neither_open_nor_close_it(outcome: Outcome) -> None:
    nearly = BreakerState(4, is_open=False, concurrency_limit=4)
    is_out = BreakerState(9, is_open=True, concurrency_limit=1)
    assert next_state(nearly, tried(outcome, 100), CONFIG) == nearly
    assert next_state(is_out, tried(outcome, 100), CONFIG) == is_out


@given(before=states, ended=tries)
def test_it_is_closed_exactly_when_something_worked_or_too_little_failed(
    before: BreakerState, ended: list[AttemptResult]
) -> None:
    now = next_state(before, ended, CONFIG)
    failed = sum(is_outage(one.outcome) for one in ended)
    if any(one.outcome == DONE for one in ended):
        assert (now.failures, now.is_open) == (0, False)
    else:
        assert now.failures == before.failures + failed
        assert now.is_open == (before.is_open or now.failures >= CONFIG.failures)


@given(before=states, ended=tries)
def test_what_it_gets_at_once_stays_between_one_and_the_limit(before: BreakerState, ended: list[AttemptResult]) -> None:
    assert 1 <= next_state(before, ended, CONFIG).concurrency_limit <= 4


@given(before=states, ended=tries)
def test_without_a_limit_nothing_is_adapted(before: BreakerState, ended: list[AttemptResult]) -> None:
    assert next_state(before, ended, BreakerConfig(failures=5)).concurrency_limit == before.concurrency_limit


@pytest.mark.parametrize("ended", [tried(DONE, took=SLOW), tried(FAILED), [*tried(DONE, 9), *tried(DONE, took=SLOW)]])
def test_a_slow_answer_or_none_halves_what_it_gets(ended: list[AttemptResult]) -> None:
    assert next_state(CLOSED, ended, CONFIG).concurrency_limit == 2


def test_quick_answers_win_it_back_one_for_each_round() -> None:
    state = BreakerState(0, is_open=False, concurrency_limit=1)
    rounds = []
    for _ in range(4):
        in_flight = int(state.concurrency_limit)
        state = next_state(state, tried(DONE, in_flight), CONFIG)
        rounds.append(state.concurrency_limit)
    assert rounds[0] == 2
    assert rounds[-1] >= 4


def test_people_are_called_for_an_hour() -> None:
    assert ALERT.give_up_after == timedelta(hours=1)
    assert ALERT.wait_after(1_000) == timedelta(minutes=2)
