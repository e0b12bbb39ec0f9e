"""A simulated N8N that is killed reports the executions that it finds dead, by their ids only, as the real one does."""

import asyncio
import json
from contextlib import asynccontextmanager

from n8n_stage import N8N_KEY, WEBHOOK, settings
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

from aigen_bridge.sim.n8n import N8nSimulator
from aigen_bridge.sim.serving import serving

CRASH = "Workflow did not finish, possible out-of-memory issue"


@asynccontextmanager
async def bridge():
    """What the workflow asks and tells: the ids that asked, the reports that came."""
    asked, reports = [], []

    async def wanted(request):
        asked.append(request.query_params["executionId"])
        return JSONResponse({"wanted": True})

    async def failures(request):
        reports.append((await request.form())["event"])
        return JSONResponse({"id": f"callback-{len(reports)}"}, 202)

    async def callback(request):
        event = json.loads(await request.body())
        return JSONResponse({"requestId": event["requestId"]}, 202)

    routes = [
        Route("/api/v1/influencegen/ai-image-requests/{id}/wanted", wanted),
        Route("/api/v1/influencegen/ai-image-callback", callback, methods=["POST"]),
        Route("/api/v1/ops/n8n-failures", failures, methods=["POST"]),
    ]
    async with serving(Starlette(routes=routes)) as url:
        yield url, asked, reports


async def until(count, found):
    async with asyncio.timeout(10):
        while len(found) < count:
            await asyncio.sleep(0.01)


def reported(reports):
    return [json.loads(report) for report in reports]


async def test_each_start_reports_the_executions_that_died(http, make_event, tmp_path):
    async with bridge() as (url, asked, reports):
        at = settings(bridge_url=url, seconds=60, executions_path=tmp_path / "executions")
        for start in range(3):
            simulator = N8nSimulator(at)  # as a new process: what it knows is in the file
            async with serving(simulator.app) as n8n:
                if start == 0:
                    event = make_event() | {"callbackUrl": f"{url}/api/v1/influencegen/ai-image-callback"}
                    answer = await http.post(n8n + WEBHOOK, json=event, headers={"X-API-Key": N8N_KEY})
                    assert answer.status_code == 202
                    await until(1, asked)
                await until(start, reports)
    told = reported(reports)
    assert [(one["executionId"], one["errorMessage"], one["requestId"]) for one in told] == [
        (asked[0], CRASH, None)
    ] * 2
    assert {one["errorName"] for one in told} == {"WorkflowCrashedError"}


async def test_what_ended_is_not_reported(http, make_event):
    async with bridge() as (url, asked, reports):
        simulator = N8nSimulator(settings(bridge_url=url))
        for start in (1, 2):
            async with serving(simulator.app) as n8n:
                event = make_event() | {"callbackUrl": f"{url}/api/v1/influencegen/ai-image-callback"}
                await http.post(n8n + WEBHOOK, json=event, headers={"X-API-Key": N8N_KEY})
                await until(start, asked)
                await simulator.idle()
    assert [attempt.status for attempt in simulator.attempts] == [202, 202]
    assert reports == []
