"""Usage on the wire: the period that is asked for, and the sums as JSON or CSV."""

import csv
import io
import re
from collections.abc import Sequence
from datetime import date, datetime, time
from typing import Annotated
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError, Rfc3339DateTime, WireModel, to_utc
from aigen_bridge.domain.money import amount_text
from aigen_bridge.domain.usage import GroupBy, UsageFilter, Used, month_after, month_of

TIMES = "a date such as 2026-01-31, or a time with its zone such as 2026-01-31T12:00:00Z"
COLUMNS = ("key", "currency", "spent", "estimated", "reserved", "images", "failures")
"""The columns of the CSV."""

_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_time: TypeAdapter[datetime] = TypeAdapter(Rfc3339DateTime)
_Amount = Annotated[str, Field(description="a decimal in a text, such as `0.035`")]


class UsageItem(WireModel):
    """What was used in one currency. Amounts of different currencies are never added."""

    key: str | None = Field(None, description="what the usage is grouped by; null for requests without such a thing")
    currency: str | None = Field(None, description="null for requests without a price and a cost")
    spent: _Amount
    estimated: _Amount = Field(description="the part of `spent` that was not reported as billed")
    reserved: _Amount = Field(description="the estimates of requests that have not ended")
    images: int = Field(description="requests that have an image")
    failures: int = Field(description="requests that failed")

    @classmethod
    def of(cls, used: Used) -> "UsageItem":
        """Returns sums in the form of the API."""
        return cls(
            key=used.key,
            currency=used.currency,
            spent=amount_text(used.spent),
            estimated=amount_text(used.estimated),
            reserved=amount_text(used.reserved),
            images=used.images,
            failures=used.failures,
        )


class UsageReport(WireModel):
    """What was used by requests that were accepted in a period."""

    since: AwareDatetime = Field(alias="from", description="the beginning of the period")
    until: AwareDatetime = Field(alias="to", description="the end of the period, which does not belong to it")
    group_by: GroupBy | None = Field(None, description="what `key` is")
    items: list[UsageItem] = Field(description="sorted by key, then by currency")

    @classmethod
    def of(cls, wanted: UsageFilter, used: Sequence[Used]) -> "UsageReport":
        """Returns the usage in the form of the API."""
        items = [UsageItem.of(each) for each in used]
        return cls(since=wanted.since, until=wanted.until, group_by=wanted.group_by, items=items)

    def csv(self) -> str:
        """Returns the items as CSV (RFC 4180), with a header line. What is null is empty."""
        written = io.StringIO()
        lines = csv.DictWriter(written, COLUMNS)
        lines.writeheader()
        lines.writerows(item.model_dump() for item in self.items)
        return written.getvalue()


def usage_filter(
    since: str | None,
    until: str | None,
    group_by: GroupBy | None,
    odoo: str | None,
    *,
    now: datetime,
    time_zone: str,
) -> UsageFilter:
    """Returns what is asked for. A date is its midnight in the time zone; the default is the current month.

    Raises `InvalidMessageError`.
    """
    zone = ZoneInfo(time_zone)
    here = now.astimezone(zone)
    beginning = _parse("from", since, zone) if since is not None else None
    if until is not None:
        end = _parse("to", until, zone)
    else:
        end = to_utc(month_after(max(here, _local(beginning, zone) or here)))
    if beginning is None:
        beginning = to_utc(month_of(here))
    if beginning >= end:
        raise _wrong("to", until, f"a time after {beginning.isoformat()}", "is not after the beginning")
    return UsageFilter(since=beginning, until=end, group_by=group_by, odoo=odoo, time_zone=time_zone)


def _local(at: datetime | None, zone: ZoneInfo) -> datetime | None:
    try:
        return at.astimezone(zone) if at else None
    except OverflowError:
        return at


def _parse(field: str, written: str, zone: ZoneInfo) -> datetime:
    try:
        if _DATE.fullmatch(written):
            return to_utc(datetime.combine(date.fromisoformat(written), time(), zone))
        return _time.validate_python(written)
    except (ValueError, ValidationError):
        raise _wrong(field, written, TIMES, f"must be {TIMES}") from None


def _wrong(field: str, sent: str | None, allowed: str, message: str) -> InvalidMessageError:
    shown = sent[:100] if sent is not None else None
    return InvalidMessageError("The call", [FieldError(field=field, sent=shown, allowed=allowed, message=message)])
