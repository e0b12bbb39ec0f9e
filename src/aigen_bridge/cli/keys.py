"""`aigen-bridge keys`: generates keys and signing secrets."""

import hashlib
import json
import secrets
from typing import Annotated

import typer

from aigen_bridge.cli.terminal import say
from aigen_bridge.domain.signature import new_secret, secret_bytes
from aigen_bridge.settings import Scope
from aigen_bridge.settings.values import odoo_name

app = typer.Typer(help="Generate keys for clients.", no_args_is_help=True)


@app.callback()
def keys() -> None:
    """Generate keys for clients."""


def _odoo_name(text: str) -> str:
    try:
        return odoo_name(text)
    except ValueError as error:
        raise typer.BadParameter(f"{text!r} {error}") from None


@app.command()
def new(
    client: Annotated[str, typer.Option(help="The name of the client, such as odoo, n8n or ops.")],
    scope: Annotated[list[Scope], typer.Option(help="A scope of the client. May be given several times.")],
    odoo: Annotated[
        str | None,
        typer.Option(help="The Odoo that it speaks for, as in AIGEN_ODOOS.", parser=_odoo_name, metavar="NAME"),
    ] = None,
    signing: Annotated[bool, typer.Option("--signing", help="Generate a signing secret, too.")] = False,
) -> None:
    """Generate a key. It is shown once; the service needs only its hash."""
    key = secrets.token_urlsafe(32)
    hashed = "sha256:" + hashlib.sha256(key.encode()).hexdigest()
    entry: dict[str, object] = {"keys": [hashed], "scopes": sorted(scope)}
    if odoo:
        entry["odoo"] = odoo
    say(f"Key for {client} (give it to the client; it is not stored anywhere):\n  {key}\n")
    if signing:
        secret = new_secret()
        entry["signing_secrets"] = [secret]
        say(f"Signing secret (both sides need it):\n  {secret}")
        say(f"The same for N8N's Crypto node, which takes the secret as text:\n  {secret_bytes(secret).decode()}\n")
    say(f"In AIGEN_CLIENTS (beside the others; up to two keys are valid at once):\n  {json.dumps({client: entry})}")
