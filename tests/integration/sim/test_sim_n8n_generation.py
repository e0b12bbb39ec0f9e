"""The simulated workflow and the generation protocol: ask, submit, name the job, poll it, call back, or just end."""

import asyncio

import httpx
import pytest
from n8n_stage import COMPLETED, FAILED, FLUX_KEY, SECRET, checked
from scripted_bridge import CALLBACK, ScriptedBridge, problem
from starlette.responses import HTMLResponse, JSONResponse

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux_jobs import Stage
from aigen_bridge.sim.n8n_nodes import Node
from aigen_bridge.sim.serving import serving

WAIT = JSONResponse({"status": "dispatched", "decision": "wait", "retryAfter": 0.01})
AWAY = JSONResponse({"detail": "not now"}, 503)
WINDOW = {Node.WHILE_SUBMITTING, Node.BEFORE_JOB}
"""Killed here, an execution may have submitted a job that nobody knows."""


@pytest.fixture
async def bridge():
    scripted = ScriptedBridge()
    async with serving(scripted.app) as url:
        scripted.url = url
        yield scripted


@pytest.fixture
async def send(start, bridge, flux, make_event):
    """A function that starts N8N, with faults and settings, and sends it an event; the same event at each call."""
    event = make_event(callbackUrl=bridge.url + CALLBACK)
    posts = []

    async def send(*faults, patience=10, **changes):
        if not posts:
            known = {"bridge_url": bridge.url, "flux_url": flux.url, "flux_key": FLUX_KEY, "ask_wait": 0.01}
            posts.append(await start(**known | changes))
        n8n, post = posts[0]
        n8n.url = post.url
        n8n.faults.add(*faults)
        async with asyncio.timeout(patience):
            assert (await post(event)).status_code == 202
        return n8n

    return send


def generate(kind, **more):
    return Fault(kind=kind, route="generate", **more)


async def ended(n8n, flux, bridge):
    """Waits for the execution's end, and returns the number of its jobs, and whether it ended without a word."""
    await n8n.idle()
    return len(flux.jobs), not bridge.of("callback") and not bridge.of("failure")


async def test_it_asks_submits_names_its_job_reports_progress_and_calls_back(send, bridge, flux):
    flux.jobs.hold(Stage.IN_QUEUE)
    n8n = await send(signing_secret=SECRET, repeat_progress=0)
    await bridge.until("progress", 2)
    flux.jobs.release(Stage.IN_QUEUE)
    [callback] = await bridge.until("callback")
    await n8n.idle()
    [job], [named] = flux.jobs, bridge.of("job")
    assert bridge.kinds == ["ask", "job", "progress", "callback"]
    assert (named["provider"], named["jobId"], named["statusUrl"][-7:]) == ("fal", job.id, "/status")
    assert {body["executionId"] for _, body in bridge.words} == {callback["executionId"]}
    assert bridge.of("progress")[0] == {**bridge.of("progress")[0], "stage": "queued", "queuePosition": 0}
    assert bridge.of("progress")[-1]["stage"] == "finishing"
    assert checked(callback, COMPLETED)["generation"]["jobId"] == job.id


async def test_it_goes_on_with_a_known_job_instead_of_submitting_one(send, bridge, flux):
    n8n = await send()
    await bridge.until("callback")
    await n8n.idle()
    bridge.words.clear()
    await send()
    [callback] = await bridge.until("callback")
    assert bridge.kinds == ["ask", "progress", "callback"]
    assert (len(flux.jobs), callback["status"]) == (1, "completed")


async def test_it_asks_again_while_another_execution_holds_the_grant(send, bridge, flux):
    bridge.answers["ask"] = [WAIT, WAIT]
    await send()
    await bridge.until("callback")
    assert (len({ask["askKey"] for ask in bridge.of("ask")}), len(flux.jobs)) == (3, 1)


