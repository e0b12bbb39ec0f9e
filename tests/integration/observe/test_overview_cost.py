"""The overview costs the same whatever the tables hold: PostgreSQL's own plan says so."""

from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from psycopg.sql import SQL, Literal
from sqlalchemy import TextClause
from sqlalchemy.dialects.postgresql.psycopg import dialect
from test_gauges_cost import FILL, ROWS, nodes

from aigen_bridge.domain.destination import with_breaker
from aigen_bridge.store import destination_changes, hops, outcomes, overview
from aigen_bridge.store.destinations import registry_columns
from aigen_bridge.store.migrations import migrate
from stage import sqlalchemy_url

REGISTRY = registry_columns(with_breaker(["north"]))
HOUR = {"step": 300, "buckets": 12, "most": 100}
STATEMENTS: dict[str, tuple[TextClause, dict[str, Any]]] = {
    "outcomes": (outcomes._COUNTS, HOUR),
    "outcomes of an Odoo": (outcomes._COUNTS_OF_ODOO, HOUR | {"odoo": "default"}),
    "destinations": (destination_changes._STATUS, dict(REGISTRY)),
    "late entries": (overview._LATE, dict(REGISTRY)),
    "dead letters": (overview._DEAD, {}),
    "dead letters of an Odoo": (overview._DEAD_OF_ODOO, {"odoo": "default"}),
    "hops": (hops._HOPS, {}),
    "hops of an Odoo": (hops._HOPS_OF_ODOO, {"odoo": "default"}),
    "waits": (hops._WAITS, {"deliveries": ["deliver", "deliver:north"], "odoo": None, "examined": 1}),
    "waits of an Odoo": (hops._WAITS, {"deliveries": ["deliver"], "odoo": "default", "examined": hops.EXAMINED}),
}


@pytest.fixture(scope="module")
def filled(new_database: Callable[[], str]) -> str:
    url = new_database()
    migrate(sqlalchemy_url(url))
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(FILL)
    return url


@pytest.mark.parametrize("name", STATEMENTS)
def test_no_table_is_read_as_a_whole_and_no_count_goes_beyond_its_bound(filled: str, name: str) -> None:
    statement, values = STATEMENTS[name]
    names = list(values)
    query = str(statement.compile(dialect=dialect())) % {name: f"${n}" for n, name in enumerate(names, 1)}
    given = SQL("({})").format(SQL(", ").join(map(Literal, values.values()))) if values else SQL("")
    with psycopg.connect(filled, autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")  # as the bridge's sessions have it
        connection.execute(f"PREPARE it AS {query}")
        found = connection.execute(SQL("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE it {}").format(given)).fetchone()
    assert found
    plan = found[0][0]["Plan"]
    large = [node for node in nodes(plan) if node.get("Relation Name") in {"requests", "outbox"}]
    assert large
    assert [node["Node Type"] for node in large if "Seq Scan" in node["Node Type"]] == []
    assert max(node["Actual Rows"] for node in large) <= overview.MOST
    assert max(node.get("Rows Removed by Filter", 0) for node in large) <= ROWS / 50
