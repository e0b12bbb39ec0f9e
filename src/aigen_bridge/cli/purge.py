"""`aigen-bridge purge`: remove what was kept long enough, without waiting for a worker to do it."""

from typing import Annotated

import typer

from aigen_bridge import logs
from aigen_bridge.cli.common import until_stopped
from aigen_bridge.settings import PurgeSettings, load

app = typer.Typer()


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove what was kept long enough (AIGEN_RETENTION__…); never what is still owed to anybody."""
    from aigen_bridge.cli.purging import run

    settings = load(PurgeSettings)
    logs.configure("ERROR", settings.log.format)
    until_stopped(lambda stop: run(settings, stop, dry_run=dry_run))
