"""Budgets: which requests they count, and which requests may still be accepted.

A budget counts what is spent and what is reserved by requests that were accepted in its period, in its own currency.
A hard one is never reserved beyond its limit. What an image really costs may exceed it; then nothing more is accepted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.money import Money, Rates, rate, rounded

NOTICE_PERCENTS = (50, 80, 100)
"""People are told once when so much of a budget is used."""


class Period(StrEnum):
    """How long a budget counts before it begins anew."""

    DAY = "day"
    MONTH = "month"
    TOTAL = "total"


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """What a request is for. Of a budget: what it counts; None means any."""

    odoo: str | None = None
    user_id: UUID | None = None
    campaign_id: UUID | None = None
    model_id: UUID | None = None

    def includes(self, other: "Purpose") -> bool:
        """Returns whether a budget for this purpose counts a request for the other."""
        pairs = (
            (self.odoo, other.odoo),
            (self.user_id, other.user_id),
            (self.campaign_id, other.campaign_id),
            (self.model_id, other.model_id),
        )
        return all(wanted is None or wanted == given for wanted, given in pairs)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """A limit for the requests of one purpose in each period. `time_zone` says when days and months begin.

    `contact` is whom a person whose request is refused can ask.
    """

    id: int
    name: str
    limit: Decimal
    currency: str
    period: Period
    time_zone: str
    is_hard: bool
    purpose: Purpose
    contact: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What is used of a budget in one period, in its currency."""

    period_start: datetime
    spent: Decimal = Decimal(0)
    reserved: Decimal = Decimal(0)

    @property
    def total(self) -> Decimal:
        """What is spent and reserved."""
        return self.spent + self.reserved


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A request that asks to be accepted, with its estimated cost; None for a model without a price."""

    request_id: UUID
    purpose: Purpose
    estimate: Money | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reservation:
    """An amount of one budget, in its currency, for one request."""

    request_id: UUID
    budget_id: int
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Exceeded:
    """Why a request is refused: `price` more would exceed this budget, of which so much is used. In its currency."""

    budget: Budget
    spent: Decimal
    reserved: Decimal
    price: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class Unconvertible:
    """Why a request is refused: its price cannot be compared with this budget, because no rate is set."""

    budget: Budget
    currency: str


Refusal = Exceeded | Unconvertible


@dataclass(frozen=True, slots=True, kw_only=True)
class Admission:
    """What was decided about requests, in order of arrival."""

    reservations: Mapping[UUID, Sequence[Reservation]]
    refusals: Mapping[UUID, Refusal]


def admit(wanted: Sequence[Wanted], budgets: Sequence[Budget], usage: Mapping[int, Usage], rates: Rates) -> Admission:
    """Decides which of these requests are accepted, in order of arrival, and what they reserve of each budget.

    `usage` is by budget, as it is now. A request that one hard budget cannot take reserves nothing; of several such
    budgets, the refusal names the one with the least left. A soft budget counts and refuses nothing.
    """
    used = {budget_id: found.total for budget_id, found in usage.items()}
    reservations: dict[UUID, Sequence[Reservation]] = {}
    refusals: dict[UUID, Refusal] = {}
    for each in wanted:
        if each.estimate is None or each.request_id in reservations:
            reservations.setdefault(each.request_id, ())
            continue
        matching = [budget for budget in budgets if budget.purpose.includes(each.purpose)]
        found = _reserve(each.request_id, each.estimate, matching, used, usage, rates)
        if isinstance(found, Exceeded | Unconvertible):
            refusals[each.request_id] = found
            continue
        reservations[each.request_id] = found
        for reservation in found:
            used[reservation.budget_id] += reservation.amount
    return Admission(reservations=reservations, refusals=refusals)


def _reserve(
    request_id: UUID,
    estimate: Money,
    budgets: Sequence[Budget],
    used: Mapping[int, Decimal],
    usage: Mapping[int, Usage],
    rates: Rates,
) -> list[Reservation] | Refusal:
    reservations, exceeded = [], []
    for budget in budgets:
        price = rate(rates, estimate.currency, budget.currency)
        if price is None:
            if budget.is_hard:
                return Unconvertible(budget=budget, currency=estimate.currency)
            continue
        amount = rounded(estimate.amount * price)
        if budget.is_hard and amount > 0 and used[budget.id] + amount > budget.limit:
            exceeded.append((budget.limit - used[budget.id], budget, amount))
        reservations.append(Reservation(request_id=request_id, budget_id=budget.id, amount=amount))
    if not exceeded:
        return reservations
    _, tightest, amount = min(exceeded, key=lambda found: found[0])
    spent = usage[tightest.id].spent
    return Exceeded(budget=tightest, spent=spent, reserved=used[tightest.id] - spent, price=amount)


def percent_reached(used: Decimal, limit: Decimal) -> int:
    """Returns the greatest of `NOTICE_PERCENTS` that is reached; 0 if none is."""
    return max((percent for percent in NOTICE_PERCENTS if used * 100 >= limit * percent and used > 0), default=0)
