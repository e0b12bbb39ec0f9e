"""The AI service's queue: stages, cancellation, expiry, errors, and the ledger of jobs."""

import asyncio
from contextlib import asynccontextmanager

import httpx
import pytest

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.flux_jobs import Stage
from aigen_bridge.sim.serving import serving

KEY = "key-of-the-ai-service"
GENERATE = "/fal-ai/flux-lora"
QUEUE = "/queue/fal-ai/flux-lora"
ORDER = {"prompt": "A lighthouse", "image_size": {"width": 48, "height": 32}}
URLS = {"response_url", "status_url", "cancel_url"}


@asynccontextmanager
async def serve(clock, **changes):
    """Serve the AI service and yield it with a client that has the key."""
    flux = FluxSimulator(FluxSettings(key=KEY, **{"seconds": 0} | changes), clock=clock)
    headers = {"Authorization": f"Key {KEY}"}
    async with (
        serving(flux.app) as url,
        httpx.AsyncClient(base_url=url, headers=headers, verify=False, trust_env=False) as client,
    ):
        yield flux, client


@pytest.fixture
async def service(clock):
    async with serve(clock) as both:
        yield both


async def submit(client, request="c-1", body=ORDER):
    answer = await client.post(QUEUE, json=body, headers={"X-Correlation-ID": request})
    assert answer.status_code == 200, answer.text
    return answer.json()


async def status(client, job):
    answer = await client.get(job["status_url"])
    return answer.status_code, answer.json()


def billed(flux, request="c-1"):
    return [job.billed for job in flux.jobs.of(request)]


async def test_a_job_goes_from_the_queue_through_the_runner_to_a_picture(service):
    flux, client = service
    flux.jobs.hold(Stage.IN_QUEUE)
    job = await submit(client)
    assert set(job) == URLS | {"request_id", "status", "queue_position"}
    code, body = await status(client, job)
    assert (code, body["status"], body["queue_position"]) == (202, "IN_QUEUE", 0)
    assert billed(flux) == [False]
    flux.jobs.hold(Stage.IN_PROGRESS)
    flux.jobs.release(Stage.IN_QUEUE)
    await flux.jobs.reached(Stage.IN_PROGRESS)
    code, body = await status(client, job)
    assert (code, body["status"], set(body)) == (202, "IN_PROGRESS", URLS | {"request_id", "status"})
    assert (await client.get(job["response_url"])).status_code == 400
    flux.jobs.release(Stage.IN_PROGRESS)
    await flux.jobs.reached(Stage.COMPLETED)
    code, body = await status(client, job)
    assert (code, body["status"], "error" in body) == (200, "COMPLETED", False)
    [image] = (await client.get(job["response_url"])).json()["images"]
    assert (await client.get(image["url"])).status_code == 200
    assert billed(flux) == [True]


async def test_jobs_run_in_their_order_as_many_at_once_as_there_are_runners(clock):
    async with serve(clock, runners=2) as (flux, client):
        flux.jobs.hold(Stage.IN_PROGRESS)
        jobs = [await submit(client, f"c-{number}") for number in range(4)]
        await flux.jobs.reached(Stage.IN_PROGRESS, 2)
        bodies = [(await status(client, job))[1] for job in jobs]
        assert [body.get("queue_position") for body in bodies] == [None, None, 0, 1]
        flux.jobs.release(Stage.IN_PROGRESS)
        assert len(await flux.jobs.reached(Stage.COMPLETED, 4)) == 4


async def test_a_job_that_is_cancelled_in_the_queue_never_runs_and_costs_nothing(service):
    flux, client = service
    flux.jobs.hold(Stage.IN_QUEUE)
    job = await submit(client)
    answer = await client.put(job["cancel_url"])
    assert (answer.status_code, answer.json()) == (200, {"status": "OK"})
    flux.jobs.release(Stage.IN_QUEUE)
    _, body = await status(client, job)
    assert (body["status"], body["error_type"]) == ("COMPLETED", "client_cancelled")
    assert (await client.get(job["response_url"])).status_code == 499
    assert (await client.put(job["cancel_url"])).json() == {"status": "ALREADY_COMPLETED"}
    assert [(one.started_at, one.billed) for one in flux.jobs] == [(None, False)]


