"""`aigen-bridge purge`: remove what was kept long enough, without waiting for a worker to do it."""

import asyncio
from collections.abc import Mapping
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from aigen_bridge import logs
from aigen_bridge.cli.common import person, say, until_stopped
from aigen_bridge.cli.times import span
from aigen_bridge.purge import ages
from aigen_bridge.purge import purge as remove
from aigen_bridge.settings import PurgeSettings, RetentionSettings, load
from aigen_bridge.store.operations import Deed
from aigen_bridge.store.retention import Kept, Retention
from aigen_bridge.wiring import open_retention

app = typer.Typer()


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
) -> None:
    """Remove what was kept long enough (AIGEN_RETENTION__…); never what is still owed to anybody."""
    settings = load(PurgeSettings)
    logs.configure("ERROR", settings.log.format)
    until_stopped(lambda stop: _run(settings, stop, dry_run=dry_run))


async def _run(settings: PurgeSettings, stop: asyncio.Event, *, dry_run: bool) -> None:
    async with open_retention(settings) as retention:
        if dry_run:
            _print("would go", await _counted(retention, settings.retention), settings.retention)
            say("Nothing was changed.")
            return
        # Recorded first: a purge that is killed was done by somebody, too.
        await retention.record(Deed(person(), _asked_for(settings.retention)))
        _print("removed", await remove(retention, settings.retention, stop), settings.retention)
        if stop.is_set():
            say("Stopped between two batches; run it again for the rest.")


async def _counted(retention: Retention, settings: RetentionSettings) -> dict[Kept, int]:
    return {kept: await retention.count(kept, age) for kept, age in ages(settings) if age is not None}


def _asked_for(settings: RetentionSettings) -> str:
    return ", ".join(f"{kept} {span(age) if age else 'forever'}" for kept, age in ages(settings))


def _print(done: str, rows: Mapping[Kept, int], settings: RetentionSettings) -> None:
    table = Table("what", "kept for", done, "setting")
    for kept, age in ages(settings):
        setting = f"AIGEN_RETENTION__{kept.value.upper()}"
        table.add_row(kept.value, span(age) if age else "forever", str(rows.get(kept, 0)) if age else "-", setting)
    Console().print(table)
