"""Reads a file with models (YAML or JSON) for `aigen-bridge models put --file`."""

import json
from collections.abc import Iterable, Mapping
from datetime import date
from pathlib import Path
from typing import Any
from uuid import UUID

import yaml
from yaml.composer import ComposerError
from yaml.constructor import ConstructorError
from yaml.nodes import MappingNode, Node, ScalarNode

from aigen_bridge.cli.terminal import complaints
from aigen_bridge.contracts.messages import parse_body
from aigen_bridge.contracts.models import NamedModelEntry
from aigen_bridge.domain.errors import BridgeError

BYTES_MAX = 2**20
_TEXT = "tag:yaml.org,2002:str"


class WrongFileError(Exception):
    """The file cannot be used. `lines` say what is wrong, one line for each wrong field."""

    def __init__(self, *lines: str) -> None:
        super().__init__(*lines)
        self.lines = lines


def read_file(path: Path) -> dict[UUID, NamedModelEntry]:
    """Returns the models of a file by their ids. Raises `WrongFileError` with everything that is wrong in it."""
    entries, problems = {}, []
    for number, value in enumerate(_read_list(path), 1):
        where = f"{path}, entry {number}{_name(value)}"
        try:
            entry = parse_body(json.dumps(value, default=_date_text).encode(), NamedModelEntry)
        except (TypeError, ValueError) as error:  # a number with too many digits, or what is no value of JSON
            problems.append(f"{where} cannot be read: {str(error).rstrip('.')}.")
            continue
        except BridgeError as error:
            problems += [f"{where}: {line}" for line in complaints(error)]
            continue
        if entry.model_id in entries:
            problems.append(f"{where}: modelId {entry.model_id} is in the file twice.")
        entries[entry.model_id] = entry
    if problems:
        raise WrongFileError(*problems)
    return entries


def _date_text(value: Any) -> str:
    """Returns the text of what YAML takes for a date, such as the name 2026-01-31. Raises `TypeError` for others."""
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"a value of the type {type(value).__name__} is not supported")


def _name(value: Any) -> str:
    name = value.get("name") if isinstance(value, dict) else None
    return f" ({name[:50]})" if isinstance(name, str) else ""


def _read_list(path: Path) -> list[Any]:
    with path.open("rb") as file:
        content = file.read(BYTES_MAX + 1)
    if len(content) > BYTES_MAX:
        raise WrongFileError(f"{path} is larger than {BYTES_MAX} bytes.")
    try:
        value = _parse(content.decode("utf-8-sig"), is_json=path.suffix.lower() == ".json")
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        said = ", ".join(filter(None, (error.context, error.problem)))
        raise WrongFileError(f"{path}{line}: {said}.") from None
    except RecursionError:
        raise WrongFileError(f"{path} is nested too deep.") from None
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError) as error:  # also of a tag like !!bool
        raise WrongFileError(f"{path} cannot be read: {' '.join(str(error).split()).rstrip('.')}.") from None
    if isinstance(value, dict) and value.keys() == {"items"}:  # what the API and `models list --json` return
        value = value["items"]
    if not isinstance(value, list) or not value:
        raise WrongFileError(
            f"{path} must be a list of models, each with its modelId, such as docs/examples/models.yaml."
        )
    return value


class _Loader(yaml.SafeLoader):
    """YAML without aliases, which can expand without end, and without keys that are repeated or no texts."""

    def compose_node(self, parent: Node | None, index: int) -> Node | None:
        if self.check_event(yaml.AliasEvent):
            alias = self.peek_event()  # type: ignore[no-untyped-call]
            problem = f"the alias *{alias.anchor} is not supported; write the value in its place"
            raise ComposerError(None, None, problem, alias.start_mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: MappingNode, deep: bool = False) -> dict[Any, Any]:
        known = set()
        for key, _ in node.value:
            if not isinstance(key, ScalarNode) or key.tag != _TEXT:
                raise ConstructorError(None, None, "a key must be a text", key.start_mark)
            if key.value in known:
                raise ConstructorError(None, None, f"the key {key.value} is repeated", key.start_mark)
            known.add(key.value)
        return super().construct_mapping(node, deep)


def _parse(text: str, *, is_json: bool) -> Any:
    """Parses the file. JSON is almost YAML, but may be indented with tabs."""
    return json.loads(text, object_pairs_hook=_object) if is_json else yaml.load(text, _Loader)  # noqa: S506 - it is a safe one


def _object(pairs: Iterable[tuple[str, Any]]) -> Mapping[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise ValueError(f"the key {key} is repeated")
        found[key] = value
    return found
