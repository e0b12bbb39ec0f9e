"""Output to the terminal, and the name of the operator."""

import getpass
import json
import sys
from typing import NoReturn

from pydantic import BaseModel


def say(text: str) -> None:
    """Prints a line to the terminal."""
    print(text, flush=True)


def say_json(message: BaseModel) -> None:
    """Prints a message as JSON, in the form of the API."""
    say(json.dumps(message.model_dump(mode="json", by_alias=True), indent=2))


def fail(*lines: str, status: int = 1) -> NoReturn:
    """Ends the command with these lines on stderr and an exit status of failure."""
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(status)


def person() -> str:
    """Returns the operator's name as it is recorded with operator actions."""
    return f"cli:{getpass.getuser()}"
