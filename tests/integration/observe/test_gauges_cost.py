"""The gauges cost the same whatever the tables hold: PostgreSQL's own plan says so."""

import json
from typing import Any

import psycopg
import pytest

from aigen_bridge.store.gauges import MOST, statement

QUEUES = {"dispatch": "n8n", "dispatch:north": "n8n", "deliver": "odoo", "deliver:north": "odoo:north"}
ROWS = 60_000
"""Enough that a plan which reads a table would be seen; `benchmarks/gauges.py` runs the same with a million."""

FILL = f"""
    INSERT INTO requests (request_id, correlation_id, event, status, image, completed_at, created_at, delivered_at)
    SELECT gen_random_uuid(), gen_random_uuid(), '{{}}',
        CASE WHEN n % 3 = 0 THEN 'queued' ELSE 'completed' END, CASE WHEN n % 3 > 0 THEN '{{}}'::jsonb END,
        CASE WHEN n % 3 > 0 THEN now() END, now() - n * interval '1 second', CASE WHEN n % 3 > 0 THEN now() END
    FROM generate_series(1, {ROWS}) AS n;
    INSERT INTO outbox (request_id, step, state, finished_at, due_at)
    SELECT request_id, CASE WHEN status = 'queued' THEN 'dispatch' ELSE 'deliver' END,
        CASE WHEN status = 'queued' THEN 'pending' WHEN random() < 0.3 THEN 'dead' ELSE 'done' END,
        CASE WHEN status <> 'queued' THEN now() END, created_at
    FROM requests;
    ANALYZE;
"""  # noqa: S608 - constants


@pytest.fixture
def plan(database_url: str) -> dict[str, Any]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(FILL)
        found = connection.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement(QUEUES)}").fetchone()
    assert found
    top = found[0] if isinstance(found[0], list) else json.loads(found[0])
    return dict(top[0]["Plan"])


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]


def test_no_table_is_read_as_a_whole_and_no_count_goes_beyond_its_bound(plan: dict[str, Any]) -> None:
    large = [node for node in nodes(plan) if node.get("Relation Name") in {"requests", "outbox"}]

    assert len(large) >= 5
    assert [node["Node Type"] for node in large if "Seq Scan" in node["Node Type"]] == []
    assert max(node["Actual Rows"] for node in large) <= MOST
    assert max(node.get("Rows Removed by Filter", 0) for node in large) == 0
