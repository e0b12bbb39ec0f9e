"""Putting a budget: what is refused, and what is allowed but may not be meant."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.budget import Budget, BudgetState, OldAddonError, Purpose, is_too_old
from aigen_bridge.domain.catalogue import Catalogue, Model
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.money import Money, Rates, rate
from aigen_bridge.domain.seen import Seen


class Store(Protocol):
    """The budgets."""

    async def put(self, budget: Budget, action: OperatorAction, seen: Seen | None = None) -> None: ...

    async def state(self, name: str, odoo: str | None = None) -> BudgetState: ...

    async def states(self, odoo: str | None = None) -> list[BudgetState]: ...

    async def is_used(self, purpose: Purpose) -> bool: ...


class Models(Protocol):
    """The catalogue of models as it is now."""

    async def read(self) -> Catalogue: ...


class Addons(Protocol):
    """The version of each Odoo's addon; None if it named none."""

    async def known(self) -> Mapping[str, str | None]: ...


@dataclass(frozen=True, slots=True)
class BudgetChanges:
    """Puts budgets. `odoos` are those of the settings."""

    store: Store
    models: Models
    addons: Addons
    odoos: Collection[str]
    rates: Rates

    async def put(
        self, budget: Budget, action: OperatorAction, *, force: bool, seen: Seen | None = None
    ) -> tuple[BudgetState, list[str]]:
        """Adds or changes a budget. Returns it, and remarks.

        Raises `InvalidMessageError` if it cannot work, and, without `force`, `OldAddonError` while an Odoo has an addon
        that does not know how to be refused for money. With `seen`, raises `ChangedMeanwhileError` if the operator saw
        another state of it.
        """
        models = await self.models.read()
        if errors := self._errors(budget, action.odoo, models):
            raise InvalidMessageError("The budget", errors)
        if not force:
            await self._refuse_old_addons()
        await self.store.put(budget, action, seen)
        state = await self.store.state(budget.name)
        return state, await self._remarks(state, models, action.odoo)

    def _errors(self, budget: Budget, odoo: str | None, catalogue: Catalogue) -> list[FieldError]:
        purpose, errors = budget.purpose, []
        if odoo not in {None, purpose.odoo}:
            errors.append(FieldError(field="match.odoo", allowed=odoo, message=f"must be {odoo}, your Odoo"))
        if purpose.odoo is not None and purpose.odoo not in self.odoos:
            known = ", ".join(sorted(self.odoos))
            errors.append(FieldError(field="match.odoo", sent=purpose.odoo, allowed=known, message="is not known"))
        if purpose.model_id and not catalogue.is_empty and not _has(catalogue, purpose.model_id):
            sent, allowed = str(purpose.model_id), "the id of a model in the catalogue"
            errors.append(FieldError(field="match.modelId", sent=sent, allowed=allowed, message="is not known"))
        unconvertible = [model for model in _counted(budget, catalogue) if not self._can_count(budget, model)]
        if unconvertible:
            message = f"cannot be compared with the price of {_named(unconvertible)}: AIGEN_MONEY__RATES has no rate"
            errors.append(FieldError(field="currency", sent=budget.currency, message=message))
        return errors

    async def _refuse_old_addons(self) -> None:
        known = await self.addons.known()
        old = {odoo: version for odoo, version in known.items() if odoo in self.odoos and is_too_old(version)}
        if old:
            raise OldAddonError(old)

    async def _remarks(self, state: BudgetState, catalogue: Catalogue, odoo: str | None) -> list[str]:
        budget, remarks = state.budget, []
        if state.usage.total > budget.limit:
            remarks.append(
                f"{Money(state.usage.total, budget.currency)} are used already, which is more than the limit."
            )
        if budget.purpose != Purpose() and not await self.store.is_used(budget.purpose):
            remarks.append("It has counted no request so far. Check the ids in match.")
        twins = [each.budget for each in await self.store.states(odoo) if _is_twin(each.budget, budget)]
        if twins:
            names = ", ".join(sorted(twin.name for twin in twins))
            remarks.append(f"Other budgets count the same requests in the same period; the tightest decides: {names}.")
        counted = _counted(budget, catalogue)
        if unpriced := [model for model in counted if model.price is None]:
            remarks.append(f"{_named(unpriced)}: without a price, so no budget counts it.")
        return remarks

    def _can_count(self, budget: Budget, model: Model) -> bool:
        price = model.price
        return not (price and price.amount) or rate(self.rates, price.currency, budget.currency) is not None


def _has(catalogue: Catalogue, model_id: UUID) -> bool:
    return model_id in catalogue.models or model_id in catalogue.unreadable


def _counted(budget: Budget, catalogue: Catalogue) -> list[Model]:
    """Returns the active models whose requests the budget can count."""
    wanted = budget.purpose.model_id
    return [each for each in catalogue.models.values() if each.is_active and wanted in {None, each.model_id}]


def _is_twin(one: Budget, other: Budget) -> bool:
    return (one.purpose, one.period) == (other.purpose, other.period) and one.name != other.name


def _named(models: list[Model]) -> str:
    return ", ".join(sorted(repr(model.name) for model in models))
