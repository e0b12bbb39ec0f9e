"""The search reads few rows, whatever a term's frequency and the statistics of the table: PostgreSQL's plan says so."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import TextClause
from sqlalchemy.dialects import postgresql

from aigen_bridge.store.search import _BY_TERMS, _NEWEST, SCANNED

MANY = 20_000
FILL = """
    INSERT INTO requests (request_id, correlation_id, event, status, image, created_at, completed_at, delivered_at)
    SELECT gen_random_uuid(), gen_random_uuid(), jsonb_build_object(
            'userId', CAST(md5(CAST(n %% 2 AS text)) AS uuid),
            'prompt', concat(CASE WHEN n > %(many)s / 2 THEN 'half' ELSE 'other' END, ' rare', n / 40, ' few', n %% 500)
        ), 'completed', '{}', at, at, at
    FROM generate_series(1, %(many)s) AS n,
        timestamptz(timestamp '2026-06-15' - n * CAST(%(every)s AS interval)) AS at
"""
NOTHING = dict.fromkeys(
    ("statuses", "odoo", "error_code", "user_id", "model_id", "campaign_id", "low", "high", "correlation_id", "words")
)
EVERYTHING = NOTHING | {"since": "-infinity", "at": "infinity", "id": UUID(int=0), "limit": 51, "is_any": False}
ID = UUID(int=7)


CASES = [
    ({"terms": "'half'"}, MANY // 2),
    ({"terms": "'none'"}, 0),
    ({"terms": "'rare7' & 'few300'"}, 1),
    ({"terms": "'half' & 'other'"}, 0),
    ({"terms": "'user:cfcd2084-95d5-65ef-66e7-dff9f98764da'"}, MANY // 2),
    ({"terms": "'half'", "since": "2000-01-01", "at": "2001-01-01"}, 0),
    ({"terms": None, "low": ID, "high": ID, "correlation_id": ID}, 0),
]
"""Each search, and how many requests in its time range have the terms."""


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")  # as in every session of the bridge
        connection.execute("ALTER TABLE requests SET (autovacuum_enabled = false)")
        yield connection


def test_older_requests_are_found_by_indexes_alone_with_and_without_statistics(connection: psycopg.Connection) -> None:
    connection.execute(FILL, {"many": MANY, "every": "1 second"})
    for statistics in ("SELECT", "ANALYZE requests"):
        connection.execute(statistics)
        for wanted, found in CASES:
            scans = [node for node in explain(connection, _BY_TERMS, wanted) if "Relation Name" in node]

            assert [node["Parent Relationship"] for node in scans].count("Subquery") == 5, wanted
            assert "Seq Scan" not in {node["Node Type"] for node in scans}, wanted
            assert read_by_terms(scans) == found, wanted
            assert sum(node.get("Rows Removed by Filter", 0) for node in scans) == 0, wanted


def test_a_term_of_long_ago_is_read_month_by_month_until_a_page_is_full(connection: psycopg.Connection) -> None:
    connection.execute(FILL, {"many": MANY, "every": "1 hour"})
    connection.execute("ANALYZE requests")
    scans = [node for node in explain(connection, _BY_TERMS, {"terms": "'half'"}) if "Relation Name" in node]

    assert EVERYTHING["limit"] <= read_by_terms(scans) <= 2 * 31 * 24


def read_by_terms(scans: list[dict[str, Any]]) -> int:
    """Returns how many requests were read through the index of terms. Fails if another index was used."""
    [scan] = [node for node in scans if node.get("Plans", [{}])[0].get("Index Name") == "requests_search_idx"]
    assert scan.get("Lossy Heap Blocks", 0) == 0
    return round(scan["Actual Rows"] * scan["Actual Loops"])


def test_the_newest_are_read_in_order_and_no_more_of_them(connection: psycopg.Connection) -> None:
    connection.execute("DROP INDEX requests_search_idx")  # which takes the longest to fill
    connection.execute(FILL, {"many": 6 * MANY, "every": "1 second"})  # of fewer, a bitmap costs less
    connection.execute("ANALYZE requests")
    [scan] = [node for node in explain(connection, _NEWEST, {"words": "'half'"}) if "Relation Name" in node]

    assert (scan["Index Name"], scan["Actual Rows"]) == ("requests_newest_idx", SCANNED)


def explain(connection: psycopg.Connection, statement: TextClause, wanted: dict[str, Any]) -> list[dict[str, Any]]:
    compiled = statement.compile(dialect=postgresql.dialect(paramstyle="numeric_dollar"))
    values = {"terms": None} | EVERYTHING | wanted
    assert compiled.positiontup
    arguments = sql.SQL(", ").join(sql.Literal(values[name]) for name in compiled.positiontup)
    connection.execute(f"PREPARE search AS {compiled}".encode())
    execute = sql.SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE search ({})").format(arguments)
    [(explained,)] = connection.execute(execute).fetchall()
    connection.execute("DEALLOCATE search")
    return nodes(explained[0]["Plan"])


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]
