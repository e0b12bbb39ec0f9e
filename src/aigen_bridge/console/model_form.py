"""The form of a model: the usual fields, or the JSON of the whole entry. Amounts stay texts from end to end."""

import json
import re
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from aigen_bridge.console.editing import Draft, Original
from aigen_bridge.console.form import Form
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.models import ModelEntry, model_resource
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.catalogue import Model, PriceUnit
from aigen_bridge.domain.errors import BridgeError

ID, JSON = "modelId", "json"
FIELDS: Mapping[str, str] = {
    "name": "Name",
    "description": "Description",
    "provider.kind": "Provider",
    "provider.endpoint": "Endpoint",
    "price.amount": "Price",
    "price.currency": "Currency",
    "price.per": "For each",
    "resolutions": "Resolutions",
    "format": "Format",
    "steps.min": "Least steps",
    "steps.max": "Most steps",
    "steps.default": "Usual steps",
    "cfgScale.min": "Least guidance",
    "cfgScale.max": "Most guidance",
    "cfgScale.default": "Usual guidance",
    "supports.negativePrompt": "Uses negative prompts",
    "supports.seed": "Uses seeds",
    "active": "Offered for new requests",
}
"""The fields of the form by their paths in an entry, with their labels. The JSON has the rest (`loras`)."""
NUMBERS, CHECKS = ("steps", "cfgScale"), ("supports.negativePrompt", "supports.seed", "active")
YES = "on"
"""The value of a checked box."""

_WHOLE = re.compile(r"-?\d{1,15}", re.ASCII)
_DECIMAL = re.compile(r"-?\d{1,15}(\.\d{1,17})?(e-?\d{1,2})?", re.ASCII)


def original(model: Model | None) -> Original:
    """Returns what the form of a model changes; None: of a new one."""
    if model is None:
        return Original()
    entry = model_resource(model)
    return Original(model.updated_at, entry.stored() | {"active": entry.active})


def opened(found: Original, model_id: UUID, *, as_json: bool = False) -> Draft:
    """Returns the form as it is opened."""
    entry = found.entry or {"provider": {"kind": "fal"}, "supports": {"seed": True}, "active": True}
    texts = {name: _text(_at(entry, name)) for name in FIELDS}
    texts["price.per"] = texts["price.per"] or PriceUnit.IMAGE.value
    written = json.dumps(entry, indent=2, ensure_ascii=False)
    return Draft(texts | {JSON: written, ID: str(model_id)}, found, _labels(as_json=as_json))


def sent(form: Form, *, as_json: bool = False) -> Draft:
    """Returns the form as it was sent. Raises `WrongFormError`."""
    texts = {name: form.text(name).replace("\r\n", "\n") for name in (*FIELDS, JSON, ID)}
    return Draft(texts, Original.sent(form), _labels(as_json=as_json))


def parse(draft: Draft, *, as_json: bool) -> ModelEntry:
    """Returns the entry that a form stands for. Raises `InvalidMessageError` or `NotJsonError`."""
    written = draft.texts[JSON] if as_json else json.dumps(wire(draft))
    return parse_body(written.encode(), ModelEntry)


def parse_id(draft: Draft) -> UUID:
    """Returns the id of a new model. Raises `InvalidMessageError`."""
    try:
        return UUID(draft.texts[ID])
    except ValueError:
        raise InvalidMessageError("The form", [FieldError(field=ID, message="must be a UUID")]) from None


def in_force(draft: Draft, *, as_json: bool) -> Mapping[str, Any]:
    """Returns what a valid form would store, to show it beside what others changed."""
    try:
        entry = parse(draft, as_json=as_json)
    except BridgeError:
        return {}
    return entry.stored() | {"active": entry.active}


def wire(draft: Draft) -> dict[str, Any]:
    """Returns the entry on the wire: the fields of the form, and what else the original has."""
    texts = draft.texts
    entry = {key: value for key, value in draft.original.entry.items() if key not in _roots()}
    for name in FIELDS:
        root, _, inner = name.partition(".")
        value = texts[name] == YES if name in CHECKS else _value(root, texts[name])
        if value is None:
            continue
        if inner:
            entry.setdefault(root, {})[inner] = value
        else:
            entry[root] = value
    return _without_bare_unit(entry)


def _without_bare_unit(entry: dict[str, Any]) -> dict[str, Any]:
    """Leaves out a price of which only `per` is given: that is a choice with no empty value."""
    return {key: value for key, value in entry.items() if key != "price" or value.keys() != {"per"}}


def _value(root: str, text: str) -> Any:
    """Returns a field's value on the wire; None for an empty field."""
    if not text:
        return None
    if root == "resolutions":
        return text.replace(",", " ").split()
    return _number(text) if root in NUMBERS else text


def _number(text: str) -> int | float | str:
    """Returns a number if the text is one. Any other text stays, and is refused by name."""
    if _WHOLE.fullmatch(text):
        return int(text)
    return float(text) if _DECIMAL.fullmatch(text) else text


def _roots() -> set[str]:
    return {name.partition(".")[0] for name in FIELDS}


def _at(entry: Mapping[str, Any], name: str) -> Any:
    root, _, inner = name.partition(".")
    value = entry.get(root)
    return value.get(inner) if inner and isinstance(value, Mapping) else value


def _text(value: Any) -> str:
    match value:
        case None | False:
            return ""
        case True:
            return YES
        case list():
            return " ".join(map(str, value))
        case float():
            return repr(value).removesuffix(".0")
    return str(value)


def _labels(*, as_json: bool) -> dict[str, str]:
    """Returns the labels of the fields that the form shows."""
    return {ID: "Model id"} | ({JSON: "Entry"} if as_json else dict(FIELDS))
