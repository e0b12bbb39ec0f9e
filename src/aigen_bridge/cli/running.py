"""Options and settings of the commands that run the service, and running until told to stop."""

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Annotated, Any

import structlog
import typer
import uvloop

from aigen_bridge import logs
from aigen_bridge.settings import LoggingSettings, Settings, load

log = structlog.get_logger(__name__)

HOME = Path(".aigen")
"""Where `up` and `demo` keep their files."""

Port = Annotated[int, typer.Option(help="0 picks a free one.", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Home = Annotated[Path, typer.Option(help="Where local files are kept.")]


def complete_settings() -> Settings:
    """All settings, which must be complete; sets up logging."""
    settings = load(Settings)
    logs.configure(settings.log.level, settings.log.format)
    return settings


def check_database(settings: Settings) -> None:
    """Stop the start for a database that does not suit; one that is away comes back by itself."""
    from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
    from aigen_bridge.store.migrations import check

    try:
        check(settings.database_url.get_secret_value(), settings.database.timeout)
    except UnsuitableDatabaseError:
        raise
    except StoreUnavailableError as error:
        log.warning("store.unavailable", step="start", reason=error.reason)


def configure_logs() -> None:
    """Logging for commands that work with settings which are not complete."""
    wanted = load(LoggingSettings).log
    logs.configure(wanted.level, wanted.format)


def until_stopped(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Run until it ends, or until SIGINT or SIGTERM asks it to finish; a second signal ends it at once."""

    async def supervised() -> None:
        stop = asyncio.Event()

        def asked() -> None:
            if stop.is_set():
                os._exit(1)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, asked)
        await run(stop)

    uvloop.run(supervised())
    if threading.active_count() > 1:  # a call to Odoo that hangs; it is idempotent, and its entry was given back
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