async def test_a_running_job_is_cancelled_but_billed(clock):
    async with serve(clock, seconds=60) as (flux, client):
        job = await submit(client)
        await flux.jobs.reached(Stage.IN_PROGRESS)
        answer = await client.put(job["cancel_url"])
        assert (answer.status_code, answer.json()) == (202, {"status": "CANCELLATION_REQUESTED"})
        assert (await status(client, job))[1]["error_type"] == "client_cancelled"
        assert billed(flux) == [True]


async def test_an_ended_job_cannot_be_cancelled_and_an_unknown_one_is_not_found(service):
    flux, client = service
    job = await submit(client)
    await flux.jobs.reached(Stage.COMPLETED)
    answer = await client.put(job["cancel_url"])
    assert (answer.status_code, answer.json()) == (400, {"status": "ALREADY_COMPLETED"})
    unknown = f"{QUEUE}/requests/none"
    answers = [await client.put(f"{unknown}/cancel"), await client.get(f"{unknown}/status"), await client.get(unknown)]
    assert [answer.status_code for answer in answers] == [404, 404, 404]


async def test_a_result_is_gone_six_minutes_after_the_end_but_the_job_still_counts(service, clock):
    flux, client = service
    job = await submit(client)
    await flux.jobs.reached(Stage.COMPLETED)
    clock.now += 359
    assert (await client.get(job["response_url"])).status_code == 200
    clock.now += 2
    answers = [await client.get(job["response_url"]), await client.get(job["status_url"])]
    assert [answer.status_code for answer in answers] == [404, 404]
    assert billed(flux) == [True]


async def test_an_error_of_the_model_is_the_result_of_the_job(service):
    flux, client = service
    flux.faults.add(Fault(kind=FaultKind.FAIL_JOB, status=422, name="content_policy_violation", detail="No"))
    job = await submit(client)
    wrong = await submit(client, "c-2", {"prompt": ""})
    await flux.jobs.reached(Stage.COMPLETED, 2)
    code, body = await status(client, job)
    assert (code, "error" in body) == (200, False)
    answers = [await client.get(one["response_url"]) for one in (job, wrong)]
    assert [answer.status_code for answer in answers] == [422, 422]
    kinds = [answer.json()["detail"][0]["type"] for answer in answers]
    assert kinds == ["content_policy_violation", "string_too_short"]
    assert (billed(flux), billed(flux, "c-2")) == ([True], [False])


async def test_an_error_of_the_infrastructure_is_in_the_status_and_costs_nothing(service):
    flux, client = service
    flux.faults.add(Fault(kind=FaultKind.FAIL_JOB, status=503, name="runner_disconnected", detail="Gone"))
    job = await submit(client)
    await flux.jobs.reached(Stage.COMPLETED)
    code, body = await status(client, job)
    assert (code, body["error"], body["error_type"]) == (200, "Gone", "runner_disconnected")
    answer = await client.get(job["response_url"])
    assert (answer.status_code, answer.json()) == (503, {"detail": "Gone", "error_type": "runner_disconnected"})
    assert answer.headers["x-fal-error-type"] == "runner_disconnected"
    assert billed(flux) == [False]


@pytest.mark.parametrize("code", [429, 503, 504])
async def test_a_refused_submission_is_no_job(service, code):
    flux, client = service
    flux.faults.add(Fault(kind=FaultKind.STATUS, route="generate", status=code))
    answer = await client.post(QUEUE, json=ORDER)
    assert (answer.status_code, set(answer.json())) == (code, {"detail", "error_type"})
    flux.faults.add(Fault(kind=FaultKind.PAGE, route="generate", status=code))
    answer = await client.post(QUEUE, json=ORDER)
    assert (answer.status_code, answer.headers["content-type"]) == (code, "text/html; charset=utf-8")
    assert len(flux.jobs) == 0


