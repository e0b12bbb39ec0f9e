"""What `aigen-bridge purge` does, and the table that it shows."""

import asyncio
from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from aigen_bridge.cli.common import person, say
from aigen_bridge.cli.times import span
from aigen_bridge.purge import ages
from aigen_bridge.purge import purge as remove
from aigen_bridge.settings import PurgeSettings, RetentionSettings
from aigen_bridge.store.operations import Deed
from aigen_bridge.store.retention import Kept, Retention
from aigen_bridge.wiring import open_retention


async def run(settings: PurgeSettings, stop: asyncio.Event, *, dry_run: bool) -> None:
    """Remove what may go, or only count it; stops between two batches."""
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