@pytest.mark.parametrize("answer", ["stop", "wait", "nothing", "refusal"])
async def test_without_a_grant_it_ends_without_a_job_and_without_a_word(send, bridge, flux, answer):
    decided = {"status": "dispatched", "decision": answer, "retryAfter": 0.01}
    answers = {"nothing": AWAY, "refusal": problem(409, code="correlation_mismatch", detail="another request")}
    bridge.answers["ask"] = [answers.get(answer, JSONResponse(decided))] * 100
    n8n = await send(ask_for=0.1, wait_for=0.1)
    assert await ended(n8n, flux, bridge) == (0, True)
    assert len({ask["askKey"] for ask in bridge.of("ask")}) == (len(bridge.of("ask")) if answer == "wait" else 1)


async def test_a_question_whose_answer_was_lost_is_asked_again_with_the_same_key(send, bridge, flux):
    bridge.answers["ask"] = [AWAY, HTMLResponse("<h1>Sign in</h1>"), HTMLResponse("<h1>Not found</h1>", 404)]
    await send()
    await bridge.until("callback")
    assert (len(bridge.of("ask")), len({ask["askKey"] for ask in bridge.of("ask")}), len(flux.jobs)) == (4, 1, 1)
    assert bridge.of("wanted") == []


async def test_an_older_bridge_is_asked_whether_the_image_is_wanted(send, bridge, flux):
    bridge.answers["ask"] = [JSONResponse({"detail": "Not Found"}, 404)]
    n8n = await send()
    await bridge.until("callback")
    assert (bridge.kinds, len(flux.jobs)) == (["ask", "wanted", "callback"], 1)
    assert flux.calls.to("status")  # by the queue, nevertheless
    bridge.words.clear()
    bridge.wanted, bridge.answers["ask"] = False, [problem(404, code="not_found")]
    await send()
    assert await ended(n8n, flux, bridge) == (1, True)


async def test_with_an_older_bridge_a_submission_that_may_have_been_taken_is_a_failure(send, bridge, flux):
    bridge.answers["ask"] = [JSONResponse({"detail": "Not Found"}, 404)]
    flux.faults.add(generate(FaultKind.DROP_AFTER))
    await send()
    [callback] = await bridge.until("callback")
    assert (callback["errorCode"], len(flux.jobs)) == ("ai_unreachable", 1)


@pytest.mark.parametrize("route", ["status", "result", "image"])
async def test_with_an_older_bridge_a_job_that_is_out_of_reach_is_a_failure(send, bridge, flux, route):
    bridge.answers["ask"] = [JSONResponse({"detail": "Not Found"}, 404)]
    flux.faults.add(Fault(kind=FaultKind.STATUS, route=route, status=502, times=None))
    await send(poll_for=0.05)
    [callback] = await bridge.until("callback")
    assert callback["status"] == "failed"


async def test_a_request_that_the_bridge_does_not_know_is_reported(send, bridge, flux):
    bridge.answers["ask"] = [problem(404, code="request_unknown")]
    await send()
    [failure] = await bridge.until("failure")
    assert "does not know this request" in failure["errorMessage"]
    assert len(flux.jobs) == 0


async def test_a_refused_submission_is_repeated_with_a_new_grant_twice(send, bridge, flux):
    flux.faults.add(generate(FaultKind.STATUS, status=503), generate(FaultKind.STATUS, status=429))
    await send()
    await bridge.until("callback")
    assert [ask.get("noJob") for ask in bridge.of("ask")] == [None, True, True]
    assert len(flux.jobs) == 1


async def test_a_503_that_is_not_in_the_ai_services_own_shape_permits_no_other_submission(send, bridge, flux):
    flux.faults.add(generate(FaultKind.BODY, status=503, detail='{"detail": "Upstream is away"}'))
    await send()
    [callback] = await bridge.until("callback")
    assert (callback["errorCode"], len(bridge.of("ask"))) == ("ai_http_503", 1)


