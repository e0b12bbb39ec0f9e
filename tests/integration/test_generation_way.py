"""The picture arrives and is paid for once, wherever N8N dies or stands still, and old workflows work as before.

N8N is simulated and reports nothing about what died: only its silence tells.
"""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Job
from aigen_bridge.sim.flux_jobs import Stage as JobStage
from aigen_bridge.sim.n8n_nodes import Node
from aigen_bridge.store.database import Database
from outages import rows, write
from stage import REQUESTS, Stage, staged, working

WINDOW = {Node.WHILE_SUBMITTING, Node.BEFORE_JOB}
"""Submitted, and not named: nobody but the AI service knows whether there is a job."""


@pytest.fixture
async def watchful(database_url: str) -> AsyncIterator[Stage]:
    """A bridge that looks often whether N8N is silent, and an N8N that does not report what died."""
    often = {"poll": "0.1s"}
    async with staged(database_url, n8n={"crash_reports": 0}, worker=often) as stage, working(stage.settings):
        yield stage


async def end_quiet_time(database: Database) -> None:
    """Ends the quiet time of every generation, as if the API had been there all the time."""
    await write(database, "UPDATE api_beats SET since = now() - interval '1 day'")
    await write(database, "UPDATE generations SET quiet_until = now() - interval '1 hour'")


async def until_final(stage: Stage, database: Database, asked: dict[str, Any]) -> dict[str, Any]:
    """Waits for the end of a request. While N8N has no execution, the quiet time is over, because nobody can speak."""
    async with asyncio.timeout(30):
        while not (found := await stage.read(asked["requestId"]))["deliveredAt"]:
            if not stage.chain.n8n.running:
                await end_quiet_time(database)
            await asyncio.sleep(0.05)
    return found


def jobs(stage: Stage, asked: dict[str, Any]) -> list[Job]:
    return stage.chain.flux.jobs.of(asked["correlationId"])


async def test_the_picture_arrives_whatever_node_n8n_dies_at(watchful: Stage, database: Database) -> None:
    for node in Node:
        watchful.chain.n8n.faults.add(Fault(kind=FaultKind.KILL, route=node))
        asked = await watchful.ask()
        ended = await until_final(watchful, database, asked)

        assert watchful.chain.n8n.faults.taken[f"{node}:kill"] == 1
        assert (node, ended["status"]) == (node, "completed")
        assert watchful.chain.odoo.records[asked["requestId"]].applied == 1
        assert (node, len(jobs(watchful, asked))) in {(node, 1), *((window, 2) for window in WINDOW)}
        await watchful.chain.n8n.idle()


async def test_an_n8n_that_stood_still_and_the_execution_that_replaced_it_have_one_job(
    watchful: Stage, database: Database
) -> None:
    n8n = watchful.chain.n8n
    n8n.faults.add(Fault(kind=FaultKind.PAUSE, route=Node.WHILE_POLLING))
    asked = await watchful.ask()
    async with asyncio.timeout(10):
        while not n8n.faults.taken:
            await asyncio.sleep(0.02)
    await end_quiet_time(database)
    async with asyncio.timeout(10):
        while len(n8n.calls.to("webhook")) < 2:
            await asyncio.sleep(0.02)
    n8n.wake()
    ended = await watchful.until_delivered(asked["requestId"])
    await n8n.idle()

    assert (ended["status"], len(jobs(watchful, asked))) == ("completed", 1)
    assert watchful.chain.odoo.records[asked["requestId"]].applied == 1


async def test_a_cancelled_request_is_cancelled_at_the_provider(stage: Stage) -> None:
    flux = stage.chain.flux
    flux.jobs.hold(JobStage.IN_PROGRESS)
    asked = await stage.ask()
    await flux.jobs.reached(JobStage.IN_PROGRESS)
    cancel = await stage.api.post(f"{REQUESTS}/{asked['requestId']}/cancel", headers=stage.as_client("odoo"))
    await flux.jobs.reached(JobStage.COMPLETED)
    await stage.chain.n8n.idle()

    [job] = jobs(stage, asked)
    assert cancel.status_code == 200
    assert job.ending is not None
    assert job.ending.status == 499


async def test_an_old_workflow_gets_today_s_behaviour(database_url: str) -> None:
    async with staged(database_url, n8n={"speaks": False}) as stage, working(stage.settings):
        asked = await stage.ask()
        ended = await stage.until_delivered(asked["requestId"])

    assert (ended["status"], [job.queued for job in jobs(stage, asked)]) == ("completed", [False])


async def test_one_sweep_ends_every_quiet_time_that_is_over(database_url: str, database: Database) -> None:
    await write(
        database,
        "INSERT INTO requests (request_id, correlation_id, event, status, completed_at, delivered_at) "
        "SELECT gen_random_uuid(), gen_random_uuid(), '{}', 'cancelled', now(), now() FROM generate_series(1, 250)",
    )
    over = "SELECT request_id, now() - interval '1 hour' FROM requests"
    await write(database, f"INSERT INTO generations (request_id, quiet_until) {over}")
    await write(database, "INSERT INTO api_beats (id, since, at) VALUES (1, now() - interval '1 day', now())")

    async with staged(database_url, worker={"poll": "1h"}) as stage, working(stage.settings), asyncio.timeout(10):
        while await rows(database, "SELECT FROM generations WHERE quiet_until IS NOT NULL LIMIT 1"):
            await asyncio.sleep(0.05)
