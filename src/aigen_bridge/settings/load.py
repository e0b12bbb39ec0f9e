"""Loads settings, and reports missing or wrong ones in plain lines."""

import re
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsError

from aigen_bridge import network
from aigen_bridge.contracts.wording import predicate
from aigen_bridge.settings.remarks import remarks
from aigen_bridge.settings.sections import Section


class WrongSettingsError(Exception):
    """Settings are missing or wrong. Each has a line with its variable and the error, never with its value.

    `missing_parts` are the top-level settings that are missing entirely.
    """

    def __init__(self, lines: list[str], missing_parts: frozenset[str] = frozenset()) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines
        self.missing_parts = missing_parts


S = TypeVar("S", bound=BaseSettings)


def load(kind: type[S], **given: Any) -> S:
    """Loads settings. Those in `given` take precedence over all sources. Raises `WrongSettingsError`."""
    outside = network.complaints() if getattr(kind, "calls_out", False) else []
    hints = remarks(kind) if "clients" in kind.model_fields else []  # another kind knows only a part of the settings
    try:
        settings = kind(**given)
    except SettingsError as error:  # a value is not valid JSON
        field = re.search(r'field "(\w+)"', str(error))
        line = _wrong((field[1],), str(error.__cause__)) if field else str(error)
        raise WrongSettingsError([line, *outside]) from None
    except UnicodeDecodeError:
        raise WrongSettingsError(["The file .env, or a secret file, is not UTF-8.", *outside]) from None
    except ValidationError as error:
        items = _causes(error.errors(include_url=False, include_input=False))
        missing = {str(i["loc"][0]) for i in items if i["type"] == "missing" and len(i["loc"]) == 1}
        lines = [line for item in items for line in _explained(item, kind)]
        raise WrongSettingsError([*lines, *outside, *hints], frozenset(missing)) from None
    if outside:
        raise WrongSettingsError(outside)
    return settings


def _causes(items: Sequence[Any]) -> list[Any]:
    """Leaves out a list that is too short only because its entries are wrong."""
    wrong = {item["loc"][:-1] for item in items}
    return [item for item in items if item["type"] != "too_short" or item["loc"] not in wrong]


def _explained(item: Any, kind: type[BaseSettings]) -> list[str]:
    path = item["loc"]
    if not path:  # a rule on several settings names them itself
        return [f"{item['msg']}."]
    if item["type"] != "missing":
        return [_wrong(path, predicate(item))]
    section = kind.model_fields[path[0]].annotation if len(path) == 1 else None
    if isinstance(section, type) and issubclass(section, Section):
        inner = [name for name, field in section.model_fields.items() if field.is_required()]
        return [f"{_variable((*path, name))} is missing." for name in inner]
    return [f"{_variable(path)} is missing."]


def _wrong(path: tuple[int | str, ...], what: str) -> str:
    subject = "it " if what.startswith(("is ", "must ", "has ")) else ""  # rules on several settings name them
    return f"{_variable(path)} is wrong: {subject}{what}."


def _variable(path: tuple[int | str, ...]) -> str:
    """Returns the variable of a setting. What is inside a JSON value follows after dots."""
    path = tuple(part for part in path if part != "[key]")  # pydantic's mark of a name that is wrong itself
    names = [part for part in path if isinstance(part, str)]
    outer = 1 if path[0] in {"clients", "odoos"} else len(names)  # one variable holds all of them as JSON
    return "AIGEN_" + "__".join(names[:outer]).upper() + "".join(f".{part}" for part in path[outer:])
