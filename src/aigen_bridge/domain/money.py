"""Amounts of money: parsed from other systems' values, and formatted as decimals in strings."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Context, Decimal
from types import MappingProxyType

WHOLE_DIGITS, PLACES = 12, 9
"""The most digits before and after the point."""
SHOWN_PLACES = 2
"""The least digits after the point of an amount that is shown."""

_LIMIT = 10**WHOLE_DIGITS
MOST = _LIMIT - Decimal(1).scaleb(-PLACES)
"""The greatest amount."""
_EXACT = Context(prec=100, rounding=ROUND_HALF_UP)
"""More digits than a product of two amounts has. The usual 28 would round twice."""
_DECIMAL = re.compile(r"[0-9]{1,30}(\.[0-9]{0,30})?([eE][+-]?[0-9]{1,3})?", re.ASCII)
_CURRENCY = re.compile(r"[A-Z]{3}", re.ASCII)
_CODES = """
    AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF CHF CLP CNY COP
    CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL HTG HUF IDR ILS INR
    IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL MGA MKD MMK MNT MOP MRU
    MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB RWF SAR SBD SCR SDG
    SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH UGX USD UYU UZS VES VND VUV WST
    XAF XCD XCG XOF XPF YER ZAR ZMW ZWG
"""
CURRENCIES = frozenset(_CODES.split())
"""The currencies in use (ISO 4217, 2025), with which prices, limits and rates are set."""


def parse_amount(value: object) -> Decimal | None:
    """Returns the amount that a text or a number stands for. None for anything else, and for what has too many digits.

    A float is rounded to `PLACES`, because its further digits are an error of representation (0.1 + 0.2).
    """
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return None
    text = str(value).strip()
    if not _DECIMAL.fullmatch(text):  # also refuses "nan" and negative numbers
        return None
    amount = Decimal(text)
    if amount >= _LIMIT:
        return None
    nearest = rounded(amount)
    is_exact = nearest == amount or isinstance(value, float)
    return nearest if is_exact and nearest < _LIMIT else None


def parse_currency(value: object) -> str | None:
    """Returns what another system says is a currency code: three upper-case letters. None for anything else."""
    return value if isinstance(value, str) and _CURRENCY.fullmatch(value) else None


def amount_text(amount: Decimal) -> str:
    """Formats an amount with at least two places and no further trailing zeros: `2.50`, `0.035`."""
    whole, _, places = f"{amount:f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(SHOWN_PLACES, '0')}"


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency. Amounts of different currencies are never added."""

    amount: Decimal
    currency: str

    def __str__(self) -> str:
        return f"{amount_text(self.amount)} {self.currency}"


Rates = Mapping[tuple[str, str], Decimal]
"""The price of one unit of the first currency in the second."""
NO_RATES: Rates = MappingProxyType({})


def rate(rates: Rates, source: str, target: str) -> Decimal | None:
    """Returns the price of one unit of `source` in `target`, also from the opposite rate; None if neither is known."""
    if source == target:
        return Decimal(1)
    if (source, target) in rates:
        return rates[source, target]
    return 1 / rates[target, source] if (target, source) in rates else None


def rounded(amount: Decimal) -> Decimal:
    """Rounds to `PLACES`, half away from zero, as PostgreSQL's columns do."""
    return amount.quantize(Decimal(1).scaleb(-PLACES), context=_EXACT)


def times(amount: Decimal, factor: Decimal) -> Decimal:
    """Returns the exact product, rounded once to the places of an amount."""
    return rounded(_EXACT.multiply(amount, factor))


def exact_sum(amounts: Iterable[Decimal]) -> Decimal:
    """Returns the exact sum of amounts in one currency, however many they are."""
    total = Decimal(0)
    for amount in amounts:
        total = _EXACT.add(total, amount)
    return total


def rates_from(rates: Rates, source: str) -> dict[str, str]:
    """Returns the rates from `source` to every currency that is known, as they are recorded in the ledger."""
    currencies = {source} | {currency for pair in rates for currency in pair}
    found = {currency: rate(rates, source, currency) for currency in sorted(currencies)}
    return {currency: f"{price:f}" for currency, price in found.items() if price is not None}
