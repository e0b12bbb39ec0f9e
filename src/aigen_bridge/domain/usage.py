"""Usage: what was spent and reserved by requests that were accepted in a period, summed from the ledger."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum


class GroupBy(StrEnum):
    """By what usage is grouped."""

    USER = "user"
    CAMPAIGN = "campaign"
    MODEL = "model"
    DAY = "day"
    ODOO = "odoo"


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageFilter:
    """Selects requests that were accepted from `since` to before `until`, of every Odoo if `odoo` is None.

    Days begin at midnight in `time_zone`.
    """

    since: datetime
    until: datetime
    group_by: GroupBy | None = None
    odoo: str | None = None
    time_zone: str = "UTC"


@dataclass(frozen=True, slots=True, kw_only=True)
class Used:
    """What was used in one currency. `estimated` is the part of `spent` that was not reported as billed.

    `key` is what the usage is grouped by; None for requests without such a thing. `currency` is None for requests
    without a price and a cost.
    """

    key: str | None
    currency: str | None
    spent: Decimal
    estimated: Decimal
    reserved: Decimal
    images: int
    failures: int


def month_of(at: datetime) -> datetime:
    """Returns the beginning of the month, in the time zone of `at`."""
    return at.replace(day=1, hour=0, minute=0, second=0, microsecond=0, fold=0)


def month_after(at: datetime) -> datetime:
    """Returns the beginning of the next month, in the time zone of `at`; the end of time after the last month."""
    try:
        return month_of(month_of(at) + timedelta(days=32))
    except OverflowError:
        return datetime.max.replace(tzinfo=at.tzinfo)
