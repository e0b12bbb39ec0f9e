"""Amounts of money: whatever a text or number says is read exactly, or not at all."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.domain.money import PLACES, WHOLE_DIGITS, amount_text, parse_amount, parse_currency

COMMON = settings(max_examples=100, deadline=None, derandomize=True, database=None)
amounts = st.decimals(0, Decimal(10) ** WHOLE_DIGITS - Decimal(10) ** -PLACES, places=PLACES)


@COMMON
@given(amounts)
def test_an_amount_is_read_from_its_text_exactly(amount: Decimal) -> None:
    assert parse_amount(amount_text(amount)) == amount
    assert parse_amount(f" {amount:f}000 ") == amount
    assert parse_amount(f"{amount:E}") == amount


@COMMON
@given(amounts)
def test_a_shown_amount_has_two_places_and_no_further_zeros_at_its_end(amount: Decimal) -> None:
    whole, _, places = amount_text(amount).partition(".")
    assert whole.isdecimal()
    assert len(places) >= 2
    assert len(places) == 2 or not places.endswith("0")


@COMMON
@given(st.text() | st.floats() | st.integers() | st.text("0123456789.eE+-", max_size=12))
def test_whatever_is_read_is_an_amount_that_can_be_shown_and_read_again(value: Any) -> None:
    amount = parse_amount(value)
    assert amount is None or (0 <= amount < 10**WHOLE_DIGITS and parse_amount(amount_text(amount)) == amount)


@COMMON
@given(st.floats(0, 10**6))
def test_a_number_is_read_to_nine_places(number: float) -> None:
    amount = parse_amount(number)
    assert amount is not None
    assert abs(amount - Decimal(number)) <= Decimal(10) ** -PLACES


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("0.035", "0.035"),
        ("2.5", "2.50"),
        ("0", "0.00"),
        ("1000", "1000.00"),
        ("007.10", "7.10"),
        ("0.0350000000000", "0.035"),
        ("1e-7", "0.0000001"),
        (0.035, "0.035"),
        (3, "3.00"),
        (0.1 + 0.2, "0.30"),
        (0.0000000005, "0.000000001"),
        (0.0000000025, "0.000000003"),
        ("999999999999.999999999", "999999999999.999999999"),
    ],
)
def test_amounts_are_shown_as_decimals(value: Any, shown: str) -> None:
    amount = parse_amount(value)
    assert amount is not None
    assert amount_text(amount) == shown


@pytest.mark.parametrize(
    "value",
    [
        *(None, True, "", "-1", -0.5, "1,5", ".5", "€3", "NaN", "Infinity", float("nan"), float("inf"), [], {}),
        *("1000000000000", 1e12, 10**400, "0.0000000001", "1e99", "1" * 31, 999_999_999_999.9999999999),
        "\N{ARABIC-INDIC DIGIT ONE}",
    ],
)
def test_what_is_no_amount_is_not_read(value: Any) -> None:
    assert parse_amount(value) is None


def test_a_currency_is_three_upper_case_letters() -> None:
    assert [parse_currency(text) for text in ("USD", "usd", "US", "USDT", "ÄÖÜ", 978, "")] == ["USD", *[None] * 6]
