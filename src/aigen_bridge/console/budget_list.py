"""The rows of the list of budgets: what is used of each, as exact amounts and as shares for the bars."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from uuid import UUID

from aigen_bridge.console import budget_form
from aigen_bridge.domain.budget import EVERY_PERIOD, BudgetState

WHOLE = Decimal(100)
"""Percent."""
NEARLY = Decimal(80)
"""The percent from which a budget counts as nearly used. People are told at the same."""


class Order(StrEnum):
    """How the list is sorted."""

    NAME = "name"
    USED = "used"


@dataclass(frozen=True, slots=True)
class Matched:
    """A condition of a budget. `name` is that of the thing, where it is known.

    `parameter` finds the requests of the thing on the page of requests.
    """

    what: str
    value: str
    name: str | None = None
    parameter: str | None = None


@dataclass(frozen=True, slots=True)
class BudgetRow:
    """A budget in the list. `spent_share` and `reserved_share` are percents, and together at most 100."""

    state: BudgetState
    matched: tuple[Matched, ...]
    left: Decimal
    over: Decimal
    used_share: Decimal
    spent_share: Decimal
    reserved_share: Decimal
    seen: str

    @property
    def every(self) -> str:
        """How the limit applies, such as `a month`."""
        return EVERY_PERIOD[self.state.budget.period]

    @property
    def words(self) -> tuple[str, str] | None:
        """What an operator should know, with its tone; None if there is enough left."""
        if self.over:
            return "over the limit", "bad"
        if self.used_share >= WHOLE:
            return "nothing left", "bad" if self.state.budget.is_hard else "warn"
        return (f"{int(self.used_share)} % used", "warn") if self.used_share >= NEARLY else None

    def has(self, words: Iterable[str]) -> bool:
        """Returns whether every word occurs in what the row shows."""
        budget = self.state.budget
        shown = [budget.name, budget.contact or "", budget.currency, *self._matched_texts()]
        text = "\n".join(shown).casefold()
        return all(word in text for word in words)

    def _matched_texts(self) -> Iterable[str]:
        return (text for each in self.matched for text in (each.what, each.value, each.name or ""))


def row(state: BudgetState, models: Mapping[UUID, str]) -> BudgetRow:
    """Returns the row of a budget. `models` are the names that are known."""
    limit, usage = state.budget.limit, state.usage
    spent = share(usage.spent, limit)
    return BudgetRow(
        state=state,
        matched=tuple(_matched(state, models)),
        left=max(Decimal(0), limit - usage.total),
        over=max(Decimal(0), usage.total - limit),
        used_share=share(usage.total, limit),
        spent_share=spent,
        reserved_share=max(Decimal(0), share(usage.total, limit) - spent),
        seen=budget_form.original(state).text(),
    )


def share(part: Decimal, whole: Decimal) -> Decimal:
    """Returns how many percent of the whole a part is, from 0 to 100, rounded down. Of nothing, all is used."""
    if part >= whole:
        return WHOLE
    return (max(Decimal(0), part) * WHOLE / whole).quantize(Decimal("0.01"), rounding="ROUND_DOWN")


def select(rows: Iterable[BudgetRow], text: str, order: Order) -> list[BudgetRow]:
    """Returns the rows with these words, in this order."""
    found = [each for each in rows if each.has(text.casefold().split())]
    if order is Order.USED:
        found.sort(key=lambda each: (-each.used_share, -each.over, each.state.budget.name))
    return found


def _matched(state: BudgetState, models: Mapping[UUID, str]) -> Iterable[Matched]:
    purpose = state.budget.purpose
    if purpose.odoo is not None:
        yield Matched("Odoo", purpose.odoo, purpose.odoo)
    if purpose.model_id is not None:
        yield Matched("model", str(purpose.model_id), models.get(purpose.model_id))
    if purpose.campaign_id is not None:
        yield Matched("campaign", str(purpose.campaign_id), parameter="campaignId")
    if purpose.user_id is not None:
        yield Matched("user", str(purpose.user_id), parameter="userId")
