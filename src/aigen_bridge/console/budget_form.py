"""The form of a budget. Amounts stay texts from end to end."""

import json
import re
from collections.abc import Mapping
from typing import Any

from aigen_bridge.console.editing import Draft, Original
from aigen_bridge.console.form import Form
from aigen_bridge.contracts.budgets import NAME_PATTERN, BudgetMatch, BudgetTerms
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.budget import BudgetState, Period
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.domain.money import amount_text

NAME = "name"
FIELDS: Mapping[str, str] = {
    "limit": "Limit",
    "currency": "Currency",
    "period": "Period",
    "kind": "When it is reached",
    "match.odoo": "Odoo",
    "match.modelId": "Model",
    "match.campaignId": "Campaign id",
    "match.userId": "User id",
    "contact": "Contact",
}
"""The fields of the form by their paths in the terms of a budget, with their labels."""
LABELS = {NAME: "Name", **FIELDS}


def original(state: BudgetState | None) -> Original:
    """Returns what the form of a budget changes; None: of a new one."""
    if state is None:
        return Original()
    budget = state.budget
    terms = {
        "limit": amount_text(budget.limit),
        "currency": budget.currency,
        "period": budget.period.value,
        "kind": "hard" if budget.is_hard else "soft",
        "match": BudgetMatch.of(budget.purpose).model_dump(mode="json", by_alias=True),
        "contact": budget.contact,
    }
    return Original(state.updated_at, terms)


def opened(found: Original, name: str, odoo: str | None) -> Draft:
    """Returns the form as it is opened. An operator of one Odoo adds budgets for that Odoo."""
    terms = found.entry or {"period": Period.MONTH.value, "kind": "hard", "match": {"odoo": odoo}}
    texts = {field: _at(terms, field) for field in FIELDS}
    return Draft(texts | {NAME: name}, found, LABELS)


def sent(form: Form) -> Draft:
    """Returns the form as it was sent. Raises `WrongFormError`."""
    return Draft({name: form.text(name) for name in LABELS}, Original.sent(form), LABELS)


def parse(draft: Draft) -> BudgetTerms:
    """Returns the terms that a form stands for. Raises `InvalidMessageError`."""
    return parse_body(json.dumps(_wire(draft)).encode(), BudgetTerms)


def parse_name(draft: Draft) -> str:
    """Returns the name of a new budget. Raises `InvalidMessageError`."""
    if re.fullmatch(NAME_PATTERN, draft.texts[NAME]):
        return draft.texts[NAME]
    message = "must be lower-case letters, digits and -, at most 63, such as marketing"
    raise InvalidMessageError("The form", [FieldError(field=NAME, message=message)])


def in_force(draft: Draft) -> Mapping[str, Any]:
    """Returns what a valid form would store, to show it beside what others changed."""
    try:
        terms = parse(draft)
    except BridgeError:
        return {}
    return terms.model_dump(mode="json", by_alias=True)


def _wire(draft: Draft) -> dict[str, Any]:
    terms: dict[str, Any] = {"match": {}}
    for field in FIELDS:
        root, _, inner = field.partition(".")
        if text := draft.texts[field]:
            (terms[root] if inner else terms)[inner or root] = text
    return terms


def _at(terms: Mapping[str, Any], field: str) -> str:
    root, _, inner = field.partition(".")
    value = terms.get(root)
    return str((value or {}).get(inner) or "" if inner else value or "")
