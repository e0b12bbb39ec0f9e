"""Remarks on the environment and `.env`: what looks like a setting and is none, what does not count, what is weak.

They do not stop the start: a newer or older version may know the setting.
"""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path

from dotenv.parser import parse_stream
from pydantic import BaseModel
from pydantic_settings import BaseSettings

from aigen_bridge.domain.signature import SECRET_SAFE, is_short
from aigen_bridge.settings.sections import Client, N8nSettings, Section

PREFIX = "AIGEN_"
NO_SETTINGS = ("AIGEN_SECRETS_DIR", "AIGEN_TEST_DATABASE_URL")
ENV_FILE = Path(".env")


def remarks(kind: type[BaseSettings]) -> list[str]:
    """Returns a sentence for each variable that is no setting of `kind`, and for each problem of `.env`."""
    bindings, problems = _env_file()
    named = [name.upper() for name in (*os.environ, *bindings) if name.upper().startswith(PREFIX)]
    return [*_unknown(dict.fromkeys(named), kind), *problems]


def short_secrets(n8n: N8nSettings, clients: Mapping[str, Client]) -> list[str]:
    """Returns a sentence for each setting with a signing secret that is too short, without the secret."""
    owners = {"AIGEN_N8N__SIGNING_SECRET or …__SIGNING_SECRETS": n8n.all_signing_secrets}
    owners |= {f"AIGEN_CLIENTS (client {name!r})": client.signing_secrets for name, client in clients.items()}
    return [
        f"{owner} has a signing secret of fewer than {SECRET_SAFE} bytes, the least that Standard Webhooks asks for; "
        "'aigen-bridge keys new --client n8n --scope callbacks --signing' makes a longer one."
        for owner, secrets in owners.items()
        if any(is_short(secret.get_secret_value()) for secret in secrets)
    ]


def _env_file() -> tuple[list[str], list[str]]:
    """Returns the names in `.env`, and what is wrong with the file."""
    if not ENV_FILE.is_file():
        return [], []
    with ENV_FILE.open(encoding="utf-8-sig", errors="replace") as file:
        bindings = list(parse_stream(file))
    names = [binding.key for binding in bindings if binding.key]
    lines = [
        f"Line {binding.original.line} of .env cannot be read and is ignored." for binding in bindings if binding.error
    ]
    twice = [name for name, number in Counter(names).items() if number > 1]
    return names, lines + [f"{name} is in .env more than once; the last one counts." for name in twice]


def _unknown(names: Iterable[str], kind: type[BaseSettings]) -> Iterator[str]:
    known = {f"{PREFIX}{name}".upper() for name in kind.model_fields}
    for name in names:
        if name.split("__")[0] not in known and name not in NO_SETTINGS:
            likely = get_close_matches(name, [PREFIX + leaf for leaf in _leaves(kind)], 1, 0.8)
            yield f"{name} is not a setting{f'; did you mean {likely[0]}?' if likely else '.'}"


def _leaves(kind: type[BaseModel], before: str = "") -> Iterator[str]:
    for name, field in kind.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _leaves(field.annotation, f"{before}{name}__".upper())
        else:
            yield f"{before}{name}".upper()
