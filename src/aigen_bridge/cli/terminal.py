"""Output to the terminal, and the name of the operator."""

import getpass
import json
import os
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated, NoReturn

import typer
from pydantic import BaseModel
from rich.console import Console
from rich.table import Table
from rich.text import Text

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.resources import REASON_MAX
from aigen_bridge.contracts.wire import FieldError, shows_nothing
from aigen_bridge.domain.errors import BridgeError, storable
from aigen_bridge.quoting import one_line

BEGINNING = 200
"""Characters that a list shows of an error."""
Reason = Annotated[str | None, typer.Option(help="The reason, which is recorded.")]
BORDERS = 3
"""The width of the lines and blanks that a table adds to each column."""


def say(text: str) -> None:
    """Prints a line to the terminal. Text from outside goes through `one_line` first."""
    print(text, flush=True)


def beginning(text: str) -> str:
    """Returns the beginning of a text from outside, as one line. Marks where it was shortened."""
    return one_line(text[:BEGINNING]) + ("…" if len(text) > BEGINNING else "")


def say_json(message: BaseModel) -> None:
    """Prints a message as JSON, in the form of the API."""
    say(json.dumps(message.model_dump(mode="json", by_alias=True), indent=2))


def say_table(columns: Sequence[str], rows: Iterable[Sequence[str | Text]], *, least: int = 20) -> None:
    """Prints a table. Its last column folds, down to `least` characters; the others hold ids and are never cut.

    A terminal too narrow for that gets longer lines. Cells are shown as they are, without rich's markup.
    """
    cells = [[cell if isinstance(cell, Text) else Text(one_line(cell)) for cell in row] for row in rows]
    table = Table(*columns)
    for column in table.columns[:-1]:
        column.no_wrap = True
    table.columns[-1].overflow = "fold"
    for row in cells:
        table.add_row(*row)
    console = Console(highlight=False)
    fixed = [max(Text(name).cell_len, *(row[n].cell_len for row in cells)) for n, name in enumerate(columns[:-1])]
    console.width = max(console.width, sum(fixed) + least + BORDERS * len(columns) + 1)
    console.print(table)


def fail(*lines: str, status: int = 1) -> NoReturn:
    """Ends the command with these lines on stderr and an exit status of failure."""
    print("\n".join(map(one_line, lines)), file=sys.stderr)
    raise SystemExit(status)


def complaints(error: BridgeError) -> list[str]:
    """Returns what is wrong. For a message, that is one line for each field, with what is allowed."""
    return [_complaint(each) for each in error.errors] if isinstance(error, InvalidMessageError) else [error.detail]


def _complaint(wrong: FieldError) -> str:
    allowed = f". Allowed: {wrong.allowed}" if wrong.allowed and wrong.allowed not in wrong.message else ""
    return f"{wrong.field or 'It'} {wrong.message}{allowed}."


def given(reason: str | None) -> str | None:
    """Returns the reason of an operator action as it is recorded. Refuses one that is blank or too long."""
    if reason is None:
        return None
    if shows_nothing(reason) or len(reason) > REASON_MAX:
        raise typer.BadParameter(f"must have 1 to {REASON_MAX} characters and not be blank", param_hint="--reason")
    return storable(reason)


def person() -> str:
    """Returns the operator's name as it is recorded with operator actions, or the id of a user without a name."""
    try:
        return f"cli:{getpass.getuser()}"
    except (KeyError, OSError):  # a container that runs as another user than the image's; OSError from Python 3.13 on
        return f"cli:uid-{os.getuid()}"
