"""Dead letters, written directly into the tables, because thousands of requests cannot fail within a test."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aigen_bridge.store.database import Database, open_engine
from outages import write
from stage import Stage, make_event

DEAD = """
    WITH asked AS (
        INSERT INTO requests (
            request_id, correlation_id, event, status, failed_by, error_code, completed_at, delivered_at, odoo
        )
        SELECT gen_random_uuid(), gen_random_uuid(), CAST(:event AS jsonb), 'failed', 'bridge', 'http_403', now(),
            now(), :odoo
        FROM generate_series(1, :number) RETURNING request_id
    )
    INSERT INTO outbox (request_id, step, state, attempts, error_code, error_detail, finished_at)
    SELECT request_id, 'dispatch', 'dead', 1, :code, 'N8N answered 403.', now() - make_interval(secs => :ago)
    FROM asked
"""


async def dead(
    database: Database, number: int, *, odoo: str = "default", code: str = "http_403", ago: int = 60
) -> None:
    """Makes dispatches that failed for good."""
    values = {"event": json.dumps(make_event()), "number": number, "odoo": odoo, "code": code, "ago": ago}
    await write(database, DEAD, **values)


@asynccontextmanager
async def tables_of(stage: Stage) -> AsyncIterator[Database]:
    """Opens the database of a stage."""
    database = Database(open_engine(stage.settings.database_url.get_secret_value(), pool_size=2, name="test"))
    try:
        yield database
    finally:
        await database.close()


async def dead_at(stage: Stage, number: int, **options: Any) -> None:
    """Makes dispatches that failed for good in the database of a stage."""
    async with tables_of(stage) as database:
        await dead(database, number, **options)
