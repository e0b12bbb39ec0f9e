"""Budgets: which requests they count, and which requests may still be accepted.

A budget counts what is spent and what is reserved by requests that were accepted in its period, in its own currency.
A hard one is never reserved beyond its limit. What an image really costs may exceed it; then nothing more is accepted.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.addon import is_older
from aigen_bridge.domain.errors import BridgeError, ContradictionError
from aigen_bridge.domain.money import MOST, Money, Rates, rate, times

NOTICE_PERCENTS = (50, 80, 100)
"""People are told once when so much of a budget is used."""
OVERRUN = 101
"""They are told once, too, when a hard budget is exceeded, because images cost more than was estimated."""
EVERY_PERIOD = {"day": "a day", "month": "a month", "total": "in total"}
"""How a limit is said to apply, in a sentence."""


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
        return all(wanted is None or wanted == given for wanted, given in zip(self.parts, other.parts, strict=True))

    @property
    def parts(self) -> tuple[str | UUID | None, ...]:
        """The four fields."""
        return self.odoo, self.user_id, self.campaign_id, self.model_id


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


class BudgetIndex:
    """All budgets. Finds those that count a request without a look at each: there may be one for every person."""

    def __init__(self, budgets: Iterable[Budget] = ()) -> None:
        self._by_id = {budget.id: budget for budget in budgets}
        self._by_parts: dict[tuple[str | UUID | None, ...], list[Budget]] = {}
        for budget in self._by_id.values():
            self._by_parts.setdefault(budget.purpose.parts, []).append(budget)
        self._shapes = {tuple(part is not None for part in parts) for parts in self._by_parts}

    def counting(self, purpose: Purpose) -> list[Budget]:
        """Returns the budgets that count a request for this purpose, in the order of their ids."""
        given = purpose.parts
        keys = {
            tuple(part if is_named else None for part, is_named in zip(given, shape, strict=True))
            for shape in self._shapes
            if all(part is not None or not is_named for part, is_named in zip(given, shape, strict=True))
        }
        found = [budget for key in keys for budget in self._by_parts.get(key, ())]
        return sorted(found, key=lambda budget: budget.id)

    def __getitem__(self, budget_id: int) -> Budget:
        return self._by_id[budget_id]


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


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget with its usage in the current period, which ends at `period_end`; None for the period `total`."""

    budget: Budget
    usage: Usage
    period_end: datetime | None
    updated_at: datetime


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


def claims(wanted: Sequence[Wanted], budgets: BudgetIndex, rates: Rates) -> Sequence[Reservation] | None:
    """Returns what these requests reserve if every budget can take all of them. Each id occurs once.

    Returns None if one of them is refused whatever is used.
    """
    found: list[Reservation] = []
    for each in wanted:
        reservations = _claim(each, budgets, rates)
        if isinstance(reservations, Unconvertible):
            return None
        found += (reservation for reservation, _ in reservations)
    return found


def room(budget: Budget) -> Decimal:
    """Returns how much of a budget accepting may use: the limit, or of a soft one what its sum has digits for."""
    return budget.limit if budget.is_hard else MOST


def admit(wanted: Sequence[Wanted], budgets: BudgetIndex, usage: Mapping[int, Usage], rates: Rates) -> Admission:
    """Decides which of these requests are accepted, in order of arrival, and what they reserve of each budget.

    `usage` is by budget, as it is now. A request that one hard budget cannot take reserves nothing; of several such
    budgets, the refusal names the one with the least left. A soft budget counts and refuses nothing, except what its
    sum has no digits for. What is free is always admitted.
    """
    used = {budget_id: found.total for budget_id, found in usage.items()}
    reservations: dict[UUID, Sequence[Reservation]] = {}
    refusals: dict[UUID, Refusal] = {}
    for each in wanted:
        if each.request_id in reservations:
            continue
        claimed = _claim(each, budgets, rates)
        if isinstance(claimed, Unconvertible):
            refusals[each.request_id] = claimed
        elif refusal := _exceeded(claimed, used, usage):
            refusals[each.request_id] = refusal
        else:
            reservations[each.request_id] = [reservation for reservation, _ in claimed]
            for reservation, _ in claimed:
                used[reservation.budget_id] += reservation.amount
    return Admission(reservations=reservations, refusals=refusals)


def _claim(each: Wanted, budgets: BudgetIndex, rates: Rates) -> list[tuple[Reservation, Budget]] | Unconvertible:
    """Returns what a request reserves of each budget that counts it."""
    claimed: list[tuple[Reservation, Budget]] = []
    if each.estimate is None:
        return claimed
    for budget in budgets.counting(each.purpose):
        price = rate(rates, each.estimate.currency, budget.currency)
        if price is not None:
            amount = times(each.estimate.amount, price)
            claimed.append((Reservation(request_id=each.request_id, budget_id=budget.id, amount=amount), budget))
        elif budget.is_hard and each.estimate.amount:
            return Unconvertible(budget=budget, currency=each.estimate.currency)
    return claimed


