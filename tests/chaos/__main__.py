"""`python -m chaos`: performs one run. The exit status is 0 only if the ledger balances."""

import asyncio
import random
import shutil
import signal
import sys
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from chaos.run import run
from chaos.schedule import Storage, draw

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    requests: Annotated[int, typer.Option(help="Number of requests.", min=1)] = 1000,
    seconds: Annotated[
        float, typer.Option(help="Approximate duration; the last requests may need two more minutes.", min=15)
    ] = 150,
    seed: Annotated[int | None, typer.Option(help="Seed of the schedule; random by default.")] = None,
    processes: Annotated[int, typer.Option(help="Number of API processes, and of workers.", min=1, max=8)] = 2,
    store: Annotated[Storage, typer.Option(help="Where images are kept; s3 needs rclone.")] = Storage.POSTGRESQL,
    *,
    keep: Annotated[bool, typer.Option(help="Keep logs and database even if the ledger balances.")] = False,
) -> None:
    """Kills everything at random and checks that no accepted request is lost and nothing happens twice."""
    console = Console(width=None if sys.stdout.isatty() else 160)
    seed = random.randrange(10**6) if seed is None else seed
    schedule = draw(seed, requests=requests, seconds=seconds, processes=processes, storage=store)
    console.print(f"Seed {seed}, schedule {schedule.digest}: {requests} requests, {schedule.words}.")
    home = Path(tempfile.mkdtemp(prefix="aigen-chaos-"))
    balanced = False
    try:
        balanced = asyncio.run(_stoppable(run(schedule, home, processes=processes, storage=store, console=console)))
    finally:
        if balanced and not keep:
            shutil.rmtree(home)
        else:
            console.print(
                f"Logs and database are in {home}. The same schedule again: --seed {seed} --store {store}.",
                soft_wrap=True,
            )
    raise SystemExit(0 if balanced else 1)


async def _stoppable(work: Coroutine[Any, Any, bool]) -> bool:
    """Runs `work` so that SIGTERM cancels it as Ctrl-C does and leaves no process behind."""
    task = asyncio.ensure_future(work)
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    return await task


if __name__ == "__main__":
    app()
