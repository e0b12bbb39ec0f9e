"""`aigen-bridge purge`: deletes data past its retention period, without waiting for a worker."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated

import typer

from aigen_bridge import logs
from aigen_bridge.cli.running import until_stopped
from aigen_bridge.cli.terminal import person, say, say_table
from aigen_bridge.cli.times import span
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.settings import PurgeSettings, load

app = typer.Typer()


@app.command()
def purge(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only report what would be deleted.")] = False,
) -> None:
    """Delete data past its retention period (AIGEN_RETENTION__…), but never data with pending work."""
    settings = load(PurgeSettings)
    logs.configure("ERROR", settings.log.format)
    until_stopped(lambda stop: _run(settings, stop, dry_run=dry_run))


async def _run(settings: PurgeSettings, stop: asyncio.Event, *, dry_run: bool) -> None:
    from aigen_bridge.wiring import open_retention
    from aigen_bridge.worker.purge import periods
    from aigen_bridge.worker.purge import purge as delete

    retained = dict(periods(settings.retention))
    async with open_retention(settings) as retention:
        if dry_run:
            counted = {name: await retention.count(name, period) for name, period in retained.items() if period}
            _print("to delete", counted, retained)
            say("Nothing was changed.")
            return
        # Recorded first: a purge that is killed must name its operator, too.
        kept = {name.value: span(period) if period else "forever" for name, period in retained.items()}
        note = ", ".join(f"{name} {period}" for name, period in kept.items())
        await retention.record(OperatorAction(person(), note), kept)
        _print("deleted", await delete(retention, settings.retention, stop), retained)
        if stop.is_set():
            say("Stopped between two batches. Run it again for the rest.")


def _print(
    column: str, counts: Mapping[RetentionClass, int], periods: Mapping[RetentionClass, timedelta | None]
) -> None:
    rows = [
        (name.value, span(period) if period else "forever", str(counts.get(name, 0)) if period else "-", _setting(name))
        for name, period in periods.items()
    ]
    say_table(("what", "kept for", column, "setting"), rows, least=27)


def _setting(name: RetentionClass) -> str:
    return f"AIGEN_RETENTION__{name.value.upper()}"
