"""Output for people, and who they are."""

import getpass
import json
import sys
from typing import NoReturn

from pydantic import BaseModel


def say(text: str) -> None:
    """Prints for the person at the terminal."""
    print(text, flush=True)


def say_json(message: BaseModel) -> None:
    """Prints a message as the API writes it."""
    say(json.dumps(message.model_dump(mode="json", by_alias=True), indent=2))


def fail(*lines: str, status: int = 1) -> NoReturn:
    """Ends the command with these lines and a status that says that it failed."""
    print("\n".join(lines), file=sys.stderr)
    raise SystemExit(status)


def person() -> str:
    """Who is at the command line, as operator actions record it."""
    return f"cli:{getpass.getuser()}"
