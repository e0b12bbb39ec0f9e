"""`python -m restore`: restores a lost database in each way, and upgrades PostgreSQL. 0 if all promises are kept."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from chaos.schedule import Storage
from chaos.storage import storage_of
from restore import story, upgrades
from restore.backups import Dump, Log
from restore.books import SHOWN
from restore.server import Server, installed
from restore.story import Run
from restore.upgrades import ByDump, InPlace
from s3_server import S3Server

NEWEST, OF_WHEEL = 18, 16
"""Both are of the wheel. `pg_upgrade` of its 18.4 refuses a newer minor version than itself, such as Debian's 15.20."""
app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
console = Console(width=None if sys.stdout.isatty() else 150)


class Case(StrEnum):
    """A part that can be run by itself."""

    DUMP = "dump"
    LOG = "log"
    LOG_TO_END = "log-to-end"
    UPGRADE_BY_DUMP = "upgrade-by-dump"
    PG_UPGRADE = "pg-upgrade"


@app.command()
def main(
    case: Annotated[list[Case] | None, typer.Option(help="Only these cases.")] = None,
    minutes: Annotated[float, typer.Option(help="How long before the loss the restored state is.", min=0)] = 5,
    store: Annotated[Storage, typer.Option(help="Where images are kept.")] = Storage.POSTGRESQL,
) -> None:
    """Loses the database of a bridge under load and restores it from a backup; upgrades PostgreSQL."""
    began = time.monotonic()
    kept = [_play(each, timedelta(minutes=minutes), store) for each in case or Case]
    console.print(
        f"{sum(kept)} of {len(kept)} cases kept every promise; {(time.monotonic() - began) / 60:.0f} minutes."
    )
    raise SystemExit(0 if all(kept) else 1)


def _play(case: Case, distance: timedelta, store: Storage) -> bool:
    with TemporaryDirectory(prefix="aigen-restore-") as folder, ExitStack() as undo:
        home = Path(folder)
        home.chmod(0o755)
        settings = _image_store(store, home, undo)
        run = asyncio.run(_stoppable(_case(case, home, distance, settings, undo)))
    return _show(run)


async def _stoppable(work: Coroutine[Any, Any, Run]) -> Run:
    """Runs `work` so that SIGTERM cancels it as Ctrl-C does and leaves no process behind."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


def _image_store(store: Storage, home: Path, undo: ExitStack) -> dict[str, Any]:
    """Makes the image store, which is not lost with the database. Returns its section of the settings."""
    storage = storage_of(store, home)
    if isinstance(storage, S3Server):
        storage.start()
        undo.callback(storage.kill)
    return storage.settings if storage else {}


def _case(
    case: Case, home: Path, distance: timedelta, store: dict[str, Any], undo: ExitStack
) -> Coroutine[Any, Any, Run]:
    programs = installed()
    new = Server(home / "server", programs[NEWEST])
    undo.callback(new.stop)
    if case in {Case.DUMP, Case.LOG, Case.LOG_TO_END}:
        ways: dict[Case, Callable[[], Dump | Log]] = {
            Case.DUMP: lambda: Dump(home),
            Case.LOG: lambda: Log(home),
            Case.LOG_TO_END: lambda: Log(home, to_end=True),
        }
        distance = timedelta(seconds=30) if case is Case.LOG_TO_END else distance
        return story.play(ways[case](), new, store, distance, _say)
    way, version = (ByDump(), min(programs)) if case is Case.UPGRADE_BY_DUMP else (InPlace(), OF_WHEEL)
    old = Server(home / "old", programs[version])
    undo.callback(old.stop)
    way.name = f"{way.name}, {version} to {NEWEST}"
    return upgrades.play(way, old, new, store, _say)


def _say(text: str) -> None:
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _show(run: Run) -> bool:
    """Prints a run. Returns whether every promise was kept."""
    assert run.books
    rows = Table("rows", "before", "restored", "missing", "in the end", title=run.name, title_justify="left")
    for name in SHOWN:
        before, restored = run.before[name], run.restored[name]
        rows.add_row(name, str(before), str(restored), str(before - restored), str(run.ended[name]))
    console.print(rows)
    for line in _summary(run):
        console.print(line, highlight=False)
    for line in run.books.wrong[:20]:
        console.print(f"[bold red]{line}[/]", highlight=False)
    return not run.books.wrong


def _summary(run: Run) -> list[str]:
    assert run.books
    books = run.books
    lines = [
        f"{run.accepted} requests were accepted, and this is how they ended in Odoo: {dict(books.endings)}.",
        f"The bridge has forgotten {books.forgotten} of them. Its dead letters: {dict(books.letters)}.",
        f"{run.downtime:.0f} s from the first step to the start of the workers.",
        f"The AI service was paid for {books.paid} images.",
        f"Of these, {books.paid_again} were made again: N8N had reported the first, and Odoo had not got it.",
    ]
    if run.lost_at and run.restored_to:
        age = (run.lost_at - run.restored_to).total_seconds()
        lines.append(f"The last restored change was {age:.0f} s old. The backup had {run.backup_bytes / 1e6:.1f} MB.")
    return lines


if __name__ == "__main__":
    app()
