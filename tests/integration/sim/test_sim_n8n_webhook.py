"""N8N's webhook: its refusals, its acknowledgement, the executions behind it."""

import asyncio
import time

import httpx
import pytest
from n8n_stage import (
    N8N_KEY,
    WEBHOOK,
    settings,
)

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n import N8nSimulator
from aigen_bridge.sim.serving import serving


async def test_a_wrong_key_is_answered_with_403_in_n8ns_words(start, http, make_event, mailbox):
    n8n, post = await start()
    for headers in ({"X-API-Key": "wrong"}, {}):
        answer = await http.post(post.url + WEBHOOK, json=make_event(), headers=headers)
        assert (answer.status_code, answer.text) == (403, "Authorization data is wrong!")
    await n8n.idle()
    assert mailbox.letters == []
    assert N8N_KEY not in repr(n8n.settings) + repr(list(n8n.calls))


async def test_an_unknown_path_is_not_registered(start, http):
    _, post = await start()
    answer = await http.post(post.url + "/webhook/aigen/v2/generate", json={})
    assert answer.status_code == answer.json()["code"] == 404
    assert answer.json()["message"] == 'The requested webhook "POST aigen/v2/generate" is not registered.'
    assert answer.json()["hint"].startswith("The workflow must be active for a production URL to run")
    assert "GET requests" in (await http.get(post.url + WEBHOOK)).json()["message"]


async def test_a_body_that_is_no_json_is_422_and_one_too_large_500(start, http):
    _, post = await start()
    headers = {"X-API-Key": N8N_KEY}
    assert (await http.post(post.url + WEBHOOK, content=b"{", headers=headers)).status_code == 422
    large = b'"' + b"x" * 16 * 1024 * 1024 + b'"'
    assert (await http.post(post.url + WEBHOOK, content=large, headers=headers)).status_code == 500


async def test_the_acknowledgement_can_be_slow_and_the_callback_comes_after_it(start, mailbox, make_event):
    n8n, post = await start(ack_seconds=0.2, ack_status=200)
    started = time.monotonic()
    assert (await post(make_event())).status_code == 200
    assert time.monotonic() - started >= 0.2
    await n8n.idle()
    assert len(mailbox.letters) == 1


async def test_an_impatient_caller_gets_its_callback_all_the_same(start, mailbox, make_event, http):
    _, post = await start(ack_seconds=0.3)
    with pytest.raises(httpx.ReadTimeout):
        await http.post(post.url + WEBHOOK, json=make_event(), headers={"X-API-Key": N8N_KEY}, timeout=0.1)
    assert len(await mailbox.wait_for(1)) == 1


async def test_the_callback_can_come_before_the_acknowledgement(start, mailbox, make_event):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.CALLBACK_FIRST))
    await post(make_event())
    assert len(mailbox.letters) == 1


async def test_an_answer_lost_after_the_effect_still_leads_to_a_callback(start, mailbox, make_event):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.DROP_AFTER), Fault(kind=FaultKind.STATUS_AFTER, status=502))
    with pytest.raises(httpx.RemoteProtocolError):
        await post(make_event())
    assert (await post(make_event())).status_code == 502
    await mailbox.wait_for(2)
    await n8n.idle()
    assert len(mailbox.letters) == 2


async def test_a_refused_or_dropped_request_runs_nothing(start, mailbox, make_event):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.STATUS, status=429, retry_after=2), Fault(kind=FaultKind.DROP))
    busy = await post(make_event())
    assert (busy.status_code, busy.json()["code"], busy.headers["retry-after"]) == (429, 429, "2")
    with pytest.raises(httpx.RemoteProtocolError):
        await post(make_event())
    await n8n.idle()
    assert mailbox.letters == []


async def test_the_same_request_posted_twice_runs_twice(start, mailbox, make_event):
    n8n, post = await start()
    event = make_event()
    await post(event)
    await post(event)
    assert len(await mailbox.wait_for(2)) == 2
    await n8n.idle()


async def test_executions_beyond_the_limit_wait_for_their_turn(start, mailbox, make_event):
    n8n, post = await start(max_executions=1, seconds=0.15)
    started = time.monotonic()
    await asyncio.gather(*(post(make_event()) for _ in range(3)))
    assert n8n.running == 3
    await mailbox.wait_for(3)
    assert time.monotonic() - started >= 0.45


@pytest.mark.parametrize("change", [{"prompt": None}, {"resolution": "large"}])
async def test_a_bad_event_comes_back_as_a_failure(start, mailbox, make_event, change):
    _, post = await start()
    assert (await post(make_event(**change))).status_code == 202
    [letter] = await mailbox.wait_for(1)
    assert (letter.event["status"], letter.event["errorCode"]) == ("failed", "invalid_event")
    assert next(iter(change)) in letter.event["errorMessage"]


async def test_an_event_without_a_way_back_ends_in_silence(start, mailbox, make_event):
    n8n, post = await start()
    assert (await post({"prompt": "x"})).status_code == 202
    assert (await post([])).status_code == 202
    assert (await post(make_event(requestId="no-uuid"))).status_code == 202
    await n8n.idle()
    assert (mailbox.letters, n8n.attempts) == ([], [])


async def test_the_end_cancels_executions_as_a_killed_n8n_does(mailbox, make_event, http):
    n8n = N8nSimulator(settings(seconds=60))
    async with serving(n8n.app) as url:
        await http.post(url + WEBHOOK, json=make_event(), headers={"X-API-Key": N8N_KEY})
        assert n8n.running == 1
    assert (n8n.running, mailbox.letters) == (0, [])
    async with serving(n8n.app) as url:
        assert (await http.get(url + "/healthz")).json() == {"status": "ok"}
    assert len(n8n.calls) == 1


def test_an_ai_service_without_a_key_is_refused():
    with pytest.raises(ValueError, match="flux_key"):
        settings(flux_url="http://127.0.0.1:1")
