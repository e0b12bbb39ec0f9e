"""Budgets on the wire: as they are put and listed, and in the problem document of a request that one refuses."""

from datetime import datetime
from decimal import Decimal
from typing import Any, Literal

from pydantic import ConfigDict, Field, SerializerFunctionWrapHandler, model_serializer

from aigen_bridge.contracts.amounts import CURRENCY, Amount, Currency
from aigen_bridge.contracts.v1 import NotBlank, Uuid
from aigen_bridge.contracts.wire import Problem, WireModel
from aigen_bridge.domain.budget import Budget, BudgetState, Exceeded, Period, Purpose
from aigen_bridge.domain.money import PLACES, WHOLE_DIGITS, amount_text, parse_amount
from aigen_bridge.domain.queues import ODOO_NAME

NAME_PATTERN = r"^[a-z0-9][a-z0-9-]{0,62}$"
CONTACT_MAX = 200
AMOUNT = "a decimal in a text, such as `100.00`"
PERIOD = "`day` or `month` of the calendar, or `total`; that of the acceptance counts"
KIND = "`hard` refuses what would exceed the limit; `soft` only tells people that it is reached"

Kind = Literal["hard", "soft"]


class BudgetMatch(WireModel):
    """Which requests a budget counts: those that have all of these. Without any, every request."""

    model_config = ConfigDict(extra="forbid")

    odoo: str | None = Field(None, pattern=f"^{ODOO_NAME}$", description="the name of an Odoo in the settings")
    user_id: Uuid | None = Field(None, strict=False, description="the UUID of the user who requests the image")
    campaign_id: Uuid | None = Field(None, strict=False, description="the UUID of a campaign")
    model_id: Uuid | None = Field(None, strict=False, description="the UUID of a model")

    @classmethod
    def of(cls, purpose: Purpose) -> "BudgetMatch":
        """Returns a purpose in the form of the API."""
        return cls(
            odoo=purpose.odoo,
            user_id=purpose.user_id,
            campaign_id=purpose.campaign_id,
            model_id=purpose.model_id,
        )

    @model_serializer(mode="wrap")
    def _given_only(self, serialize: SerializerFunctionWrapHandler) -> dict[str, str]:
        return {key: value for key, value in serialize(self).items() if value is not None}

    def purpose(self) -> Purpose:
        """Returns it in the form of the domain."""
        return Purpose(odoo=self.odoo, user_id=self.user_id, campaign_id=self.campaign_id, model_id=self.model_id)


class BudgetTerms(WireModel):
    """A limit for the requests that `match` in each period."""

    model_config = ConfigDict(extra="forbid")

    limit: Amount = Field(
        description=f"{AMOUNT}: from 0, with at most {WHOLE_DIGITS} digits before the point and {PLACES} after it"
    )
    currency: Currency = Field(description=f"{CURRENCY}. A budget counts in its own currency")
    period: Period = Field(strict=False, description=PERIOD)
    kind: Kind = Field("hard", description=KIND)
    match: BudgetMatch = Field(
        BudgetMatch(), description="an object with any of odoo, userId, campaignId and modelId; empty: every request"
    )
    contact: NotBlank | None = Field(
        None, max_length=CONTACT_MAX, description="whom a person can ask whose request is refused; it is shown"
    )

    def budget(self, name: str, time_zone: str) -> Budget:
        """Returns it in the form of the domain, with no id yet."""
        limit = parse_amount(self.limit)
        assert limit is not None  # noqa: S101 - checked by the field
        return Budget(
            id=0,
            name=name,
            limit=limit,
            currency=self.currency,
            period=self.period,
            time_zone=time_zone,
            is_hard=self.kind == "hard",
            purpose=self.match.purpose(),
            contact=self.contact,
        )


class BudgetResource(WireModel):
    """A budget, and how much of it is used in the current period."""

    name: str = Field(description="as in its path")
    limit: str = Field(description=AMOUNT)
    currency: str = Field(description=CURRENCY)
    period: Period = Field(description=PERIOD)
    kind: Kind = Field(description=KIND)
    match: BudgetMatch = Field(description="which requests it counts; empty: every request")
    contact: str | None = Field(None, description="whom to ask; null if nobody is named")
    time_zone: str = Field(description="in which days and months begin; that of the settings when it was put")
    period_start: datetime | None = Field(None, description="when the current period began; null for `total`")
    period_end: datetime | None = Field(None, description="when the next period begins; null for `total`")
    spent: str = Field(description="what the images of this period cost so far")
    reserved: str = Field(description="what the requests of this period that have not ended are estimated to cost")
    left: str = Field(description="what remains of the limit, at least `0.00`")
    updated_at: datetime = Field(description="when the budget was last changed")

    @classmethod
    def of(cls, state: BudgetState) -> "BudgetResource":
        """Returns a budget in the form of the API."""
        return cls(**_values(state))


class BudgetPut(BudgetResource):
    """A budget that was put. `remarks` say what is allowed, but may not be meant."""

    remarks: list[str] = Field(description="sentences for people; empty if there is nothing to say")

    @classmethod
    def made(cls, state: BudgetState, remarks: list[str]) -> "BudgetPut":
        """Returns a budget in the form of the API."""
        return cls(**_values(state), remarks=remarks)


class BudgetList(WireModel):
    """Budgets, by name."""

    items: list[BudgetResource] = Field(description="sorted by name")

    @classmethod
    def of(cls, states: list[BudgetState]) -> "BudgetList":
        """Returns budgets in the form of the API."""
        return cls(items=[BudgetResource.of(state) for state in states])


class BudgetFacts(WireModel):
    """What a person needs to know about a refusal. The amounts are in the currency of the budget."""

    budget: str = Field(description="the name of the budget that refuses the request")
    limit: str = Field(description="the most in each period")
    spent: str = Field(description="what images cost so far")
    reserved: str = Field(description="what the requests that have not ended are estimated to cost")
    price: str = Field(description="what this request is estimated to cost")
    currency: str = Field(description=CURRENCY)
    period: Period = Field(description=PERIOD)
    contact: str | None = Field(description="whom to ask; null if nobody is named")

    @classmethod
    def of(cls, exceeded: Exceeded) -> "BudgetFacts":
        """Returns a refusal in the form of the API."""
        budget = exceeded.budget
        return cls(
            budget=budget.name,
            limit=amount_text(budget.limit),
            spent=amount_text(exceeded.spent),
            reserved=amount_text(exceeded.reserved),
            price=amount_text(exceeded.price),
            currency=budget.currency,
            period=budget.period,
            contact=budget.contact,
        )


class BudgetProblem(Problem, BudgetFacts):
    """The problem document of a request that would exceed a budget (`budget_exceeded`)."""


def _values(state: BudgetState) -> dict[str, Any]:
    budget, usage = state.budget, state.usage
    return {
        "name": budget.name,
        "limit": amount_text(budget.limit),
        "currency": budget.currency,
        "period": budget.period,
        "kind": "hard" if budget.is_hard else "soft",
        "match": BudgetMatch.of(budget.purpose),
        "contact": budget.contact,
        "time_zone": budget.time_zone,
        "period_start": None if state.period_end is None else usage.period_start,
        "period_end": state.period_end,
        "spent": amount_text(usage.spent),
        "reserved": amount_text(usage.reserved),
        "left": amount_text(max(Decimal(0), budget.limit - usage.total)),
        "updated_at": state.updated_at,
    }
