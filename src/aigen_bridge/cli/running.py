"""Options, settings and signal handling of the commands that run the service."""

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
from aigen_bridge.settings.remarks import remarks, short_secrets

log = structlog.get_logger(__name__)

HOME = Path(".aigen")
"""The folder in which `up` and `demo` keep their files."""

Port = Annotated[int, typer.Option(help="Port to listen on. 0 picks a free one.", min=0, max=65535)]
Host = Annotated[str, typer.Option(help="Address to listen on.")]
Home = Annotated[Path, typer.Option(help="Folder for local files.")]


def complete_settings() -> Settings:
    """Loads all settings, which must be complete, and sets up logging."""
    settings = load(Settings)
    _configure(settings)
    for remark in short_secrets(settings.n8n, settings.clients):
        log.warning("settings.doubtful", detail=remark)
    return settings


def check_database(settings: Settings) -> None:
    """Raises `UnsuitableDatabaseError` for an unsuitable database. Only logs one that is away: it may come back."""
    from aigen_bridge.domain.errors import StoreUnavailableError, UnsuitableDatabaseError
    from aigen_bridge.wiring import verify_database

    try:
        verify_database(settings)
    except UnsuitableDatabaseError:
        raise
    except StoreUnavailableError as error:
        log.warning("store.unavailable", step="start", reason=error.reason)


def configure_logs() -> None:
    """Sets up logging for commands that need only some of the settings."""
    _configure(load(LoggingSettings))


def _configure(settings: LoggingSettings) -> None:
    logs.configure(settings.log.level, settings.log.format)
    for remark in remarks(Settings):
        log.warning("settings.doubtful", detail=remark)


def until_stopped(run: Callable[[asyncio.Event], Coroutine[Any, Any, None]]) -> None:
    """Runs to the end, or until SIGINT, SIGTERM or SIGHUP asks it to finish. A second signal ends it at once."""

    async def supervised() -> None:
        stop = asyncio.Event()

        def on_signal() -> None:
            if stop.is_set():
                os._exit(1)
            stop.set()

        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            asyncio.get_running_loop().add_signal_handler(number, on_signal)
        await run(stop)

    uvloop.run(supervised())
    if threading.active_count() > 1:  # a call to Odoo hangs; it is idempotent, and its entry was released
        logging.shutdown()
        sys.stdout.flush()
        os._exit(0)
