"""Admission: whatever is asked for in whatever order, no hard budget is ever reserved beyond its limit."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.domain.budget import (
    OVERRUN,
    Admission,
    Budget,
    BudgetIndex,
    Exceeded,
    Period,
    Purpose,
    Unconvertible,
    Usage,
    Wanted,
    admit,
    claims,
    is_too_old,
    notice_due,
    room,
)
from aigen_bridge.domain.money import MOST, Money, Rates, rate, rates_from, times

START = datetime(2026, 11, 1, tzinfo=UTC)
RATES: Rates = {("EUR", "USD"): Decimal("1.08"), ("USD", "JPY"): Decimal("156.123456789")}
CURRENCIES = ("USD", "EUR", "JPY", "CHF")

amounts = st.decimals(0, 1000, allow_nan=False, allow_infinity=False, places=9) | st.just(Decimal(0))
ids = st.sampled_from([UUID(int=number) for number in range(4)])
purposes = st.builds(
    Purpose,
    odoo=st.sampled_from([None, "default", "north"]),
    user_id=st.none() | ids,
    campaign_id=st.none() | ids,
    model_id=st.none() | ids,
)
budget_lists = st.lists(
    st.builds(
        Budget,
        id=st.just(0),
        name=st.just("b"),
        limit=amounts,
        currency=st.sampled_from(CURRENCIES),
        period=st.just(Period.MONTH),
        time_zone=st.just("UTC"),
        is_hard=st.booleans(),
        purpose=purposes,
    ),
    max_size=6,
).map(lambda found: [replace(budget, id=number) for number, budget in enumerate(found)])
wanted_lists = st.lists(
    st.builds(
        Wanted,
        request_id=st.integers(0, 12).map(lambda number: UUID(int=number)),
        purpose=purposes,
        estimate=st.none() | st.builds(Money, amounts, st.sampled_from(CURRENCIES)),
    ),
    max_size=15,
)
usages = st.lists(
    st.builds(Usage, period_start=st.just(START), spent=amounts, reserved=amounts), min_size=6, max_size=6
)


def decided(wanted: Sequence[Wanted], budgets: Sequence[Budget], usage: Sequence[Usage]) -> Admission:
    return admit(wanted, BudgetIndex(budgets), dict(enumerate(usage)), RATES)


def added(admission: Admission, budget: Budget) -> Decimal:
    reservations = [one for each in admission.reservations.values() for one in each if one.budget_id == budget.id]
    return sum((one.amount for one in reservations), Decimal(0))


@settings(max_examples=50)
@given(wanted_lists, budget_lists, usages)
def test_a_hard_budget_is_never_reserved_beyond_its_limit(
    wanted: list[Wanted], budgets: list[Budget], usage: list[Usage]
) -> None:
    admission = decided(wanted, budgets, usage)
    for budget in budgets:
        more = added(admission, budget)
        assert more >= 0
        if budget.is_hard and more > 0:
            assert usage[budget.id].total + more <= budget.limit


@settings(max_examples=50)
@given(wanted_lists, budget_lists, usages)
def test_each_request_is_admitted_once_or_refused_and_reserves_in_every_budget_that_counts_it(
    wanted: list[Wanted], budgets: list[Budget], usage: list[Usage]
) -> None:
    admission = decided(wanted, budgets, usage)
    assert {each.request_id for each in wanted} == admission.reservations.keys() | admission.refusals.keys()
    for request_id, reservations in admission.reservations.items():
        purpose = next(each for each in wanted if each.request_id == request_id and _made(each, reservations, budgets))
        assert {one.request_id for one in reservations} <= {request_id}
        assert len({one.budget_id for one in reservations}) == len(reservations)
        assert all(budgets[one.budget_id].purpose.includes(purpose.purpose) for one in reservations)


def _made(each: Wanted, reservations: Sequence[object], budgets: Sequence[Budget]) -> bool:
    """Returns whether this one of several requests with one id can have made these reservations."""
    counting = [budget for budget in budgets if each.estimate and budget.purpose.includes(each.purpose)]
    known = [budget for budget in counting if each.estimate and rate(RATES, each.estimate.currency, budget.currency)]
    return len(known) == len(reservations)


@settings(max_examples=50)
@given(wanted_lists, budget_lists, usages)
def test_a_request_is_refused_only_by_a_budget_that_counts_it_and_cannot_take_it(
    wanted: list[Wanted], budgets: list[Budget], usage: list[Usage]
) -> None:
    for refusal in decided(wanted, budgets, usage).refusals.values():
        assert refusal.budget.is_hard
        if isinstance(refusal, Exceeded):
            assert refusal.spent + refusal.reserved + refusal.price > refusal.budget.limit
            assert refusal.price > 0
        else:
            assert rate(RATES, refusal.currency, refusal.budget.currency) is None


@settings(max_examples=50)
@given(wanted_lists, budget_lists, usages)
def test_what_arrives_later_does_not_change_what_was_decided(
    wanted: list[Wanted], budgets: list[Budget], usage: list[Usage]
) -> None:
    unique = list({each.request_id: each for each in wanted}.values())
    whole, half = decided(unique, budgets, usage), decided(unique[: len(unique) // 2], budgets, usage)
    assert half.reservations.items() <= whole.reservations.items()
    assert half.refusals.items() <= whole.refusals.items()


@settings(max_examples=50)
@given(wanted_lists, budget_lists)
def test_without_hard_budgets_everything_is_admitted(wanted: list[Wanted], budgets: list[Budget]) -> None:
    soft = [replace(budget, is_hard=False) for budget in budgets]
    assert not decided(wanted, soft, [Usage(period_start=START)] * 6).refusals


@settings(max_examples=50)
@given(wanted_lists, budget_lists, usages)
def test_if_the_sum_fits_every_budget_each_request_is_admitted_as_claimed(
    wanted: list[Wanted], budgets: list[Budget], usage: list[Usage]
) -> None:
    """So one statement that compares the sums decides like `admit`."""
    unique = list({each.request_id: each for each in wanted}.values())
    admission, claimed = decided(unique, budgets, usage), claims(unique, BudgetIndex(budgets), RATES)
    sums = {budget.id: sum(one.amount for one in claimed or () if one.budget_id == budget.id) for budget in budgets}
    fits = all(more == 0 or usage[key].total + more <= room(budgets[key]) for key, more in sums.items())
    if claimed is not None and fits:
        assert not admission.refusals
        assert [one for each in admission.reservations.values() for one in each] == claimed


@settings(max_examples=50)
@given(budget_lists, purposes)
def test_the_index_finds_exactly_the_budgets_that_count_a_request(budgets: list[Budget], purpose: Purpose) -> None:
    assert BudgetIndex(budgets).counting(purpose) == [each for each in budgets if each.purpose.includes(purpose)]


def test_the_tightest_of_several_budgets_is_named() -> None:
    budgets = [_budget(0, "10"), _budget(1, "1"), _budget(2, "2")]
    refusal = decided([_wanted("3")], budgets, [Usage(period_start=START)] * 3).refusals[UUID(int=1)]
    assert refusal.budget.id == 1


def test_a_hard_budget_in_another_currency_without_a_rate_refuses_and_a_soft_one_does_not_count() -> None:
    hard = replace(_budget(0, "10"), currency="CHF")
    refused = decided([_wanted("1")], [hard], [Usage(period_start=START)])
    assert isinstance(refused.refusals[UUID(int=1)], Unconvertible)
    admitted = decided([_wanted("1")], [replace(hard, is_hard=False)], [Usage(period_start=START)])
    assert admitted.reservations == {UUID(int=1): []}
    free = decided([_wanted("0")], [hard], [Usage(period_start=START)])
    assert free.reservations == {UUID(int=1): []}


def test_a_soft_budget_refuses_only_what_its_sum_has_no_digits_for() -> None:
    soft = replace(_budget(0, "1"), is_hard=False)
    full = Usage(period_start=START, spent=MOST - 1)
    assert UUID(int=1) in decided([_wanted("1")], [soft], [full]).reservations
    assert UUID(int=1) in decided([_wanted("1.000000001")], [soft], [full]).refusals


@settings(max_examples=50)
@given(amounts, amounts)
def test_a_product_is_rounded_once_and_half_away_from_zero(amount: Decimal, factor: Decimal) -> None:
    assert abs(times(amount, factor) - amount * factor) <= Decimal("0.0000000005")
    assert times(Decimal("0.000000001"), Decimal("0.5")) == Decimal("0.000000001")


def test_the_recorded_rates_reach_every_currency_that_has_one() -> None:
    assert rates_from(RATES, "USD") == {"EUR": f"{1 / Decimal('1.08'):f}", "JPY": "156.123456789", "USD": "1"}
    assert rates_from(RATES, "CHF") == {"CHF": "1"}


@pytest.mark.parametrize(
    ("used", "is_hard", "due"),
    [
        *(("0", True, 0), ("49.99", True, 0), ("50", False, 50), ("80", True, 80), ("100", True, 100)),
        *(("100.01", True, OVERRUN), ("100.01", False, 100)),
    ],
)
def test_a_notice_is_due_at_50_80_and_100_percent_and_when_a_hard_budget_is_exceeded(
    *, used: str, is_hard: bool, due: int
) -> None:
    assert notice_due(replace(_budget(0, "100"), is_hard=is_hard), Decimal(used)) == due


@pytest.mark.parametrize(
    ("version", "is_old"),
    [
        *(("1.5.0", False), ("18.0.1.5.0", False), ("19.0.2.0.0", False), ("1.10.0", False)),
        *(("1.4.0", True), ("18.0.1.4.9", True), (None, True), ("", True), ("unknown", True)),
    ],
)
def test_an_addon_before_1_5_0_or_without_a_version_is_too_old(version: str | None, *, is_old: bool) -> None:
    assert is_too_old(version) is is_old


def _budget(number: int, limit: str) -> Budget:
    return Budget(
        id=number,
        name=f"b{number}",
        limit=Decimal(limit),
        currency="USD",
        period=Period.MONTH,
        time_zone="UTC",
        is_hard=True,
        purpose=Purpose(),
    )


def _wanted(amount: str) -> Wanted:
    return Wanted(request_id=UUID(int=1), purpose=Purpose(odoo="default"), estimate=Money(Decimal(amount), "USD"))
