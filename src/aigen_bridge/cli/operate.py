"""Opens the service's components on the configured database, for the operators' commands.

A command makes the same checks, changes and records as the call of the API, and needs no running server.
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
    """Opens the components. Only errors are logged, because the output is for people."""
    from aigen_bridge.wiring import open_api

    settings = load(Settings)
    logs.configure("ERROR", settings.log.format)
    async with open_api(settings) as parts:
        yield parts