def _exceeded(
    claimed: Sequence[tuple[Reservation, Budget]], used: Mapping[int, Decimal], usage: Mapping[int, Usage]
) -> Exceeded | None:
    """Returns the refusal of the tightest budget that cannot take this much more."""
    too_much = [
        (room(budget) - used[budget.id], reservation.amount, budget)
        for reservation, budget in claimed
        if 0 < reservation.amount > room(budget) - used[budget.id]
    ]
    if not too_much:
        return None
    _, amount, tightest = min(too_much, key=lambda found: found[0])
    spent = usage[tightest.id].spent
    return Exceeded(budget=tightest, spent=spent, reserved=used[tightest.id] - spent, price=amount)


def notice_due(budget: Budget, used: Decimal) -> int:
    """Returns the notice that is due when so much is used: `OVERRUN`, one of `NOTICE_PERCENTS`, or 0 for none."""
    if budget.is_hard and used > budget.limit:
        return OVERRUN
    reached = (percent for percent in NOTICE_PERCENTS if used > 0 and used * 100 >= budget.limit * percent)
    return max(reached, default=0)


def notice(budget: Budget, usage: Usage, due: int) -> str:
    """Returns the words of a notice."""
    used, limit = Money(usage.total, budget.currency), Money(budget.limit, budget.currency)
    whole = f"{used} of {limit} {EVERY_PERIOD[budget.period]}"
    if due == OVERRUN:
        reason = "images cost more than was estimated, or the limit was lowered"
        return f"Budget {budget.name}: {whole} are used; {reason}. Nothing more is accepted."
    consequence = " Nothing more is accepted." if budget.is_hard and due == NOTICE_PERCENTS[-1] else ""
    return f"Budget {budget.name}: {due} % reached, {whole} are used.{consequence}"


class BudgetExceededError(BridgeError):
    """A request would exceed a hard budget, or one whose sum has no more digits. `exceeded` says which one."""

    def __init__(self, exceeded: Exceeded) -> None:
        budget = exceeded.budget
        left = max(Decimal(0), budget.limit - exceeded.spent - exceeded.reserved)
        super().__init__(
            "budget_exceeded",
            f"The image would cost {Money(exceeded.price, budget.currency)}, and the budget {budget.name!r} of "
            f"{Money(budget.limit, budget.currency)} {EVERY_PERIOD[budget.period]} has "
            f"{Money(left, budget.currency)} left.",
        )
        self.exceeded = exceeded


class RateMissingError(BridgeError):
    """The price of a request is in another currency than a hard budget, and no rate between them is set."""

    def __init__(self, unconvertible: Unconvertible) -> None:
        budget, currency = unconvertible.budget, unconvertible.currency
        super().__init__(
            "rate_missing",
            f"The model's price is in {currency}, and the budget {budget.name!r} in {budget.currency}. "
            f"AIGEN_MONEY__RATES has no rate between them.",
        )


class UnknownBudgetError(BridgeError):
    """There is no such budget."""

    def __init__(self, name: str) -> None:
        super().__init__("budget_unknown", f"There is no budget {name!r}.")


class UnknownTimeZoneError(ContradictionError):
    """The database does not know a time zone, so it cannot tell the day or month of a request."""

    def __init__(self, name: str) -> None:
        super().__init__(
            "time_zone_unknown",
            f"PostgreSQL does not know the time zone {name!r} of AIGEN_MONEY__TIME_ZONE.",
        )


class BudgetNameTakenError(ContradictionError):
    """Another Odoo, or all together, have a budget with this name."""

    def __init__(self, name: str) -> None:
        super().__init__("budget_name_taken", f"Another budget, which you may not see, has the name {name!r}.")


class OldAddonError(ContradictionError):
    """An Odoo has an addon whose queue would stop behind a refusal for money."""

    def __init__(self, versions: Mapping[str, str | None]) -> None:
        found = ", ".join(f"{odoo} has {version or 'one that names no version'}" for odoo, version in versions.items())
        super().__init__(
            "addon_too_old",
            f"The Odoo addon must have version {LEAST_ADDON} or later: an older one treats a refused request as one to "
            f"try again, and everything that people ask for afterwards waits behind it. {found}.",
        )


LEAST_ADDON = "1.5.0"
"""The first version of the addon that goes past a request which is refused for money."""


def is_too_old(addon: str | None) -> bool:
    """Returns whether an addon of this version must not meet a budget. None: it named no version."""
    return is_older(addon, LEAST_ADDON)
