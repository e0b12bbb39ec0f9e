"""One bridge, three Odoos: 18 by JSON-RPC, 19 by JSON-2, and one that does not answer."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest

from aigen_bridge.settings import Settings
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from aigen_bridge.store.database import Database
from outages import rows, write
from stage import CLIENTS, KEYS, REQUESTS, Stage, make_event, staged, working

ASKS = {"default": KEYS["odoo"], "north": "key-of-north", "silent": "key-of-silent"}
WHO = {name: {"keys": [key], "scopes": ["requests"], "odoo": name} for name, key in ASKS.items() if name != "default"}
QUICK = {"grace": "100ms"}


@dataclass(frozen=True)
class Odoos:
    """The stage, and the Odoos that answer."""

    stage: Stage
    answering: Mapping[str, OdooSimulator]

    @property
    def settings(self) -> Settings:
        return self.stage.settings

    async def ask(self, odoo: str) -> str:
        """Asks for an image as the addon in this Odoo does. Returns the request's id."""
        key = {"X-API-Key": ASKS[odoo]}
        answer = await self.stage.api.post(REQUESTS, json=make_event(), headers=key)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["requestId"])


@asynccontextmanager
async def silence() -> AsyncIterator[str]:
    """A server that takes every call and never answers. Yields its URL."""
    callers: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, caller: callers.append(caller), "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.close()
    for caller in callers:
        caller.close()


@pytest.fixture
async def odoos(database_url: str) -> AsyncIterator[Odoos]:
    north = OdooSimulator(OdooSettings(api_key="key-in-north", database="north", series="19.0"))
    async with serving(north.app) as url, silence() as nowhere:
        given = {"database": "north", "login": "aigen-bridge", "api_key": "key-in-north"}
        others: dict[str, Any] = {"north": given | {"url": url}, "silent": given | {"url": nowhere}}
        others["silent"]["transport"] = "jsonrpc"
        async with staged(database_url, odoos=others, clients=CLIENTS | WHO, worker=QUICK) as stage:
            yield Odoos(stage, {"default": stage.chain.odoo, "north": north})


async def test_each_result_arrives_in_its_own_odoo_while_one_does_not_answer(odoos: Odoos, database: Database) -> None:
    async with working(odoos.settings):
        silent = [await odoos.ask("silent") for _ in range(3)]
        asked = {name: [await odoos.ask(name) for _ in range(4)] for name in ("default", "north")}
        for request_id in (each for ids in asked.values() for each in ids):
            await odoos.stage.until_delivered(request_id, seconds=30)  # the silent one is waited for longer: 45 s

    received = {name: sorted(record.request_id for record in odoo.records) for name, odoo in odoos.answering.items()}
    assert received == {name: sorted(ids) for name, ids in asked.items()}
    assert {record.applied for odoo in odoos.answering.values() for record in odoo.records} == {1}
    undelivered = "SELECT request_id::text FROM requests WHERE delivered_at IS NULL ORDER BY 1"
    assert [found for (found,) in await rows(database, undelivered.replace("::", "\\:\\:"))] == sorted(silent)
    routes = {name: {call.route for call in odoo.calls} - {"version"} for name, odoo in odoos.answering.items()}
    assert routes == {"default": {"jsonrpc"}, "north": {"json2"}}
    assert dict(await rows(database, "SELECT name, database_uuid FROM odoos")) == {
        name: odoo.database_uuid for name, odoo in odoos.answering.items()
    }


async def test_a_copy_of_a_database_gets_no_result_until_a_person_confirms_it(odoos: Odoos, database: Database) -> None:
    north = odoos.answering["north"]
    production, copy = north.database_uuid, "00000000-0000-0000-0000-000000000002"
    await write(database, "INSERT INTO odoos (name, database_uuid) VALUES ('north', :uuid)", uuid=production)
    north.database_uuid = copy
    async with working(odoos.settings):
        asked, beside = await odoos.ask("north"), await odoos.ask("default")
        await odoos.stage.until_delivered(beside)
        async with asyncio.timeout(20):
            while not (refused := await rows(database, "SELECT detail FROM attempts WHERE outcome = 'retry'")):
                await asyncio.sleep(0.05)
        applied = [record.applied for record in north.records]
        await write(database, "UPDATE odoos SET database_uuid = :uuid WHERE name = 'north'", uuid=copy)
        await odoos.stage.until_delivered(asked)

    [(detail, *_)] = refused[:1]
    assert all(each in detail for each in ("Odoo north", production, copy, "aigen-bridge odoos confirm north"))
    assert sum(applied) == 0
    assert north.records[asked].applied == 1


async def test_readiness_metrics_and_the_resource_name_the_odoo_that_is_away(odoos: Odoos, database: Database) -> None:
    async with working(odoos.settings):
        asked = await odoos.ask("silent")
        await odoos.stage.until(asked, lambda found: found["status"] == "completed")
    await write(
        database,
        "UPDATE destinations SET failures = 20, opened_at = now(), probe_at = now() WHERE name = 'odoo:silent'",
    )
    ready = (await odoos.stage.api.get("/health/ready")).json()["destinations"]
    metrics = (await odoos.stage.api.get("/metrics")).text

    assert {name: (each["state"], each["held"]) for name, each in ready.items()} == {
        "n8n": ("ok", 0),
        "odoo": ("ok", 0),
        "odoo:north": ("ok", 0),
        "odoo:silent": ("out", 1),
    }
    assert 'aigen_breaker_open{destination="odoo:silent"} 1.0' in metrics
    assert 'aigen_outbox_pending{odoo="silent",step="deliver"} 1.0' in metrics
    assert (await odoos.stage.read(asked))["held"]["destination"] == "odoo:silent"
