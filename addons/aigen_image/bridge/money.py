"""Amounts of money as the bridge writes them: decimals in texts, never floats. Two currencies are never added."""

import re
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal

__all__ = [
    "AMOUNT",
    "CURRENCY",
    "Budget",
    "Exceeded",
    "Price",
    "amount_text",
    "matches",
    "read_budget",
    "read_exceeded",
    "read_price",
    "typed_amount",
]

AMOUNT = re.compile(r"[0-9]{1,12}(\.[0-9]{1,9})?")
CURRENCY = re.compile(r"[A-Z]{3}")
GROUPED = re.compile(r"[1-9][0-9]{0,2}(\.[0-9]{3})+")
"""A number with points between groups of three digits. `0.035` has none."""
PLACES = Decimal("1e-9")
"""As exact as the bridge's amounts are."""
MEGAPIXEL = 1_000_000
UNITS = frozenset({"image", "megapixel"})
PERIODS = frozenset({"day", "month", "total"})
KINDS = frozenset({"hard", "soft"})
MATCHES = ("odoo", "userId", "campaignId", "modelId")
MAX_TEXT = 200


@dataclass(frozen=True)
class Price:
    """What a model costs for each image or each megapixel."""

    amount: Decimal
    currency: str
    per: str

    def of(self, resolution, number=1):
        """Return what so many images of a resolution (`1024x768`) cost. The bridge calculates the same for each."""
        width, height = map(int, resolution.split("x"))
        units = Decimal(width * height) / MEGAPIXEL if self.per == "megapixel" else Decimal(1)
        return (self.amount * units).quantize(PLACES, ROUND_HALF_UP) * number


@dataclass(frozen=True)
class Budget:
    """A budget of the bridge, and how much of it is used in its current period. Amounts are texts."""

    name: str
    limit: str
    currency: str
    period: str
    kind: str
    match: dict
    contact: str
    spent: str
    reserved: str
    left: str
    updated: str
    """When it was last changed, as the bridge writes it. It names this version of the budget."""

    @property
    def used_percent(self):
        """Return how much is spent or reserved, in percent of the limit; of a limit of 0 all is used."""
        used, limit = Decimal(self.spent) + Decimal(self.reserved), Decimal(self.limit)
        return float(used * 100 / limit) if limit else 100.0


@dataclass(frozen=True)
class Exceeded:
    """Why a budget refuses a picture. Amounts are texts, in the currency of the budget."""

    budget: str
    limit: str
    left: str
    price: str
    currency: str
    period: str


def read_price(price):
    """Return the price in an entry of the catalogue, or None."""
    amount, currency, per = (_object(price).get(name) for name in ("amount", "currency", "per"))
    is_known = matches(AMOUNT, amount) and matches(CURRENCY, currency) and isinstance(per, str) and per in UNITS
    return Price(Decimal(amount), currency, per) if is_known else None


def read_budget(item):
    """Return a budget of the bridge's list, or None if it is not as agreed."""
    item = _object(item)
    texts = {name: item.get(name) for name in ("name", "currency", "period", "kind")}
    amounts = {name: item.get(name) for name in ("limit", "spent", "reserved", "left")}
    is_known = (
        all(isinstance(text, str) for text in texts.values())
        and all(matches(AMOUNT, amount) for amount in amounts.values())
        and matches(CURRENCY, texts["currency"])
        and texts["period"] in PERIODS
        and texts["kind"] in KINDS
    )
    if not is_known:
        return None
    match = {name: value for name in MATCHES if isinstance(value := _object(item.get("match")).get(name), str)}
    others = {"contact": _text(item.get("contact")), "updated": _text(item.get("updatedAt"))}
    return Budget(**texts, **amounts, match=match, **others)


def read_exceeded(problem):
    """Return why a budget refuses a picture, or None if the bridge's answer does not say it as agreed."""
    names = ("limit", "spent", "reserved", "price")
    budget, currency, period = (_text(problem.get(name)) for name in ("budget", "currency", "period"))
    are_amounts = all(matches(AMOUNT, problem.get(name)) for name in names)
    if not (are_amounts and budget and matches(CURRENCY, currency) and period in PERIODS):
        return None
    limit, spent, reserved, price = (Decimal(problem[name]) for name in names)
    left = max(Decimal(0), limit - spent - reserved)
    return Exceeded(budget, amount_text(limit), amount_text(left), amount_text(price), currency, period)


def amount_text(amount):
    """Return a decimal as the bridge writes it: at least two places, and no further zeros at the end."""
    whole, _, places = f"{amount:f}".partition(".")
    return f"{whole}.{places.rstrip('0').ljust(2, '0')}"


def typed_amount(text, decimal_point):
    """Return the amount that a person typed, as the bridge takes it, or None.

    Both decimal points are understood, but where the comma is one, `1.000` is refused: people mean a thousand by it.
    """
    plain = "".join((text or "").split())
    if decimal_point != "." and GROUPED.fullmatch(plain):
        return None
    plain = plain.replace(decimal_point, ".")
    return amount_text(Decimal(plain)) if AMOUNT.fullmatch(plain) else None


def matches(pattern, value):
    """Return whether a value is a text of this form, as a whole."""
    return isinstance(value, str) and bool(pattern.fullmatch(value))


def _text(value):
    return value[:MAX_TEXT] if isinstance(value, str) else ""


def _object(value):
    return value if isinstance(value, dict) else {}
