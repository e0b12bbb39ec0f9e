"""How the commands for operators reach the service: its components, on the configured database.

A command checks, does and records what a call of the API does, and no server has to run.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aigen_bridge import logs
from aigen_bridge.settings import Settings, load

if TYPE_CHECKING:
    from aigen_bridge.wiring import ApiParts


@asynccontextmanager
async def operating() -> "AsyncIterator[ApiParts]":
    """The components; what is done is recorded as done by this person. Logs only errors: the output is for people."""
    from aigen_bridge.wiring import open_api

    settings = load(Settings)
    logs.configure("ERROR", settings.log.format)
    async with open_api(settings) as parts:
        yield parts
