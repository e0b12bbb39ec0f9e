"""The commands. Exit status 0 only when it worked; 2 for wrong settings or options."""

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
import uvicorn
import uvloop
from rich.console import Console

from aigen_bridge import __version__, logs
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.embedded import EmbeddedPostgresMissingError
from aigen_bridge.settings import LogSettings, Settings, WrongSettingsError, load
from aigen_bridge.sim import cli as sim_cli

HOME = Path(".aigen")
"""Where `up` and `demo` keep their files."""

app = typer.Typer(
    name="aigen-bridge",
    help="Carries AI image requests from Odoo to N8N and the results back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.add_typer(sim_cli.app, name="sim")

Port = Annotated[int, typer.Option(help="0 picks a free one.", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Home = Annotated[Path, typer.Option(help="Where local files are kept.")]


def main() -> None:
    """Run the command line; every expected trouble is one clear line."""
    try:
        app()
    except WrongSettingsError as error:
        _fail(*error.lines, status=2)
    except EmbeddedPostgresMissingError as error:
        _fail(str(error), status=2)
    except BridgeError as error:
        _fail(error.detail)
    except OSError as error:
        _fail(str(error))


def _fail(*lines: str, status: int = 1) -> NoReturn:
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - this is the command line
    raise SystemExit(status)


@app.command()
def up(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    home: Home = HOME,
) -> None:
    """API and worker in one command; what is not configured gets a local stand-in."""
    from aigen_bridge.local import up as run_up

    _log()
    _until_stopped(lambda stop: run_up(home=home, host=host, port=port, stop=stop, say=_say))


@app.command()
def serve(
    host: Host = "127.0.0.1",
    port: Port = 8000,
    processes: Annotated[int, typer.Option(help="API processes.", min=1, max=64)] = 1,
) -> None:
    """The API. Everything must be configured."""
    _settings()  # wrong settings stop here, not in the processes
    uvicorn.run(
        "aigen_bridge.api.app:from_environment",
        factory=True,
        host=host,
        port=port,
        workers=processes,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=20,
    )


@app.command()
def worker() -> None:
    """The worker: sends requests to N8N and results to Odoo. Start as many as you like."""
    from aigen_bridge.worker import run_worker

    settings = _settings()
    _until_stopped(lambda stop: run_worker(settings, stop))


@app.command()
def migrate() -> None:
    """Bring the database to the newest tables. Safe to run again."""
    from aigen_bridge.settings import DatabaseSettings
    from aigen_bridge.store import migrations

    _log()
    migrations.migrate(load(DatabaseSettings).database_url.get_secret_value())
    _say(f"The database is at revision {migrations.head()}.")


@app.command()
def openapi(
    folder: Annotated[Path, typer.Option(help="Where to write it.")] = Path("openapi"),
    check: Annotated[bool, typer.Option("--check", help="Write nothing; fail when the file differs.")] = False,
) -> None:
    """Export the OpenAPI document."""
    from aigen_bridge.api.app import describe

    path = folder / "aigen-bridge.json"
    text = json.dumps(describe(), indent=2, ensure_ascii=False) + "\n"
    if not check:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    elif not path.exists() or path.read_text(encoding="utf-8") != text:
        _fail(f"{path} is not what the code says: run 'aigen-bridge openapi'.")
    _say(f"{path} is current.")


@app.command()
def demo(
    prompt: Annotated[str, typer.Option(help="What to draw.")] = "A lighthouse above a stormy sea at dusk",
    size: Annotated[str, typer.Option(help="WIDTHxHEIGHT in pixels.")] = "1024x1024",
    seed: Annotated[int | None, typer.Option(help="The same seed gives the same picture.", min=0)] = None,
    keep: Annotated[bool, typer.Option("--keep", help="Keep everything running afterwards.")] = False,
    home: Home = HOME,
) -> None:
    """Carry one real request through the whole chain, on simulators, and leave the image on disk."""
    from aigen_bridge.sim.bridge_process import BridgeNotStartedError
    from aigen_bridge.sim.demo import DemoFailedError, Wish, run_demo
    from aigen_bridge.sim.demo_view import ConsoleView

    if not re.fullmatch(r"[1-9]\d{1,3}x[1-9]\d{1,3}", size):
        raise typer.BadParameter("must be WIDTHxHEIGHT, such as 1024x1024", param_hint="--size")
    logs.configure("WARNING", "auto")
    view = ConsoleView(Console())
    try:
        _until_stopped(lambda stop: run_demo(Wish(prompt, size, seed), home, view, keep=keep, stop=stop))
    except (DemoFailedError, BridgeNotStartedError) as error:
        view.fail(str(error))
        raise typer.Exit(1) from None


@app.command()
def version() -> None:
    """Print the version."""
    _say(__version__)


def _settings() -> Settings:
    settings = load(Settings)
    logs.configure(settings.log.level, settings.log.format)
    return settings


def _log() -> None:
    """Logging for commands that work with settings which are not complete."""
    wanted = LogSettings(
        level=os.environ.get("AIGEN_LOG__LEVEL", "INFO"), format=os.environ.get("AIGEN_LOG__FORMAT", "auto")
    )
    logs.configure(wanted.level, wanted.format)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - this is the command line


def _until_stopped(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until it ends, or until SIGINT or SIGTERM asks it to finish; a second signal ends it at once."""

    async def supervised() -> None:
        stop = asyncio.Event()

        def asked() -> None:
            if stop.is_set():
                os._exit(1)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, asked)
        await run(stop)

    uvloop.run(supervised())
