"""Checks the catalogue of models: every entry can be read, and budgets count every model."""

from collections.abc import Iterable

from aigen_bridge.doctor.finding import Finding, ok, warning, wrong
from aigen_bridge.doctor.subject import Subject
from aigen_bridge.domain.catalogue import NAMED_MAX, Catalogue

PUT = "'aigen-bridge models put --file FILE'"


async def look_at_models(subject: Subject) -> list[Finding]:
    """Every entry can be read. If there are budgets, every model has a price."""
    catalogue = await subject.opened.catalogue()
    findings = _unreadable(catalogue)
    if await subject.opened.has_budgets():
        findings += _without_price(catalogue)
    return findings or [ok("models", _summary(catalogue))]


def _unreadable(catalogue: Catalogue) -> list[Finding]:
    found = "The entry of model {} cannot be read ({}), so requests for it are refused."
    advice = f"Put it again with {PUT}, or remove it."
    return [wrong("models", found.format(name, why), advice) for name, why in catalogue.unreadable.items()]


def _without_price(catalogue: Catalogue) -> list[Finding]:
    if catalogue.is_empty:
        found = "There are budgets, but the catalogue is empty, so no request has a price and no budget holds."
        return [warning("models", found, f"Put the models with their prices: {PUT}.")]
    names = [model.name for model in catalogue.by_name() if model.is_active and model.price is None]
    if not names:
        return []
    found = f"There are budgets, which do not count these models, because they have no price: {_list(names)}."
    return [warning("models", found, f"Put them with a price: {PUT}.")]


def _list(names: Iterable[str]) -> str:
    listed = list(names)
    more = len(listed) - NAMED_MAX
    return ", ".join(listed[:NAMED_MAX]) + (f", and {more} more" if more > 0 else "")


def _summary(catalogue: Catalogue) -> str:
    if catalogue.is_empty:
        return "The catalogue is empty: requests for any model are accepted."
    active = sum(model.is_active for model in catalogue.models.values())
    return f"{len(catalogue.models)} in the catalogue, {active} offered for new requests."
