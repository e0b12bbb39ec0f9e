"""The version before several Odoos runs beside this one on one database, as during a rolling upgrade.

It knows one Odoo. It takes callbacks for requests of another Odoo, fetches their images, fails them and repairs them,
and must leave all their deliveries to this version.
"""

import asyncio
import json
import subprocess
import tarfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from aigen_bridge.domain.request import Status, Transition
from aigen_bridge.sim.odoo import OdooSettings, OdooSimulator
from aigen_bridge.sim.serving import serving
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from callbacks import completed, picture_of
from outages import rows, write
from processes import started
from stage import CALLBACK, CLIENTS, KEYS, REQUESTS, Stage, make_event, staged, working

BEFORE = "a34ce97"
"""The last commit of the version that knows one Odoo."""
ROOT = Path(__file__).parents[2]
NORTH = {"north": {"keys": ["key-of-north"], "scopes": ["requests"], "odoo": "north"}}


@pytest.fixture(scope="module")
def version_before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment in which a process runs the version before."""
    folder = tmp_path_factory.mktemp("before")
    archive = folder / "source.tar"
    command = ["git", "-C", str(ROOT), "archive", "-o", str(archive), BEFORE, "src", "migrations"]
    try:
        subprocess.run(command, check=True, capture_output=True, timeout=30)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"the version before is not here: git has no commit {BEFORE} (a shallow clone, or no repository)")
    with tarfile.open(archive) as source:
        source.extractall(folder, filter="data")
    return {"PYTHONPATH": str(folder / "src")}


@dataclass(frozen=True)
class Upgrade:
    """This version's API, the other version's API, and an Odoo that only this version knows."""

    stage: Stage
    before: httpx.AsyncClient
    north: OdooSimulator
    requests: Requests

    async def ask(self, odoo: str, status: str | None = None) -> dict[str, Any]:
        """Asks for an image as the addon in this Odoo does. Without a worker, the test moves the request."""
        key = NORTH["north"]["keys"][0] if odoo == "north" else KEYS["odoo"]
        answer = await self.stage.api.post(REQUESTS, json=make_event(), headers={"X-API-Key": key})
        asked: dict[str, Any] = answer.json()
        if status:
            before = frozenset({Status.QUEUED})
            request_id = UUID(asked["requestId"])
            assert await self.requests.apply(Transition(request_id=request_id, before=before, after=Status(status)))
        return asked

    async def report(self, event: dict[str, Any]) -> None:
        """Reports to the version before, as N8N does."""
        answer = await self.before.post(CALLBACK, json=event, headers=self.stage.as_client("n8n"))
        assert answer.status_code == 202, answer.text


@pytest.fixture
async def upgrade(
    database_url: str, database: Database, version_before: dict[str, str], tmp_path: Path
) -> AsyncIterator[Upgrade]:
    async with AsyncExitStack() as opened:
        north = OdooSimulator(OdooSettings(api_key="key-in-north", database="north"))
        url = await opened.enter_async_context(serving(north.app))
        other = {"north": {"url": url, "database": "north", "login": "aigen-bridge", "api_key": "key-in-north"}}
        stage = await opened.enter_async_context(staged(database_url, odoos=other, clients=CLIENTS | NORTH))
        settings = _environment(stage, database_url) | version_before
        api = await opened.enter_async_context(
            started("serve", "--port", "0", environment=settings, cwd=tmp_path, ready="running on")
        )
        port = json.loads(api.said.splitlines()[-1])["event"].split(":")[2].split()[0]
        before = await opened.enter_async_context(httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False))
        worker = started("worker", environment=settings, cwd=tmp_path, ready=r"worker\.started")
        await opened.enter_async_context(worker)
        deadlines = Deadlines(callback=timedelta(minutes=10), image_url=timedelta(minutes=5))
        yield Upgrade(stage, before, north, Requests(database, deadlines, PostgresImages(database)))


def _environment(stage: Stage, database_url: str) -> dict[str, str]:
    """The settings of the version before: it has none for another Odoo."""
    sections = {**stage.chain.bridge, "clients": CLIENTS}
    return {
        "AIGEN_DATABASE_URL": database_url,
        "AIGEN_PUBLIC_URL": stage.settings.public_url,
        "AIGEN_WORKER__POLL": "200ms",
        "AIGEN_IMAGE_URLS__ALLOW_HTTP": "true",
        "AIGEN_IMAGE_URLS__TRUSTED_NETWORKS": '["127.0.0.0/8"]',
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
    }


async def test_the_version_before_never_delivers_a_result_of_another_odoo(
    upgrade: Upgrade, database: Database, png: bytes
) -> None:
    # The version before takes a callback, fetches an image, fails a request and repairs one that has no entry.
    reported, overdue = await upgrade.ask("north", "dispatched"), await upgrade.ask("north", "dispatched")
    fetched, orphaned = await upgrade.ask("north", "dispatched"), await upgrade.ask("north", "cancelled")
    waiting, mine = await upgrade.ask("north"), await upgrade.ask("default")
    await upgrade.report(completed(reported, png))
    await upgrade.report(await picture_of(upgrade.stage, fetched))
    await write(database, "DELETE FROM outbox WHERE request_id = :id AND state = 'pending'", id=orphaned["requestId"])
    await write(database, _AGED, orphaned=orphaned["requestId"], overdue=overdue["requestId"])
    ended = [each["requestId"] for each in (reported, overdue, fetched, orphaned)]
    async with asyncio.timeout(30):
        while await rows(database, _UNFINISHED, ended=ended):
            await asyncio.sleep(0.05)
    await upgrade.stage.until_delivered(mine["requestId"])
    pending = await rows(database, _PENDING)

    assert pending == sorted([("deliver:north", UUID(each)) for each in ended] + [("dispatch:north", _id(waiting))])
    assert await rows(database, _TRIED) == [("fetch",)]

    # This version joins, and delivers each of them once.
    async with working(upgrade.stage.settings):
        for each in (*ended, waiting["requestId"]):
            await upgrade.stage.until_delivered(each)

    assert [record.request_id for record in upgrade.stage.chain.odoo.records] == [mine["requestId"]]
    assert sorted(record.request_id for record in upgrade.north.records) == sorted([*ended, waiting["requestId"]])
    assert {record.applied for record in upgrade.north.records} == {1}


_AGED = """
    UPDATE requests SET
        callback_deadline_at = CASE request_id WHEN :overdue THEN now() ELSE callback_deadline_at END,
        completed_at = CASE request_id WHEN :orphaned THEN now() - interval '1 hour' ELSE completed_at END
    WHERE request_id IN (:orphaned, :overdue)
"""
_UNFINISHED = """
    SELECT FROM unnest(CAST(:ended AS uuid[])) AS ended (request_id) WHERE NOT EXISTS (
        SELECT FROM outbox AS o WHERE o.request_id = ended.request_id AND o.step = 'deliver:north'
            AND o.state = 'pending'
    )
"""
_TRIED = "SELECT DISTINCT a.step FROM attempts AS a JOIN requests AS r USING (request_id) WHERE r.odoo = 'north'"
_PENDING = "SELECT step, request_id FROM outbox WHERE state = 'pending' AND step <> 'alert' ORDER BY step, request_id"


def _id(asked: dict[str, Any]) -> UUID:
    return UUID(asked["requestId"])
