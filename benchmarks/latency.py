"""Figure 4: the latency that an idle bridge adds, against a bare POST over loopback plus one commit.

The load is generated in Python, because a measurement ends when the bridge calls another system. The callers and the
two called systems are one process with one clock.
"""

import asyncio
import json
import statistics
import time
from collections.abc import Mapping
from typing import Any, Self
from uuid import uuid4

import httpx
import psycopg

from benchmarks.accept import BODY
from benchmarks.accept import PATH as REQUESTS
from benchmarks.failed import PATH as CALLBACK
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground
from benchmarks.pictures import failed
from benchmarks.stand_ins import Calls, Connection
from benchmarks.wrk import ID, KEY

ROUNDS, WARM_UP = 60, 10
HEADERS = {"X-API-Key": KEY, "Content-Type": "application/json"}
Times = dict[str, list[float]]


class _Listening:
    """A stand-in in this process. Each call sets `arrived` and the time of arrival."""

    def __init__(self, kind: str) -> None:
        self.seen, self.arrived = _SignallingCalls(), asyncio.Event()
        self.seen.arrived = self.arrived
        self._kind = kind

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Connection(self._kind, self.seen), "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()

    async def after(self, answered_at: float) -> float:
        """Returns the seconds from `answered_at` until the next call; 0 when the call preceded the response."""
        await asyncio.wait_for(self.arrived.wait(), 30)
        self.arrived.clear()
        return max(0.0, self.seen.last_at - answered_at)


class _SignallingCalls(Calls):
    arrived: asyncio.Event

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "last_at" and value:
            self.arrived.set()


async def measure(ground: Ground) -> Figure:
    """Measures milliseconds, alternating between the calls."""
    async with _Listening("webhook") as n8n, _Listening("odoo") as odoo, ground.database() as database:
        sections: dict[str, Any] = {
            "n8n": {"webhook_url": f"{n8n.url}/webhook", "api_key": "k"},
            "odoo": {"url": odoo.url, "database": "d", "login": "l", "api_key": "k"},
        }
        async with ground.api(database, **sections) as api, ground.worker(database, **sections):
            times = await _rounds(api.url, database, n8n, odoo)
    facts = {f"{name}, median ms": statistics.median(values) * 1000 for name, values in times.items()}
    floor = facts["bare POST, median ms"] + facts["one commit, median ms"]
    checks = [
        Check(name, facts[f"{name}, median ms"] / floor, most=3)
        for name in ("accept answered to webhook called", "callback answered to Odoo called")
    ]
    return Figure(4, "latency", "Added latency, idle", checks, facts)


async def _rounds(api: str, database: str, n8n: _Listening, odoo: _Listening) -> Times:
    times: Times = {}
    async with (
        httpx.AsyncClient(headers=HEADERS, timeout=30) as client,
        await psycopg.AsyncConnection.connect(database, autocommit=True) as connection,
    ):
        await connection.execute("CREATE TABLE commits (at timestamptz)")
        for number in range(ROUNDS + WARM_UP):
            found = await _round(client, connection, api, n8n, odoo)
            if number >= WARM_UP:
                for name, seconds in found.items():
                    times.setdefault(name, []).append(seconds)
    return times


async def _round(
    client: httpx.AsyncClient, connection: psycopg.AsyncConnection, api: str, n8n: _Listening, odoo: _Listening
) -> Mapping[str, float]:
    request_id = str(uuid4()).encode()
    accept_began = time.monotonic()
    (await client.post(api + REQUESTS, content=BODY.replace(ID, request_id))).raise_for_status()
    accepted = time.monotonic()
    to_webhook = await n8n.after(accepted)
    await asyncio.sleep(0.05)  # let the dispatch settle, to avoid measuring a race
    callback_began = time.monotonic()
    (await client.post(api + CALLBACK, content=failed().replace(ID, request_id))).raise_for_status()
    reported = time.monotonic()
    to_odoo = await odoo.after(reported)
    await asyncio.sleep(0.05)
    odoo.arrived.clear()
    post_began = time.monotonic()
    await client.post(f"{n8n.url}/webhook", content=json.dumps({"bare": True}))
    posted = time.monotonic()
    n8n.arrived.clear()
    await connection.execute("INSERT INTO commits VALUES (now())")
    return {
        "accept answered to webhook called": to_webhook,
        "callback answered to Odoo called": to_odoo,
        "accept": accepted - accept_began,
        "callback": reported - callback_began,
        "bare POST": posted - post_began,
        "one commit": time.monotonic() - posted,
    }
