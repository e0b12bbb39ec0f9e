"""Initial rows of a benchmark, written directly into the tables."""

import json
from collections.abc import Sequence

import psycopg

from aigen_bridge.contracts.examples import CORRELATION_ID, REQUESTED
from aigen_bridge.domain.queues import queue_of
from aigen_bridge.domain.request import DEFAULT_ODOO, Step

_DISPATCHED = """
    INSERT INTO requests
        (request_id, correlation_id, event, status, version, dispatched_at, callback_deadline_at)
    SELECT id, %(correlation_id)s, CAST(%(event)s AS jsonb) || jsonb_build_object('requestId', id), 'dispatched', 2,
        now(), now() + interval '1 hour'
    FROM unnest(CAST(%(ids)s AS uuid[])) AS id
"""
_RUNNING = """
    INSERT INTO generations (request_id, state, execution_id, job, quiet_until)
    SELECT id, 'running', %(execution_id)s, jsonb_build_object('provider', 'fal', 'job_id', id),
        now() + interval '1 hour'
    FROM unnest(CAST(%(ids)s AS uuid[])) AS id
"""
_QUEUED = """
    WITH created AS (
        INSERT INTO requests (request_id, correlation_id, event, odoo)
        SELECT id, %(correlation_id)s, CAST(%(event)s AS jsonb) || jsonb_build_object('requestId', id), %(odoo)s
        FROM unnest(CAST(%(ids)s AS uuid[])) AS id RETURNING request_id
    ), entries AS (INSERT INTO outbox (request_id, step) SELECT request_id, 'dispatch' FROM created)
    SELECT pg_notify('aigen_outbox', %(queue)s)
"""
_ENDED = """
    WITH ended AS (
        INSERT INTO requests (request_id, correlation_id, event, odoo, status, version, error_code, error_message,
            failed_by, dispatched_at, completed_at)
        SELECT id, %(correlation_id)s, CAST(%(event)s AS jsonb) || jsonb_build_object('requestId', id), %(odoo)s,
            'failed', 3, 'ai_service_error', 'x', 'n8n', now(), now()
        FROM unnest(CAST(%(ids)s AS uuid[])) AS id RETURNING request_id
    ), entries AS (INSERT INTO outbox (request_id, step) SELECT request_id, 'deliver' FROM ended)
    SELECT pg_notify('aigen_outbox', %(queue)s)
"""


async def dispatched(url: str, ids: Sequence[str]) -> None:
    """Inserts requests that N8N has acknowledged and that wait for their callback."""
    await _write(url, _DISPATCHED, ids)


async def running(url: str, ids: Sequence[str], execution_id: str) -> None:
    """Inserts requests whose job at the provider is known to be running."""
    await dispatched(url, ids)
    await _write(url, _RUNNING, ids, execution_id=execution_id)


async def queued(url: str, ids: Sequence[str], odoo: str = DEFAULT_ODOO) -> None:
    """Inserts newly accepted requests in one commit and wakes the workers."""
    await _write(url, _QUEUED, ids, odoo=odoo, queue=queue_of(Step.DISPATCH, odoo))


async def ended(url: str, ids: Sequence[str], odoo: str) -> None:
    """Inserts failed requests whose results are still to be delivered, in one commit, and wakes the workers."""
    await _write(url, _ENDED, ids, odoo=odoo, queue=queue_of(Step.DELIVER, odoo))


async def _write(url: str, statement: str, ids: Sequence[str], **more: str) -> None:
    values = {"ids": list(ids), "correlation_id": CORRELATION_ID, "event": json.dumps(REQUESTED), **more}
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(statement, values)


_FINISHED = (
    "SET session_replication_role = replica",  # skips foreign key checks; the rows satisfy them
    "SET synchronous_commit = off",  # not part of a measurement
    """
    INSERT INTO requests (request_id, correlation_id, event, status, version, image, created_at, updated_at,
        dispatched_at, completed_at, delivered_at)
    SELECT gen_random_uuid(), '{correlation_id}', '{event}', 'completed', 3,
        '{{"format": "png", "size": 1000000, "width": 1024, "height": 1024, "sha256": "00"}}', at, at, at, at, at
    FROM generate_series(1, {many}) AS n, CAST(now() - n * interval '24 hours' / {many} AS timestamptz) AS at
    """,
    """
    INSERT INTO outbox (request_id, step, state, attempts, fence, created_at, due_at, finished_at)
    SELECT request_id, step, 'done', 1, 1, created_at, created_at, created_at
    FROM requests, unnest(ARRAY['dispatch', 'deliver']) AS step
    """,
    "VACUUM ANALYZE requests",
    "VACUUM ANALYZE outbox",
)


async def finished(url: str, many: int) -> None:
    """Inserts `many` delivered requests of the last 24 hours, each with its two outbox entries."""
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        for statement in _FINISHED:
            text = statement.format(correlation_id=CORRELATION_ID, event=json.dumps(REQUESTED), many=many)
            await connection.execute(text.encode())


async def delivered(database: str) -> None:
    """Marks all pending, unclaimed deliveries to Odoo as done."""
    async with await psycopg.AsyncConnection.connect(database) as connection:
        await connection.execute(
            "UPDATE outbox SET state = 'done', finished_at = now() "
            "WHERE step = 'deliver' AND state = 'pending' AND lease_owner IS NULL"
        )
