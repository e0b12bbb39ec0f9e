"""The bridge is busy, down, or refuses a callback: the result is delivered later, or kept with its image."""

from theatre import CALLBACK_KEY, DEAD_LETTERS, Opened, clients, eventually

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Stage


def busy(times: int, **more: float) -> Fault:
    return Fault(kind=FaultKind.STATUS, route="callback", status=503, times=times, **more)


async def test_a_callback_is_sent_again_after_1_and_2_seconds_with_the_same_id(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(busy(2))
    asked = await theatre.ask()
    ended = await theatre.until_delivered(asked["requestId"])

    attempts = theatre.callbacks(asked)
    assert ended["status"] == "completed"
    assert [call.status for call in attempts] == [503, 503, 202]
    assert len({call.headers["webhook-id"] for call in attempts}) == 1
    if theatre.n8n.real:
        assert attempts[1].at - attempts[0].at >= 1
        assert attempts[2].at - attempts[1].at >= 2


async def test_retry_after_is_respected(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(busy(1, retry_after=3))
    asked = await theatre.ask()
    await theatre.until_delivered(asked["requestId"])

    first, second = theatre.callbacks(asked)
    assert second.at - first.at >= 3


async def test_what_a_dead_bridge_could_not_take_is_replayed_with_its_image(open_theatre: Opened) -> None:
    theatre = await open_theatre("v1-url")
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    asked = await theatre.ask()
    await eventually(lambda: _truth(theatre.calls("progress", asked)))
    await theatre.bridge.stop()
    theatre.flux.jobs.release(Stage.IN_PROGRESS)
    await eventually(lambda: _truth(len(theatre.callbacks(asked)) >= 4))
    await theatre.bridge.start()

    [letter] = await theatre.until_dead(kind="n8n")
    assert (letter["requestId"], letter["errorCode"]) == (asked["requestId"], "n8n_undelivered")
    assert "/executions/" in letter["detail"]
    replayed = await theatre.call("POST", f"{DEAD_LETTERS}/{letter['id']}/replay")
    ended = await theatre.until_delivered(asked["requestId"])
    assert (replayed.status_code, ended["status"]) == (200, "completed")
    assert theatre.odoo.records[asked["requestId"]].sha256 == ended["image"]["sha256"]
    assert len(theatre.callbacks(asked)) == 4


async def test_a_wrong_key_keeps_the_result_until_it_is_mended(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.flux.jobs.hold(Stage.IN_PROGRESS)
    asked = await theatre.ask()
    await eventually(lambda: _truth(theatre.calls("progress", asked)))
    await theatre.bridge.stop()
    await theatre.bridge.start(clients=clients("another-key"))
    theatre.flux.jobs.release(Stage.IN_PROGRESS)
    await eventually(lambda: _truth(theatre.gate.calls.to("failures")))
    [refused] = theatre.callbacks(asked)
    await theatre.bridge.stop()
    await theatre.bridge.start(clients=clients(CALLBACK_KEY))

    [letter] = await theatre.until_dead(kind="n8n")
    await theatre.call("POST", f"{DEAD_LETTERS}/{letter['id']}/replay")
    ended = await theatre.until_delivered(asked["requestId"])
    assert (refused.status, letter["requestId"], ended["status"]) == (401, asked["requestId"], "completed")


async def test_what_the_bridge_refuses_and_keeps_itself_is_not_reported_twice(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    problem = Fault(kind=FaultKind.STATUS, route="callback", status=422)
    theatre.gate.faults.add(problem)
    asked = await theatre.ask()
    await eventually(lambda: _truth(theatre.callbacks(asked)))
    await theatre.settle()

    assert len(theatre.callbacks(asked)) == 1
    assert theatre.gate.calls.to("failures") == []


async def test_a_crash_of_the_workflow_raises_a_dead_letter_with_the_link_to_the_execution(
    open_theatre: Opened,
) -> None:
    theatre = await open_theatre("broken")
    await theatre.ask()

    [letter] = await theatre.until_dead(kind="n8n")
    replayed = await theatre.call("POST", f"{DEAD_LETTERS}/{letter['id']}/replay")
    await theatre.settle()
    assert (letter["errorCode"], len(theatre.gate.calls.to("failures"))) == ("n8n_execution_failed", 1)
    assert "/executions/" in letter["detail"]
    assert (replayed.status_code, replayed.json()["code"]) == (409, "nothing_to_replay")


async def _truth(found: object) -> object | None:
    return found or None


async def test_a_failed_execution_can_be_run_again_by_a_person_and_fails_again(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    theatre.gate.faults.add(busy(8))
    asked = await theatre.ask()
    await theatre.until_dead(kind="n8n")
    for _ in range(2):
        await theatre.settle()
        await theatre.n8n.retry(asked["requestId"])
    ended = await theatre.until_delivered(asked["requestId"])

    await theatre.settle()
    assert ended["status"] == "completed"
    assert [call.status for call in theatre.callbacks(asked)] == [503] * 8 + [202]
