"""The socket that every simulator stands on, and the faults and calls that all of them share."""

import asyncio
import os
import signal
import sys
import time

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from aigen_bridge.sim.faults import Fault, FaultKind, Faults
from aigen_bridge.sim.flux import FluxSettings, FluxSimulator
from aigen_bridge.sim.serving import serving
from ports import free_port

KEY = "key-of-the-ai-service"
GENERATE = "/fal-ai/flux-lora"


@pytest.fixture
def flux():
    return FluxSimulator(FluxSettings(key=KEY, seconds=0))


@pytest.fixture
async def client(flux):
    headers = {"Authorization": f"Key {KEY}"}
    async with (
        serving(flux.app) as url,
        httpx.AsyncClient(base_url=url, headers=headers, verify=False, trust_env=False) as client,
    ):
        yield client


def order(**more):
    return {"prompt": "A lighthouse", "image_size": {"width": 32, "height": 32}} | more


async def test_the_url_accepts_connections_as_soon_as_it_is_known(flux, http):
    async with serving(flux.app) as url:
        assert url.startswith("http://127.0.0.1:")
        assert (await http.get(f"{url}/_sim/calls")).status_code == 200


async def test_the_same_port_can_be_served_again_at_once(flux, http):
    port = free_port()
    async with serving(flux.app, port=port) as url:
        await http.get(f"{url}/_sim/calls")
    async with serving(flux.app, port=port) as again:
        assert (await http.get(f"{again}/_sim/calls")).status_code == 200


async def test_a_taken_port_is_an_error(flux):
    async with serving(flux.app) as url:
        with pytest.raises(OSError, match="another program does"):
            async with serving(flux.app, port=int(url.rsplit(":", 1)[1])):
                pass


async def test_the_end_waits_neither_for_idle_nor_for_running_requests(http):
    arrived = asyncio.Event()

    async def slow(_request):
        arrived.set()
        await asyncio.sleep(60)
        return PlainTextResponse("late")

    async def quick(_request):
        return PlainTextResponse("here")

    async with serving(Starlette(routes=[Route("/slow", slow), Route("/quick", quick)])) as url:
        await http.get(f"{url}/quick")
        running = asyncio.create_task(http.get(f"{url}/slow"))
        await arrived.wait()
        started = time.monotonic()
    assert time.monotonic() - started < 1
    with pytest.raises(httpx.TransportError):
        await running


async def test_an_application_that_does_not_start_is_an_error_and_not_the_end_of_the_process():
    async def broken(scope, receive, send):
        await receive()
        await send({"type": "lifespan.startup.failed", "message": "no"})

    with pytest.raises(RuntimeError, match="did not start"):
        async with serving(broken):
            pass


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
async def test_a_served_command_ends_well_on_sigterm(http):
    code = (
        "from aigen_bridge.sim.flux import *; from aigen_bridge.sim.serving import run;"
        "run(FluxSimulator(FluxSettings(key='k')).app, announce=lambda url: print(url, flush=True))"
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    url = (await process.stdout.readline()).decode().strip()
    assert (await http.get(f"{url}/_sim/faults")).json() == {"queued": [], "taken": {}}
    os.kill(process.pid, signal.SIGTERM)
    _, complaints = await asyncio.wait_for(process.communicate(), 10)
    assert (process.returncode, complaints) == (0, b"")


async def test_a_status_fault_happens_as_often_as_asked_and_then_no_more(flux, client):
    flux.faults.add(Fault(kind=FaultKind.STATUS, times=2, status=503, retry_after=3))
    answers = [await client.post(GENERATE, json=order()) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 503, 200]
    assert answers[0].headers["retry-after"] == "3"


async def test_a_delayed_answer_is_a_good_one(flux, client):
    flux.faults.add(Fault(kind=FaultKind.DELAY, delay=0.2))
    started = time.monotonic()
    assert (await client.post(GENERATE, json=order())).status_code == 200
    assert time.monotonic() - started >= 0.2


async def test_a_dropped_connection_is_an_empty_reply(flux, client):
    flux.faults.add(Fault(kind=FaultKind.DROP))
    with pytest.raises(httpx.RemoteProtocolError):
        await client.post(GENERATE, json=order())
    assert [call.status for call in flux.calls] == [0]


async def test_cutting_one_connection_leaves_the_others_alone(flux, client):
    flux.faults.add(Fault(kind=FaultKind.DELAY, delay=0.2), Fault(kind=FaultKind.DROP))
    calls = (client.post(GENERATE, json=order()) for _ in range(2))
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {httpx.Response, httpx.RemoteProtocolError}


async def test_a_fault_waits_for_its_route(flux, client):
    flux.faults.add(Fault(kind=FaultKind.STATUS, route="image"))
    made = (await client.post(GENERATE, json=order())).json()
    assert (await client.get(made["images"][0]["url"])).status_code == 503


def test_chance_is_repeatable_and_counts_only_what_happened():
    def happened(seed):
        faults = Faults(seed)
        faults.add(Fault(kind=FaultKind.DROP, chance=0.3, times=None))
        return [faults.take("webhook") is not None for _ in range(200)]

    assert happened(1) == happened(1) != happened(2)
    assert 30 < sum(happened(1)) < 90


@pytest.mark.parametrize("nonsense", [{"chance": 2}, {"times": 0}, {"delay": -1}])
def test_a_fault_that_makes_no_sense_is_refused(nonsense):
    with pytest.raises(ValueError, match="must"):
        Fault(kind=FaultKind.DROP, **nonsense)


async def test_faults_can_be_added_shown_and_cleared_over_http(flux, client):
    one = {"kind": "status", "status": 504, "times": 2}
    assert (await client.post("/_sim/faults", json=one)).status_code == 201
    assert (await client.post("/_sim/faults", json=[{"kind": "drop"}])).status_code == 201
    assert (await client.post(GENERATE, json=order())).status_code == 504
    shown = (await client.get("/_sim/faults")).json()
    assert [(fault["kind"], fault["times"]) for fault in shown["queued"]] == [("status", 1), ("drop", 1)]
    assert shown["taken"] == {"generate:status": 1}
    assert (await client.delete("/_sim/faults")).status_code == 204
    assert (await client.post(GENERATE, json=order())).status_code == 200


@pytest.mark.parametrize("body", ['{"kind": "no such kind"}', '{"kind": "drop", "tmies": 2}', "[1]"])
async def test_a_fault_that_nobody_knows_is_refused_over_http(client, body):
    assert (await client.post("/_sim/faults", content=body)).status_code == 422


async def test_calls_show_what_was_received_but_no_key(flux, client):
    await client.post(GENERATE, json=order(seed=5), headers={"X-Correlation-ID": "c-1"})
    [call] = (await client.get("/_sim/calls")).json()
    assert (call["route"], call["method"], call["path"], call["status"]) == (
        "generate",
        "POST",
        GENERATE,
        200,
    )
    assert call["fields"]["seed"] == 5
    assert call["headers"]["x-correlation-id"] == "c-1"
    assert KEY not in repr(call) + repr(list(flux.calls)) + repr(flux.settings)
    assert (await client.delete("/_sim/calls")).status_code == 204
    assert len(flux.calls) == 0


async def test_calls_can_be_waited_for(flux, client):
    waiting = asyncio.create_task(flux.calls.seen(2, "generate"))
    for _ in range(2):
        await client.post(GENERATE, json=order())
    assert [call.status for call in await waiting] == [200, 200]
    with pytest.raises(TimeoutError):
        await flux.calls.seen(3, seconds=0.01)
