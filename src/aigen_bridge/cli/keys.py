"""`aigen-bridge keys`: shows the secrets that are in use, and generates keys and signing secrets."""

import hashlib
import json
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Annotated

import typer

from aigen_bridge.cli.terminal import say, say_table
from aigen_bridge.domain.signature import new_secret, secret_bytes
from aigen_bridge.quoting import one_line
from aigen_bridge.settings import Scope
from aigen_bridge.settings.report import Report, folder, reports
from aigen_bridge.settings.values import odoo_name

app = typer.Typer(help="Show the secrets in use, or generate keys for clients.")


@app.callback(invoke_without_command=True)
def keys(context: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show which secrets the running processes use: names, fingerprints, since when; never a secret itself.

    Reads the reports of this user's processes on this machine (or in this container). The exit status is 1 if none
    runs, or one refuses a new value.
    """
    if context.invoked_subcommand is not None:
        return
    found = reports()
    if as_json:
        say(json.dumps([asdict(report) for report in found], indent=2))
    elif found:
        _print(found)
    else:
        say(f"No running API or worker was found: {folder()} has no report.")
    if not found or any(report.problems for report in found):
        raise typer.Exit(1)


def _print(found: Sequence[Report]) -> None:
    say_table(("secret", "fingerprint", "since (UTC)", "used by"), _rows(found))
    for report in found:
        for problem in report.problems:
            say(f"{_name(report)} keeps the values before: {one_line(problem)}")
        if report.waiting:
            say(f"{_name(report)} has to be restarted to use {', '.join(report.waiting)}.")


def _rows(found: Sequence[Report]) -> Iterator[tuple[str, str, str, str]]:
    """Yields one row for each value of a secret. Two rows with one name: the processes differ, or are just changing."""
    used: dict[tuple[str, str], list[tuple[str, str]]] = {}
    for report in found:
        for secret in report.secrets:
            used.setdefault((secret.name, secret.fingerprint), []).append((secret.since, _name(report)))
    for (name, fingerprint), by in sorted(used.items()):
        since = max(since for since, _ in by).partition(".")[0].replace("T", " ")
        yield name, fingerprint, since, ", ".join(process for _, process in by)


def _name(report: Report) -> str:
    return f"{report.process} {report.pid}"


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
