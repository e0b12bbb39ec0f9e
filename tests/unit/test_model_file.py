"""The file of `models put --file`: what is wrong in it is named, and nothing of it is taken."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from aigen_bridge.cli.model_file import BYTES_MAX, WrongFileError, read_file

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "models.yaml"
ID = "c2b7f0d4-11e5-4c7a-9d38-7a5e2f9b1c60"
ENTRY = f"- modelId: {ID}\n  name: Flux\n  provider: {{kind: fal, endpoint: https://fal.run/x}}\n"


def wrong(tmp_path: Path, content: str | bytes, name: str = "models.yaml") -> list[str]:
    """The lines that are said about a file, without its name."""
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(WrongFileError) as caught:
        read_file(path)
    return [line.removeprefix(str(path)) for line in caught.value.lines]


def test_the_example_in_the_documentation_is_read() -> None:
    names = [entry.name for entry in read_file(EXAMPLE).values()]
    assert names == ["Flux", "Watercolor", "Flux Pro"]


@pytest.mark.parametrize("wrap", [lambda items: items, lambda items: {"items": items}])
def test_a_list_of_the_api_can_be_put_again_as_json(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    item = {"modelId": ID, "name": "Flux", "provider": {"kind": "fal", "endpoint": "https://fal.run/x"}}
    path = tmp_path / "models.json"
    path.write_text(json.dumps(wrap([item | {"updatedAt": "2026-01-31T12:00:00Z"}]), indent="\t"))

    assert [entry.name for entry in read_file(path).values()] == ["Flux"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (ENTRY + "  name: Other\n", ", line 4: the key name is repeated."),
        ("a: &a [x]\nb: [*a, *a]\n", ", line 2: the alias *a is not supported; write the value in its place."),
        ("- &a [*a]\n", ", line 1: the alias *a is not supported; write the value in its place."),
        ("- <<: {name: x}\n", ", line 1: a key must be a text."),
        ("- {1: x}\n", ", line 1: a key must be a text."),
        ("- [x\n", ", line 2: while parsing a flow sequence, expected ',' or ']', but got '<stream end>'."),
        ("- x\n---\n- y\n", ", line 2: expected a single document in the stream, but found another document."),
        ("- !!python/object:os.system {}\n", ", line 1: could not determine a constructor for the tag"),
        ("[" * 400, " is nested too deep."),
        ("- !!bool maybe\n", " cannot be read: 'maybe'."),
        ("- !!map [x]\n", " cannot be read: "),
        ("- {name: 0x" + "f" * 5000 + "}\n", ", entry 1 cannot be read: Exceeds the limit (4300 digits)"),
        ("- {name: !!set {a}}\n", ", entry 1 cannot be read: a value of the type set is not supported."),
        ("- {name: !!binary aGk=}\n", ", entry 1 cannot be read: a value of the type bytes is not supported."),
        ("- 2026-99-99\n", " cannot be read: month must be in 1..12."),
        (b"- \xff\n", " cannot be read: 'utf-8' codec can't decode"),
        ("", " must be a list of models"),
        ("[]", " must be a list of models"),
        ("name: Flux\n", " must be a list of models"),
        ("#" * (BYTES_MAX + 1), f" is larger than {BYTES_MAX} bytes."),
        (ENTRY + ENTRY, f", entry 2 (Flux): modelId {ID} is in the file twice."),
        ("- Flux\n", ", entry 1: It must be an object."),
    ],
)
def test_a_file_that_is_no_list_of_models_is_refused_with_the_line(tmp_path: Path, content: str, said: str) -> None:
    [line] = wrong(tmp_path, content)
    assert line.startswith(said)


def test_a_repeated_key_of_json_is_refused(tmp_path: Path) -> None:
    assert wrong(tmp_path, '[{"name": "a", "name": "b"}]', "x.json") == [" cannot be read: the key name is repeated."]


def test_every_wrong_field_of_every_entry_is_named(tmp_path: Path) -> None:
    content = ENTRY + "  price: {amount: 0.035, per: image}\n" + ENTRY.replace(ID, "12")
    lines = [line.partition(", such as")[0].partition(". ")[0] for line in wrong(tmp_path, content)]

    assert lines == [
        ", entry 1 (Flux): price.amount must be a decimal in quotation marks",
        ", entry 1 (Flux): price.currency is missing",
        ", entry 2 (Flux): modelId must be a UUID",
    ]
