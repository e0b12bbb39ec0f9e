"""N8N dies, is away, or is busy."""

import asyncio

from players import RealPlayer, SimulatedPlayer
from theatre import DEAD_LETTERS, Opened, clients, connection, eventually

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Stage


async def test_the_deadline_of_the_bridge_ends_a_request_that_a_killed_n8n_forgets(open_theatre: Opened) -> None:
    theatre = await open_theatre(callback={"deadline": 10})
    theatre.flux.faults.add(Fault(kind=FaultKind.DELAY, route="generate", delay=60))
    asked = await theatre.ask()

    async def generating() -> object | None:
        return theatre.calls("generate", asked) or None

    await eventually(generating)
    await theatre.n8n.kill()
    try:
        ended = await theatre.until_delivered(asked["requestId"])
    finally:
        await theatre.n8n.start()

    assert (ended["status"], ended["errorCode"]) == ("failed", "timed_out")
    assert theatre.odoo.records[asked["requestId"]].error_code == "timed_out"


async def test_executions_of_a_killed_n8n_are_dispatched_again_as_soon_as_it_is_back(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    asked = [await theatre.ask() for _ in range(3)]

    async def named() -> object | None:
        return all(theatre.calls("progress", one) for one in asked) or None

    await eventually(named)
    await theatre.n8n.kill()
    theatre.flux.jobs.release(Stage.IN_PROGRESS)
    await theatre.n8n.start()
    ended = [await theatre.until_delivered(one["requestId"]) for one in asked]

    assert [one["status"] for one in ended] == ["completed"] * 3
    assert all(theatre.odoo.records[one["requestId"]].applied == 1 for one in asked)
    assert await theatre.dead_letters_of(*asked) == []
    for one in asked:
        assert len(theatre.flux.jobs.of(one["correlationId"])) == 1


async def test_a_job_that_is_not_wanted_any_more_is_cancelled_at_the_ai_service(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    asked = await theatre.ask()

    async def generating() -> object | None:
        return theatre.calls("progress", asked) or None

    async def cancelled() -> object | None:
        [job] = theatre.flux.jobs.of(asked["correlationId"])
        return job.ending

    await eventually(generating)
    await theatre.call("POST", f"/api/v1/influencegen/ai-image-requests/{asked['requestId']}/cancel")
    await eventually(cancelled)
    await theatre.settle()
    assert (theatre.callbacks(asked), len(theatre.flux.jobs.of(asked["correlationId"]))) == ([], 1)


async def test_a_crash_of_the_workflow_ends_the_request_at_once(open_theatre: Opened) -> None:
    theatre = await open_theatre("bug")
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])
    [letter] = await theatre.dead_letters_of(asked)

    assert (ended["status"], ended["errorCode"]) == ("failed", "workflow_failed")
    assert (letter["kind"], letter["errorCode"]) == ("n8n", "n8n_execution_failed")


async def test_an_upgrade_of_n8n_loses_no_request_and_pays_for_none_twice(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.faults.add(Fault(kind=FaultKind.DELAY, route="generate", delay=3))
    under_way = await theatre.ask()

    async def generating() -> object | None:
        return theatre.calls("generate", under_way) or None

    await eventually(generating)
    await theatre.bridge.hold()
    meanwhile = await theatre.ask()
    await theatre.until_status(under_way["requestId"], "completed")
    await theatre.n8n.stop()
    await theatre.n8n.start()
    await theatre.bridge.go_on()

    for asked in (under_way, meanwhile):
        assert (await theatre.until_delivered(asked["requestId"]))["status"] == "completed"
        assert len(theatre.calls("generate", asked)) == 1
    assert await theatre.dead_letters_of(under_way, meanwhile) == []


async def test_requests_that_were_held_too_long_while_n8n_was_away_are_replayed_by_one_command(
    player: RealPlayer | SimulatedPlayer, open_theatre: Opened
) -> None:
    theatre = await open_theatre(n8n=connection(player.webhook("v2"), breaker={"hold": 10}))
    await theatre.n8n.kill()
    asked = await theatre.ask()
    try:
        [letter] = await theatre.until_dead(kind="dispatch")
    finally:
        await theatre.n8n.start()
    await theatre.call("POST", f"{DEAD_LETTERS}/replay", json={"kind": "dispatch"})

    await theatre.until_status(asked["requestId"], "completed")
    assert letter["requestId"] == asked["requestId"]


async def test_a_workflow_from_before_the_shipped_one_still_works(open_theatre: Opened) -> None:
    n8n = clients()["n8n"] | {"signature_required": False}
    theatre = await open_theatre("old", clients=clients() | {"n8n": n8n})
    asked = await theatre.ask(resolution="512x512", aspectRatio="1:1")
    ended = await theatre.until_delivered(asked["requestId"])

    [callback] = theatre.callbacks(asked)
    assert (ended["status"], callback.path[:8], callback.status) == ("completed", "/api/v1/", 202)
    assert "webhook-signature" not in callback.headers
    assert theatre.gate.calls.to("wanted") == []


async def test_a_bridge_from_before_the_protocol_still_gets_its_image(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(Fault(kind=FaultKind.STATUS, route="ask", status=404, times=None))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    assert (ended["status"], len(theatre.flux.jobs.of(asked["correlationId"]))) == ("completed", 1)
    assert len(theatre.calls("wanted", asked)) == 1
    assert theatre.calls("job", asked) == theatre.calls("progress", asked) == []


async def test_twenty_requests_at_once_all_arrive_once(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    asked = await asyncio.gather(*(theatre.ask() for _ in range(20)))
    ended = [await theatre.until_delivered(one["requestId"]) for one in asked]

    assert [one["status"] for one in ended] == ["completed"] * 20
    assert all(theatre.odoo.records[one["requestId"]].applied == 1 for one in asked)
    assert await theatre.dead_letters_of(*asked) == []