@pytest.mark.parametrize("decision", ["start", "stop"])
async def test_the_last_refusal_is_the_verdict(send, bridge, flux, decision):
    """Also when the bridge permits no further submission, because an earlier execution has used up the retries."""
    flux.faults.add(generate(FaultKind.STATUS, status=503, detail="No runner", times=3))
    answered = [{"decision": "start"}, {"decision": decision}, {"decision": decision}]
    bridge.answers["ask"] = [JSONResponse({"status": "dispatched", **answer}) for answer in answered]
    await send()
    [callback] = await bridge.until("callback")
    assert checked(callback, FAILED)["errorMessage"] == "No runner"
    assert len(flux.jobs) == 0


@pytest.mark.parametrize("kind", ["drop", "drop_after", "page", "delay_after"])
async def test_a_submission_whose_outcome_is_unknown_is_never_repeated(send, bridge, flux, kind):
    flux.faults.add(generate(FaultKind(kind), delay=1 if kind == "delay_after" else 0))
    n8n = await send(submit_timeout=0.2 if kind == "delay_after" else 5)
    jobs, is_silent = await ended(n8n, flux, bridge)
    assert (jobs, is_silent, bridge.kinds) == (int("after" in kind), True, ["ask"])


async def test_an_ai_service_that_refuses_connections_is_tried_three_times(send, bridge, unused_tcp_port):
    await send(flux_url=f"http://127.0.0.1:{unused_tcp_port}")
    [callback] = await bridge.until("callback")
    assert checked(callback, FAILED)["errorCode"] == "ai_unreachable"
    assert [ask.get("noJob") for ask in bridge.of("ask")] == [None, True, True]


async def test_a_job_that_ended_unbilled_is_told_before_another_is_submitted(send, bridge, flux):
    flux.faults.add(generate(FaultKind.FAIL_JOB, status=504))
    bridge.answers["ask"] = [JSONResponse({"status": "dispatched", "decision": "start"})] * 2
    await send()
    [callback] = await bridge.until("callback")
    first, second = flux.jobs
    assert [ask.get("endedJob") for ask in bridge.of("ask")] == [None, first.id]
    assert (first.billed, second.billed, callback["status"]) == (False, True, "completed")


@pytest.mark.parametrize("status", [503, 429, 401])
async def test_a_result_that_is_out_of_reach_for_a_while_is_no_failure_of_its_job(send, bridge, flux, status):
    flux.faults.add(Fault(kind=FaultKind.STATUS, route="result", status=status, times=2))
    await send()
    [callback] = await bridge.until("callback")
    assert (callback["status"], len(flux.jobs), len(bridge.of("ask"))) == ("completed", 1, 1)


async def test_the_models_own_error_is_told_with_its_code(send, bridge, flux):
    flux.faults.add(generate(FaultKind.FAIL_JOB, status=422, name="content_policy_violation", detail="No."))
    await send()
    [callback] = await bridge.until("callback")
    told = checked(callback, FAILED)
    assert (told["errorCode"], told["errorMessage"], len(flux.jobs)) == ("content_policy_violation", "No.", 1)


@pytest.mark.parametrize("word", ["job", "progress"])
async def test_a_job_that_nobody_wants_is_cancelled_at_the_provider(send, bridge, flux, word):
    flux.jobs.hold(Stage.IN_PROGRESS)
    bridge.answers[word] = [JSONResponse({"status": "cancelled", "wanted": False})]
    n8n = await send()
    assert await ended(n8n, flux, bridge) == (1, True)
    assert [job.ending.status for job in flux.jobs] == [499]


async def test_the_second_of_two_jobs_is_cancelled(send, bridge, flux):
    flux.jobs.hold(Stage.IN_QUEUE)
    bridge.answers["job"] = [problem(409, code="job_contradicts", providerJob={"provider": "fal", "jobId": "first"})]
    n8n = await send()
    assert await ended(n8n, flux, bridge) == (1, True)
    assert [(job.stage, job.billed) for job in flux.jobs] == [(Stage.COMPLETED, False)]


async def test_a_job_that_could_not_be_named_is_named_at_each_poll_and_not_fetched_before(send, bridge, flux):
    bridge.answers["job"] = [AWAY] * 3
    await send()
    await bridge.until("callback")
    assert [kind for kind, _ in bridge.words if kind != "progress"] == ["ask", "job", "job", "job", "job", "callback"]
    assert len(flux.calls.to("status")) >= 3
    assert len(flux.calls.to("result")) == 1


