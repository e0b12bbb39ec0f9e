"""Support for tests of outages: settings with a sensitive breaker, and direct access to the tables."""

from datetime import timedelta
from typing import Any

from sqlalchemy import text

from aigen_bridge.settings import Settings
from aigen_bridge.settings.sections import BreakerSettings
from aigen_bridge.store.database import Database


def impatient(
    settings: Settings, section: str, *, failures: int = 5, probe_every: float = 0.3, hold: float = 600
) -> Settings:
    """Returns the settings with this breaker for `n8n` or `odoo`; times in seconds."""
    breaker = BreakerSettings(
        failures=failures, probe_every=timedelta(seconds=probe_every), hold=timedelta(seconds=hold)
    )
    changed = getattr(settings, section).model_copy(update={"breaker": breaker})
    return settings.model_copy(update={section: changed})


async def rows(database: Database, query: str, **values: Any) -> list[tuple[Any, ...]]:
    """Returns the rows of a query."""
    async with database.reading() as connection:
        return [tuple(row) for row in await connection.execute(text(query), values)]


async def write(database: Database, statement: str, **values: Any) -> None:
    """Changes the tables directly, without the bridge."""
    async with database.transaction() as connection:
        await connection.execute(text(statement), values)
