"""The application that one `aigen-bridge serve` process serves: the API and the console."""

from functools import partial

from fastapi import FastAPI

from aigen_bridge import console, logs, memory, tracing
from aigen_bridge.api import app as api
from aigen_bridge.settings import Settings, load
from aigen_bridge.settings.rotation import Rotation


def create_app(settings: Settings, rotation: Rotation | None = None) -> FastAPI:
    """Creates the application for these settings. Without a `rotation`, its secrets never change."""
    app = api.create_app(settings, rotation)
    if settings.console.enabled:
        console.install(app)
    return app


def from_environment() -> FastAPI:
    """Creates the application of one `aigen-bridge serve` process."""
    settings = load(Settings)
    logs.configure(settings.log.level, settings.log.format)
    tracing.start()
    app = create_app(settings, Rotation(settings, partial(load, Settings)))
    memory.prepare()
    return app