async def test_a_finished_job_whose_name_is_not_taken_in_time_is_fetched_nevertheless(send, bridge, flux):
    bridge.answers["job"] = [AWAY] * 1000
    await send(name_for=0.1)
    [callback] = await bridge.until("callback")
    assert (callback["status"], len(flux.jobs)) == ("completed", 1)


async def test_the_bridge_hears_from_an_execution_whose_ai_service_is_away(send, bridge, flux):
    flux.faults.add(Fault(kind=FaultKind.STATUS, route="status", status=503, times=3))
    await send(repeat_progress=0)
    await bridge.until("callback")
    assert len(bridge.of("progress")) >= 4


async def test_progress_is_reported_when_it_has_changed(send, bridge, flux):
    flux.jobs.hold(Stage.IN_QUEUE)
    flux.jobs.hold(Stage.IN_PROGRESS)
    others = [flux.jobs.submit(None, asyncio.Event().wait) for _ in range(2)]
    await send()
    for reported in range(1, 5):
        await bridge.until("progress", reported)
        await flux.calls.seen(len(flux.calls.to("status")) + 3, "status")  # polls without any news
        if others:
            flux.jobs.cancel(others.pop())
        else:
            flux.jobs.release(Stage.IN_QUEUE if reported == 3 else Stage.IN_PROGRESS)
    await bridge.until("callback")
    told = [(progress["stage"], progress.get("queuePosition")) for progress in bridge.of("progress")]
    assert told == [("queued", 2), ("queued", 1), ("queued", 0), ("generating", None), ("finishing", None)]


async def test_progress_that_has_not_changed_or_was_not_heard_is_reported_again(send, bridge, flux):
    flux.jobs.hold(Stage.IN_PROGRESS)
    bridge.answers["progress"] = [AWAY]
    await send(repeat_progress=0.2)
    polls = []
    for reported in range(1, 4):
        await bridge.until("progress", reported)
        polls.append(len(flux.calls.to("status")))
    assert [progress["stage"] for progress in bridge.of("progress")] == ["generating"] * 3
    assert polls[1] - polls[0] <= 2 < polls[2] - polls[1]


async def test_a_job_is_polled_only_where_the_ai_service_is(send, bridge, flux):
    away = {"provider": "fal", "jobId": "1"} | dict.fromkeys(("statusUrl", "responseUrl"), f"{bridge.url}/steal")
    bridge.job = away
    await send()
    [callback] = await bridge.until("callback")
    assert callback["errorCode"] == "job_out_of_reach"
    assert flux.calls.to("status") == []


async def test_a_resumed_job_that_the_ai_service_has_forgotten_has_expired(send, bridge, flux):
    urls = dict.fromkeys(("statusUrl", "responseUrl"), f"{flux.url}/queue/fal-ai/flux-lora/requests/gone/status")
    bridge.job = {"provider": "fal", "jobId": "gone"} | urls
    await send()
    [callback] = await bridge.until("callback")
    assert (checked(callback, FAILED)["errorCode"], len(flux.jobs)) == ("job_expired", 0)


async def test_an_ai_service_that_is_away_while_polling_ends_the_execution_without_a_word(send, bridge, flux):
    flux.faults.add(Fault(kind=FaultKind.STATUS, route="status", status=503, times=None))
    n8n = await send(poll_for=0.05)
    assert await ended(n8n, flux, bridge) == (1, True)
    flux.faults.clear()
    await send()
    [callback] = await bridge.until("callback")
    assert (callback["status"], len(flux.jobs)) == ("completed", 1)


async def test_a_service_without_a_queue_is_called_under_the_same_grant(send, bridge, flux):
    flux.faults.add(generate(FaultKind.STATUS, status=503))
    await send(ai_mode="sync", ai_timeout=30)
    await bridge.until("callback")
    assert bridge.kinds == ["ask", "callback"]
    assert [(ask["quietFor"], ask.get("noJob")) for ask in bridge.of("ask")] == [(460, None), (460, True)]
    assert [job.queued for job in flux.jobs] == [False]