@pytest.mark.parametrize("kind", [FaultKind.DROP_AFTER, FaultKind.DELAY_AFTER, FaultKind.STATUS_AFTER])
async def test_a_submission_whose_answer_is_lost_is_a_job_that_runs_to_its_end(service, kind):
    flux, client = service
    flux.faults.add(Fault(kind=kind, route="generate", delay=60 if kind is FaultKind.DELAY_AFTER else 0))
    submitting = asyncio.create_task(submit(client))
    await flux.jobs.reached(Stage.COMPLETED)
    submitting.cancel()
    with pytest.raises((httpx.TransportError, AssertionError, asyncio.CancelledError)):
        await submitting
    assert billed(flux) == [True]


async def test_a_proxys_timeout_does_not_say_that_the_job_was_not_taken(service):
    """A 504 of fal's own does: a workflow may submit again after it."""
    flux, client = service
    flux.faults.add(Fault(kind=FaultKind.STATUS_AFTER, route="generate", status=504))
    answer = await client.post(QUEUE, json=ORDER)

    assert (answer.status_code, answer.headers["content-type"]) == (504, "text/html; charset=utf-8")
    assert len(flux.jobs) == 1


async def test_a_synchronous_call_is_a_job_also_when_its_caller_hangs_up(service):
    flux, client = service
    flux.jobs.hold(Stage.IN_PROGRESS)
    headers = {"X-Correlation-ID": "c-1"}
    calling = asyncio.create_task(client.post(GENERATE, json=ORDER, headers=headers))
    await flux.jobs.reached(Stage.IN_PROGRESS)
    calling.cancel()
    flux.jobs.release(Stage.IN_PROGRESS)
    await flux.jobs.reached(Stage.COMPLETED)
    flux.faults.add(Fault(kind=FaultKind.FAIL_JOB, status=503))
    assert (await client.post(GENERATE, json=ORDER, headers=headers)).status_code == 503
    assert (await client.post(GENERATE, json=ORDER, headers=headers)).status_code == 200
    assert billed(flux) == [True, False, True]


async def test_a_slow_job_takes_longer_than_the_next_one(service):
    flux, client = service
    flux.faults.add(Fault(kind=FaultKind.SLOW_JOB, delay=60))
    await submit(client, "slow")
    await submit(client, "quick")
    assert [job.correlation_id for job in await flux.jobs.reached(Stage.COMPLETED)] == ["quick"]
    assert await flux.jobs.reached(Stage.IN_PROGRESS, correlation_id="slow")


async def test_each_call_of_the_queue_has_faults_of_its_own(service):
    flux, client = service
    job = await submit(client)
    await flux.jobs.reached(Stage.COMPLETED)
    flux.faults.add(*(Fault(kind=FaultKind.STATUS, route=route) for route in ("cancel", "result", "status")))
    calls = (("GET", "status_url"), ("GET", "response_url"), ("PUT", "cancel_url"))
    assert [(await client.request(method, job[url])).status_code for method, url in calls] == [503, 503, 503]
    assert [(await client.request(method, job[url])).status_code for method, url in calls] == [200, 200, 400]


async def test_a_call_can_be_waited_for_before_it_is_answered(service):
    flux, client = service
    job = await submit(client)
    flux.faults.add(Fault(kind=FaultKind.DELAY, route="status", delay=60))
    asking = asyncio.create_task(client.get(job["status_url"]))
    call = await flux.calls.received(1, "status")
    assert call.status is None
    asking.cancel()


async def test_another_process_can_hold_jobs_and_read_the_ledger(service):
    flux, client = service
    assert (await client.put("/_sim/hold/IN_QUEUE")).status_code == 204
    for request in ("c-1", "c-2"):
        await submit(client, request)
    assert len((await client.get("/_sim/jobs")).json()) == 2
    [waiting] = (await client.get("/_sim/jobs", params={"correlation_id": "c-2"})).json()
    assert (waiting["stage"], waiting["billed"], waiting["ending"]) == ("IN_QUEUE", False, None)
    assert (await client.delete("/_sim/hold/IN_QUEUE")).status_code == 204
    await flux.jobs.reached(Stage.COMPLETED, 2)
    [ended] = (await client.get("/_sim/jobs", params={"correlation_id": "c-2"})).json()
    assert (ended["id"], ended["billed"]) == (waiting["id"], True)
    assert ended["ending"] == {"status": 200, "error_type": None}
    assert (await client.put("/_sim/hold/COMPLETED")).status_code == 404
