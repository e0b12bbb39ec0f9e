"""The list of a small Odoo takes no longer because another one has many requests: PostgreSQL's own plan says so."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import psycopg
import pytest
from sqlalchemy.dialects import postgresql

from aigen_bridge.domain.request import Status
from aigen_bridge.store.requests import RequestFilter, _page

FILL = """
    INSERT INTO requests (request_id, correlation_id, event, created_at, odoo)
    SELECT gen_random_uuid(), gen_random_uuid(), '{}', now() - n * interval '1 second', %s
    FROM generate_series(1, %s) AS n
"""
LATE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET plan_cache_mode = force_generic_plan")  # as in every session of the bridge
        connection.execute(FILL, ("default", 5000))
        connection.execute(
            "ANALYZE requests"
        )  # too rare to be in the sample of a large table: PostgreSQL sees one Odoo
        connection.execute(FILL, ("north", 3))
        yield connection


@pytest.mark.parametrize(
    "wanted",
    [
        RequestFilter(odoo="north"),
        RequestFilter(odoo="north", status=Status.QUEUED),
        RequestFilter(odoo="north", before=(LATE, UUID(int=0))),
        RequestFilter(odoo="north", created_after=datetime(2000, 1, 1, tzinfo=UTC), created_before=LATE),
    ],
)
def test_a_page_reads_no_request_of_another_odoo(connection: psycopg.Connection, wanted: RequestFilter) -> None:
    query = _page(wanted).limit(51).compile(dialect=postgresql.dialect(), compile_kwargs={"literal_binds": True})
    statement = str(query).replace("'north'", "$1")
    connection.execute(f"PREPARE page (text) AS {statement}".encode())
    [(explained,)] = connection.execute("EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE page ('north')").fetchall()

    [scan] = [node for node in nodes(explained[0]["Plan"]) if "Relation Name" in node]
    assert (scan.get("Index Name"), scan["Actual Rows"]) == ("requests_odoo_idx", 3)
    assert scan.get("Rows Removed by Filter", 0) == 0


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for part in plan.get("Plans", ()) for node in nodes(part))]
