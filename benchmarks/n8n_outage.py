"""Simulates an N8N outage of two minutes with 1,000 accepted requests. All must be dispatched afterwards unaided.

    PYTHONPATH=tests uv run python benchmarks/n8n_outage.py --requests 1000 --seconds 120

The API, two workers and the simulators run in this process over an embedded PostgreSQL, with default settings.
"""

import argparse
import asyncio
import logging
import tempfile
import time
from pathlib import Path

from sqlalchemy import text

from aigen_bridge import logs
from aigen_bridge.embedded import postgres
from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.migrations import migrate
from stage import Stage, sqlalchemy_url, staged, working

ENDED = "SELECT status, delivered_at IS NOT NULL AS delivered, count(*) FROM requests GROUP BY 1, 2 ORDER BY 1, 2"
SPENT = "SELECT max(attempts), count(*) FILTER (WHERE state = 'dead') FROM outbox WHERE step = 'dispatch'"


async def found(database: Database, query: str) -> list[tuple[object, ...]]:
    """Returns the rows of a query."""
    async with database.reading() as connection:
        return [tuple(row) for row in await connection.execute(text(query))]


async def ask_all(stage: Stage, count: int, seconds: float) -> None:
    """Makes `count` requests, spread evenly over `seconds`."""
    began = time.monotonic()
    for number in range(count):
        await stage.ask()
        await asyncio.sleep(max(0.0, began + (number + 1) * seconds / count - time.monotonic()))


async def outage(url: str, requests: int, seconds: float) -> bool:
    """Runs the outage. Returns True when every request was completed and delivered."""
    database = Database(open_engine(sqlalchemy_url(url), pool_size=2, name="benchmark"))
    async with staged(url) as stage, working(stage.settings), working(stage.settings):
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.DROP, route="webhook", times=None))
        await ask_all(stage, requests, seconds)
        during = len(stage.chain.n8n.calls.to("webhook"))
        print(f"accepted {requests} in {seconds:g} s without N8N, which was called {during} times")
        stage.chain.n8n.faults.clear()
        back = time.monotonic()
        while await found(database, "SELECT FROM requests WHERE delivered_at IS NULL LIMIT 1"):
            await asyncio.sleep(0.2)
        print(f"all delivered {time.monotonic() - back:.1f} s after N8N was back")
        effects = {record.applied for record in stage.chain.odoo.records}
    ended, [(attempts, dead)] = await found(database, ENDED), await found(database, SPENT)
    print(
        f"ended: {ended}; dispatches: at most {attempts} attempts, {dead} dead; "
        f"effects for each request in Odoo: {effects}"
    )
    print("incidents:", await found(database, "SELECT cause, times, recovered_at - opened_at FROM incidents"))
    await database.close()
    return ended == [("completed", True, requests)] and dead == 0 and effects == {1}


def main() -> int:
    """Returns the exit status: 0 when nothing was lost."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120)
    given = parser.parse_args()
    logs.configure("ERROR")
    logging.disable(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, postgres(Path(folder) / "data") as url:
        migrate(sqlalchemy_url(url))
        return 0 if asyncio.run(outage(url, given.requests, given.seconds)) else 1


if __name__ == "__main__":
    raise SystemExit(main())
