"""kill -9 in the middle: what was accepted is carried out all the same, once."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx

from aigen_bridge.clients.signing_certificate import make_test_certificate
from aigen_bridge.sim.faults import Fault, FaultKind
from callbacks import completed, report
from processes import started
from stage import KEYS, REQUESTS, Stage, make_event, staged


def environment(stage: Stage, **extra: str) -> dict[str, str]:
    """The stage's settings for a process of its own."""
    url = stage.settings.database_url.get_secret_value().replace("+psycopg", "")
    sections = {**stage.chain.bridge, "clients": {"odoo": {"keys": [KEYS["odoo"]], "scopes": ["requests"]}}}
    return {
        "AIGEN_DATABASE_URL": url,
        "AIGEN_PUBLIC_URL": stage.settings.public_url,
        **{f"AIGEN_{name.upper()}": json.dumps(value) for name, value in sections.items()},
        **extra,
    }


async def test_a_worker_killed_during_a_delivery_leads_to_one_effect_in_odoo(idle_stage: Stage, tmp_path: Path) -> None:
    stage = idle_stage
    short = {
        "AIGEN_N8N__TIMEOUT": "1",
        "AIGEN_ODOO__TIMEOUT": "1.5",
        "AIGEN_IMAGE_URLS__TIMEOUT": "1",
        "AIGEN_WORKER__LEASE": "2",
    }
    stage.chain.odoo.faults.add(Fault(kind=FaultKind.DELAY, delay=1))
    asked = await stage.ask()
    settings = environment(stage, **short)
    async with started("worker", environment=settings, cwd=tmp_path, ready=r"worker\.started") as first:
        await _called(stage, "jsonrpc")
        first.process.send_signal(signal.SIGKILL)
        await first.process.wait()
    async with started("worker", environment=settings, cwd=tmp_path, ready=r"worker\.started"):
        ended = await stage.until_delivered(asked["requestId"])

    outcomes = [e["outcome"] for e in await stage.timeline(asked["requestId"]) if e.get("step") == "deliver"]
    assert ended["status"] == "completed"
    assert outcomes == ["lost", "done"]
    assert stage.chain.odoo.records[asked["requestId"]].applied == 1


async def test_a_worker_killed_while_it_marks_an_image_leads_to_one_marked_image(
    database_url: str, tmp_path: Path, png: bytes
) -> None:
    certificate, key = make_test_certificate(tmp_path / "certificate", datetime.now(UTC))
    signing = {"mode": "c2pa", "certificate": str(certificate), "key": str(key)}
    async with staged(database_url, marking=signing) as stage, _silent_service() as (url, called):
        stage.chain.n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, times=None))
        asked = await stage.ask()
        assert (await report(stage, completed(asked, png))).json()["status"] == "received"
        short = {f"AIGEN_{name}__TIMEOUT": "1" for name in ("N8N", "ODOO", "IMAGE_URLS", "MARKING")}
        settings = environment(stage, AIGEN_WORKER__LEASE="2", **short)
        slow = settings | {"AIGEN_MARKING": json.dumps(signing | {"timestamp_url": url, "timeout": "1.5"})}
        async with started("worker", environment=slow, cwd=tmp_path, ready=r"worker\.started") as first:
            await asyncio.wait_for(called.wait(), 20)
            first.process.send_signal(signal.SIGKILL)
            await first.process.wait()
        settings["AIGEN_MARKING"] = json.dumps(signing)
        async with started("worker", environment=settings, cwd=tmp_path, ready=r"worker\.started"):
            ended = await stage.until_delivered(asked["requestId"])
        outcomes = [e["outcome"] for e in await stage.timeline(asked["requestId"]) if e.get("step") == "mark"]

    assert (ended["status"], ended["provenance"]["marked"]) == ("completed", "c2pa")
    assert outcomes == ["lost", "done"]
    assert stage.chain.odoo.records[asked["requestId"]].applied == 1


@asynccontextmanager
async def _silent_service() -> AsyncIterator[tuple[str, asyncio.Event]]:
    """Accepts connections and says nothing. Yields its URL, and an event for the first connection."""
    called, writers = asyncio.Event(), []

    def accept(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        called.set()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", called
    finally:
        server.close()
        for writer in writers:
            writer.close()
            await writer.wait_closed()


async def test_everything_that_was_answered_with_202_before_kill_9_is_there_afterwards(
    idle_stage: Stage, tmp_path: Path
) -> None:
    stage, accepted = idle_stage, []
    settings = environment(stage)
    async with started("serve", "--port", "0", environment=settings, cwd=tmp_path, ready="running on") as api:
        port = json.loads(api.said.splitlines()[-1])["event"].split(":")[2].split()[0]
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", verify=False) as client:

            async def ask_on_and_on() -> None:
                while True:
                    event = make_event()
                    answer = await client.post(REQUESTS, json=event, headers={"X-API-Key": KEYS["odoo"]})
                    if answer.status_code == 202:
                        accepted.append(event["requestId"])

            asking = [asyncio.create_task(ask_on_and_on()) for _ in range(8)]
            async with asyncio.timeout(20):
                while len(accepted) < 100:
                    await asyncio.sleep(0.01)
            api.process.send_signal(signal.SIGKILL)
            results = await asyncio.gather(*asking, return_exceptions=True)

    assert all(isinstance(result, httpx.TransportError) for result in results)
    for request_id in accepted:
        assert (await stage.read(request_id))["status"] == "queued"


async def _called(stage: Stage, route: str) -> None:
    async with asyncio.timeout(20):
        while not stage.chain.odoo.calls.to(route):
            await asyncio.sleep(0.01)
