"""The commands `openapi`, `demo` and `version`."""

import json
import re
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from aigen_bridge import __version__, logs
from aigen_bridge.cli.running import HOME, Home, until_stopped
from aigen_bridge.cli.terminal import fail, say
from aigen_bridge.domain.provenance import MarkingMode

app = typer.Typer()


@app.command()
def openapi(
    folder: Annotated[Path, typer.Option(help="Folder to write to.")] = Path("openapi"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing, and fail when the file differs.")] = False,
) -> None:
    """Export the OpenAPI document."""
    from aigen_bridge.api.app import describe

    path = folder / "aigen-bridge.json"
    text = json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"
    if not check:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        fail(f"{path} is out of date: run 'aigen-bridge openapi'.")
    say(f"{path} is current.")


@app.command()
def demo(
    prompt: Annotated[str, typer.Option(help="What to draw.")] = "A lighthouse above a stormy sea at dusk",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "1024x1024",
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same image.", min=0)] = None,
    keep: Annotated[
        bool, typer.Option("--keep", help="Keep everything running afterwards, or use the bridge of a running 'up'.")
    ] = False,
    mark: Annotated[
        MarkingMode, typer.Option("--mark", help="How the bridge marks the image as made by AI.")
    ] = MarkingMode.OFF,
    home: Home = HOME,
) -> None:
    """Run one request through the whole chain on simulators, and save the image to disk.

    With --keep, the console has it to show. With --mark, the mark of the image that Odoo got is checked.
    """
    from aigen_bridge.cli.demo_marking import marking
    from aigen_bridge.sim.bridge_process import BridgeNotStartedError
    from aigen_bridge.sim.demo import run_demo
    from aigen_bridge.sim.demo_request import DemoFailedError, Wish
    from aigen_bridge.sim.demo_view import ConsoleView

    if not re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", size):
        raise typer.BadParameter("must be WIDTHxHEIGHT, such as 1024x1024", param_hint="--size")
    logs.configure("WARNING", "auto")
    view = ConsoleView(Console())
    try:
        until_stopped(
            lambda stop: run_demo(Wish(prompt, size, seed), home, view, keep=keep, stop=stop, marking=marking(mark))
        )
    except (DemoFailedError, BridgeNotStartedError) as error:
        view.fail(str(error))
        raise typer.Exit(1) from None


@app.command()
def version() -> None:
    """Print the version."""
    say(__version__)
