"""The page of usage: the period and the grouping that were asked for, and the sums by currency.

Amounts of different currencies are never added or compared, so each currency has a table of its own.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from urllib.parse import urlencode
from uuid import UUID
from zoneinfo import ZoneInfo

from aigen_bridge.console.budget_list import share
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.usage import usage_filter
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.money import exact_sum
from aigen_bridge.domain.usage import GroupBy, UsageFilter, Used, month_after, month_of

ROWS_MAX = 200
"""Rows of one table. The CSV has all."""

PARAMETERS: Mapping[GroupBy, str] = {
    GroupBy.USER: "userId",
    GroupBy.CAMPAIGN: "campaignId",
    GroupBy.MODEL: "modelId",
    GroupBy.ODOO: "odoo",
}
"""The parameters with which the page of requests finds those of a row."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The query of the page as it was typed."""

    since: str = ""
    until: str = ""
    group_by: str = ""
    odoo: str = ""

    def filter(self, only: str | None, *, now: datetime, time_zone: str) -> UsageFilter:
        """Returns what is asked for. With `only`, of this Odoo alone. Raises `InvalidMessageError`."""
        group_by = self._group_by()
        since, until, odoo = self.since or None, self.until or None, only or self.odoo or None
        return usage_filter(since, until, group_by, odoo, now=now, time_zone=time_zone)

    def _group_by(self) -> GroupBy | None:
        try:
            return GroupBy(self.group_by) if self.group_by else None
        except ValueError:
            allowed = ", ".join(GroupBy)
            message = f"must be one of: {allowed}"
            raise InvalidMessageError("The call", [FieldError(field="groupBy", message=message)]) from None


@dataclass(frozen=True, slots=True)
class UsageRow:
    """What one thing used. `spent_share` and `reserved_share` compare it with the greatest of the table, in percent."""

    used: Used
    name: str | None
    spent_share: Decimal
    reserved_share: Decimal


@dataclass(frozen=True, slots=True)
class CurrencyTable:
    """What was used in one currency; None: without a price and a cost. `more` is the number of rows left out."""

    currency: str | None
    total: Used
    rows: Sequence[UsageRow]
    more: int


@dataclass(frozen=True, slots=True)
class Preset:
    """A period that people ask for often, as the texts of the form."""

    label: str
    since: str
    until: str


def tables(found: Iterable[Used], group_by: GroupBy | None, names: Mapping[UUID, str]) -> list[CurrencyTable]:
    """Returns a table for each currency. Days are in their order, other things by what they used."""
    by_currency: dict[str | None, list[Used]] = {}
    for used in found:
        by_currency.setdefault(used.currency, []).append(used)
    ordered = sorted(by_currency.items(), key=lambda item: (item[0] is None, item[0] or ""))
    return [_table(currency, items, group_by, names) for currency, items in ordered]


def _table(
    currency: str | None, items: list[Used], group_by: GroupBy | None, names: Mapping[UUID, str]
) -> CurrencyTable:
    if group_by is not GroupBy.DAY:
        items = sorted(items, key=lambda used: (-_both(used), -used.images, -used.failures, used.key or ""))
    greatest = max((_both(used) for used in items), default=Decimal(0))
    rows = [_row(used, greatest, _name(used.key, group_by, names)) for used in items[:ROWS_MAX]]
    return CurrencyTable(currency, total(items), rows if group_by else [], max(0, len(items) - ROWS_MAX))


def _row(used: Used, greatest: Decimal, name: str | None) -> UsageRow:
    if not greatest:
        return UsageRow(used, name, Decimal(0), Decimal(0))
    spent = share(used.spent, greatest)
    return UsageRow(used, name, spent, max(Decimal(0), share(_both(used), greatest) - spent))


def total(items: Sequence[Used]) -> Used:
    """Returns the exact sums of what was used in one currency."""
    return Used(
        key=None,
        currency=items[0].currency,
        spent=exact_sum(used.spent for used in items),
        estimated=exact_sum(used.estimated for used in items),
        reserved=exact_sum(used.reserved for used in items),
        images=sum(used.images for used in items),
        failures=sum(used.failures for used in items),
    )


def _both(used: Used) -> Decimal:
    return used.spent + used.reserved


def requests_url(key: str, wanted: UsageFilter) -> str | None:
    """Returns the page with the requests behind a row; None for a day, and for what is none."""
    parameter = PARAMETERS.get(wanted.group_by) if wanted.group_by and key else None
    if parameter is None:
        return None
    period = {"createdAfter": wanted.since.isoformat(), "createdBefore": wanted.until.isoformat()}
    odoo = {"odoo": wanted.odoo} if wanted.odoo else {}
    return f"/console/requests?{urlencode({**odoo, parameter: key, **period})}"


def _name(key: str | None, group_by: GroupBy | None, names: Mapping[UUID, str]) -> str | None:
    return names.get(UUID(key)) if group_by is GroupBy.MODEL and key else None


def presets(now: datetime, time_zone: str) -> list[Preset]:
    """Returns periods of whole days in the time zone."""
    here = now.astimezone(ZoneInfo(time_zone))
    today, this_month = here.date(), month_of(here).date()
    last_month = (this_month - timedelta(days=1)).replace(day=1)
    tomorrow, next_month = today + timedelta(days=1), month_after(here).date()
    return [
        _preset("Today", today, tomorrow),
        _preset("Last 7 days", today - timedelta(days=6), tomorrow),
        _preset("Last 30 days", today - timedelta(days=29), tomorrow),
        _preset("This month", this_month, next_month),
        _preset("Last month", last_month, this_month),
    ]


def _preset(label: str, since: date, until: date) -> Preset:
    return Preset(label, since.isoformat(), until.isoformat())


def day_text(at: datetime, time_zone: str) -> str:
    """Returns a time for its field: as a date if it is a midnight in the time zone."""
    try:
        here = at.astimezone(ZoneInfo(time_zone))
    except OverflowError:  # the beginning or the end of time
        return at.isoformat()
    is_midnight = (here.hour, here.minute, here.second, here.microsecond) == (0, 0, 0, 0)
    return here.date().isoformat() if is_midnight else at.isoformat()