async def test_the_older_workflow_only_asks_whether_the_image_is_wanted(send, bridge, flux):
    await send(speaks=False)
    [callback] = await bridge.until("callback")
    assert (bridge.kinds, [job.queued for job in flux.jobs]) == (["wanted", "callback"], [False])
    assert "executionId" not in callback


@pytest.mark.parametrize("node", Node)
async def test_after_a_kill_at_any_node_the_next_execution_delivers_the_image(send, bridge, flux, node):
    n8n = await send(Fault(kind=FaultKind.KILL, route=node), crash_reports=0)
    await until(lambda: n8n.running == 0)
    known, is_delivered = bridge.job is not None, bool(bridge.of("callback"))
    assert n8n.faults.taken == {f"{node}:kill": 1}
    await send()
    await n8n.idle()
    assert [callback["status"] for callback in bridge.of("callback")] == ["completed"]
    assert bridge.of("failure") == []
    assert len(flux.jobs) in ((1, 2) if node in WINDOW else (1,))
    assert not is_delivered or node is Node.WHILE_CALLING_BACK
    assert known or node in WINDOW | {Node.BEFORE_ASK, Node.AFTER_ASK}


async def test_a_killed_n8n_is_down_for_a_while_and_then_reports_the_dead_by_their_ids_only(
    send, bridge, http, make_event
):
    kill = Fault(kind=FaultKind.KILL, route=Node.WHILE_POLLING, delay=0.3)
    n8n = await send(kill)
    await until(lambda: n8n.faults.taken)
    with pytest.raises(httpx.RemoteProtocolError):
        await send()
    [failure] = await bridge.until("failure")
    [ask] = bridge.of("ask")
    assert (failure["executionId"], failure["requestId"]) == (ask["executionId"], None)
    await send()
    await bridge.until("callback")


@pytest.mark.parametrize("node", Node)
async def test_a_pause_at_any_node_lets_everything_stand_still(send, bridge, flux, node):
    n8n = await send(Fault(kind=FaultKind.PAUSE, route=node))
    await until(lambda: n8n.faults.taken)
    heard = len(bridge.words), len(flux.calls)
    with pytest.raises(TimeoutError):
        await send(patience=0.1)
    assert (len(bridge.words), len(flux.calls)) in (heard, (heard[0] + 1, heard[1]), (heard[0], heard[1] + 1))
    n8n.wake()
    await n8n.idle()
    assert bridge.of("callback")[0]["status"] == "completed"


async def test_a_woken_execution_whose_grant_is_too_old_asks_again_with_the_same_key(send, bridge, flux, clock):
    n8n = await send(Fault(kind=FaultKind.PAUSE, route=Node.AFTER_ASK), clock=clock)
    await until(lambda: n8n.faults.taken)
    clock.now += 61
    n8n.wake()
    await bridge.until("callback")
    assert (len(bridge.of("ask")), len({ask["askKey"] for ask in bridge.of("ask")}), len(flux.jobs)) == (2, 1, 1)


async def test_n8n_can_be_paused_killed_and_woken_over_http(send, bridge, flux, http):
    n8n = await send(Fault(kind=FaultKind.PAUSE, route=Node.BEFORE_ASK, delay=0.05))  # wakes by itself
    await bridge.until("callback")
    control = f"{n8n.url}/_sim"
    kill = {"kind": "kill", "route": "before_job", "delay": 0}
    assert (await http.post(f"{control}/faults", json=kill)).status_code == 201
    assert (await http.post(f"{control}/pause")).status_code == 204
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await http.get(f"{n8n.url}/healthz")
    assert (await http.post(f"{control}/wake")).status_code == 204
    assert (await http.get(f"{n8n.url}/healthz")).status_code == 200


async def until(true):
    async with asyncio.timeout(10):
        while not true():
            await asyncio.sleep(0.005)
