"""Figure 13: searches among a million requests, beside reading one request by its id.

One caller makes one call after another and takes the kinds of search in turns, because the figure is about single
calls. The words differ in how frequent they are and when they were used: what is frequent now, was frequent long ago,
is rare, or is in none.
"""

import json
import statistics
import time
from collections.abc import Mapping

import httpx
import psycopg

from aigen_bridge.contracts.examples import REQUESTED
from benchmarks.accept import PATH
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground
from benchmarks.wrk import KEY

MANY = 1_000_000
ROUNDS, WARM_UP = 60, 5
MOST_MS = 300
SEARCH = "/api/v1/ops/requests"
USER, CAMPAIGN = "00000000-0000-4000-8000-000000000007", "00000000-0000-4000-9000-000000000007"

_FILL = (
    "SET session_replication_role = replica",  # skips foreign key checks; there are no other rows
    "SET synchronous_commit = off",  # not part of a measurement
    """
    INSERT INTO requests (request_id, correlation_id, event, status, version, image, error_code, failed_by, created_at,
        updated_at, dispatched_at, completed_at, delivered_at)
    SELECT gen_random_uuid(), gen_random_uuid(),
        CAST('{event}' AS jsonb) || jsonb_build_object(
            'userId', '00000000-0000-4000-8000-' || lpad(CAST(n % 1000 AS text), 12, '0'),
            'campaignId', '00000000-0000-4000-9000-' || lpad(CAST(n % 300 AS text), 12, '0'),
            'prompt', concat(
                CASE WHEN n % 2 = 0 THEN 'lighthouse' ELSE 'harbour' END, CASE WHEN n > {many} / 2 THEN ' winter' END,
                CASE WHEN n % 100003 = 7 THEN ' axolotl' END, ' word', n % 20011, ' word', n % 7919, ' word', n % 1009,
                ', at dusk, 35 mm photograph with soft light'
            )
        ),
        CASE WHEN n % 50 = 0 THEN 'failed' ELSE 'completed' END, 3,
        '{{"format": "png", "size": 1000000, "width": 1024, "height": 1024, "sha256": "00"}}',
        CASE WHEN n % 50 = 0 THEN 'timed_out' END, CASE WHEN n % 50 = 0 THEN 'bridge' END, at, at, at, at, at
    FROM generate_series(1, {many}) AS n, CAST(now() - n * interval '365 days' / {many} AS timestamptz) AS at
    """,
    "VACUUM ANALYZE requests",
)


async def measure(ground: Ground) -> Figure:
    """Measures the 95th percentile of each kind of search."""
    async with ground.database() as database, ground.api(database) as api:
        began = time.monotonic()
        one = await _fill(database)
        facts = {"filling the table, s": time.monotonic() - began}
        async with httpx.AsyncClient(base_url=api.url, headers={"X-API-Key": KEY}, timeout=60) as client:
            found = await _in_turns(client, {"by its id": (f"{PATH}/{one}", {}), **_kinds(one)})
    for name, taken in found.items():
        facts |= {f"{name}, median, ms": statistics.median(taken), f"{name}, 95 %, ms": _p95(taken)}
    checks = [Check(name, _p95(taken), most=MOST_MS, unit="ms") for name, taken in found.items()]
    return Figure(13, "search", "Searches among a million requests", checks, facts)


def _kinds(one: str) -> dict[str, tuple[str, Mapping[str, str]]]:
    queries: dict[str, Mapping[str, str]] = {
        "beginning of an id": {"q": one[:8]},
        "a word in half of them": {"q": "lighthouse"},
        "a word in the older half": {"q": "winter"},
        "a word in ten of them": {"q": "axolotl"},
        "a word in none": {"q": "zeppelin"},
        "two frequent words, never together": {"q": "lighthouse harbour"},
        "two rare words": {"q": "word20010 word1008"},
        "a person": {"userId": USER},
        "a person's failures with a frequent word": {"userId": USER, "status": "failed", "q": "dusk"},
        "a campaign and a word": {"campaignId": CAMPAIGN, "q": "harbour"},
        "an error code": {"errorCode": "timed_out"},
        "a state and a word": {"status": "failed", "q": "lighthouse"},
        "no filter": {},
    }
    return {name: (SEARCH, query) for name, query in queries.items()}


async def _fill(database: str) -> str:
    """Fills the table and returns the id of one request."""
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        for statement in _FILL:
            await connection.execute(statement.format(event=json.dumps(REQUESTED), many=MANY).encode())
        found = await connection.execute("SELECT CAST(request_id AS text) FROM requests OFFSET 1000 LIMIT 1")
        row = await found.fetchone()
    assert row
    return str(row[0])


async def _in_turns(
    client: httpx.AsyncClient, kinds: Mapping[str, tuple[str, Mapping[str, str]]]
) -> dict[str, list[float]]:
    """Returns how long the calls of each kind took, in ms."""
    times: dict[str, list[float]] = {name: [] for name in kinds}
    for number in range(ROUNDS + WARM_UP):
        for name, (path, query) in kinds.items():
            began = time.perf_counter()
            (await client.get(path, params=query)).raise_for_status()
            if number >= WARM_UP:
                times[name].append((time.perf_counter() - began) * 1000)
    return times


def _p95(taken: list[float]) -> float:
    return statistics.quantiles(taken, n=20)[-1]
