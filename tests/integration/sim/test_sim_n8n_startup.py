"""N8N's start: the start page, the time without webhooks, and a restart on command."""

import httpx
import pytest
from n8n_stage import N8N_KEY, WEBHOOK

from aigen_bridge.sim.faults import Fault, FaultKind
from aigen_bridge.sim.n8n_startup import Restart

START_PAGE = (200, "text/html; charset=utf-8", "n8n is starting up. Please wait")


def seen(answer):
    return answer.status_code, answer.headers["content-type"], answer.text


async def test_while_it_starts_every_path_answers_200_with_the_start_page(start, make_event, mailbox, clock, http):
    n8n, post = await start(clock=clock, starting_seconds=5)
    assert seen(await post(make_event())) == START_PAGE
    assert seen(await http.post(post.url + WEBHOOK, json={})) == START_PAGE  # without a key
    assert seen(await http.get(post.url + "/anything")) == START_PAGE
    assert (await http.get(post.url + "/healthz")).json() == {"status": "ok"}
    assert (await http.get(post.url + "/healthz/readiness")).status_code == 503
    clock.now += 5
    assert (await post(make_event())).status_code == 202
    assert (await http.get(post.url + "/healthz/readiness")).json() == {"status": "ok"}
    await mailbox.wait_for(1)
    await n8n.idle()
    assert len(mailbox.letters) == 1


async def test_after_the_start_page_the_webhook_has_no_route_and_then_is_not_registered(
    start, make_event, mailbox, clock, http
):
    n8n, post = await start(clock=clock, starting_seconds=1, no_webhook_seconds=4)
    clock.now += 1
    status, kind, page = seen(await post(make_event()))
    assert (status, kind) == (404, "text/html; charset=utf-8")
    assert f"<pre>Cannot POST {WEBHOOK}</pre>" in page
    assert (await http.get(post.url + "/healthz")).status_code == 200
    clock.now += 2
    answer = await post(make_event())
    assert answer.status_code == answer.json()["code"] == 404
    assert answer.json()["message"] == 'The requested webhook "POST aigen/v1/generate" is not registered.'
    clock.now += 2
    assert (await post(make_event())).status_code == 202
    await mailbox.wait_for(1)
    assert [call.status for call in n8n.calls.to("webhook")] == [404, 404, 202]


async def test_a_restart_kills_what_runs_and_starts_again(start, make_event, mailbox, clock):
    n8n, post = await start(clock=clock, seconds=60)
    await post(make_event())
    assert n8n.running == 1
    await n8n.restart(Restart(starting_seconds=2, no_webhook_seconds=3))
    await n8n.idle()  # but for its report of what died
    assert seen(await post(make_event())) == START_PAGE
    clock.now += 2
    assert (await post(make_event())).status_code == 404
    clock.now += 3
    assert (await post(make_event())).status_code == 202
    assert mailbox.letters == []


async def test_a_restart_can_be_ordered_over_http_with_the_times_of_the_settings_or_others(
    start, make_event, clock, http
):
    _, post = await start(clock=clock, starting_seconds=5, no_webhook_seconds=3)
    clock.now += 8
    assert (await http.post(post.url + "/_sim/restart", json={"starting_seconds": 0})).status_code == 204
    assert (await post(make_event())).status_code == 404
    assert (await http.post(post.url + "/_sim/restart")).status_code == 204
    assert seen(await post(make_event())) == START_PAGE


@pytest.mark.parametrize("body", ['{"starting": 1}', '{"starting_seconds": -1}', "[1]", "{"])
async def test_a_restart_that_makes_no_sense_is_refused(start, http, body):
    _, post = await start()
    assert (await http.post(post.url + "/_sim/restart", content=body)).status_code == 422


@pytest.mark.parametrize("status", [200, 502])
async def test_a_proxys_page_can_answer_instead_of_n8n(start, make_event, mailbox, status):
    n8n, post = await start()
    n8n.faults.add(Fault(kind=FaultKind.PAGE, status=status, detail="<h1>Sign in</h1>"))
    assert seen(await post(make_event())) == (status, "text/html; charset=utf-8", "<h1>Sign in</h1>")
    n8n.faults.add(Fault(kind=FaultKind.PAGE, status=status))
    assert (await post(make_event())).text.startswith("<!DOCTYPE html>")
    await n8n.idle()
    assert mailbox.letters == []


async def test_a_start_suffers_no_faults(start, make_event, clock):
    n8n, post = await start(clock=clock, starting_seconds=1)
    n8n.faults.add(Fault(kind=FaultKind.STATUS, status=500))
    assert seen(await post(make_event())) == START_PAGE
    clock.now += 1
    assert (await post(make_event())).status_code == 500


async def test_a_fault_can_be_meant_for_one_request(start, make_event, mailbox):
    n8n, post = await start()
    lost, kept = make_event(), make_event()
    n8n.faults.add(Fault(kind=FaultKind.LOSE_CALLBACK, request_id=lost["requestId"], times=None))
    for event in (lost, kept, lost):
        await post(event)
    await n8n.idle()
    assert [letter.event["requestId"] for letter in mailbox.letters] == [kept["requestId"]]
    assert n8n.faults.taken == {"callback:lose_callback": 2}


async def test_the_images_are_served_while_it_starts(start, make_event, mailbox, clock, http):
    n8n, post = await start(clock=clock, callback_style="v1-url")
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    await n8n.restart(Restart(starting_seconds=1))
    answer = await http.get(letter.event["imageUrl"], headers={"X-API-Key": N8N_KEY})
    assert (answer.status_code, answer.headers["content-type"]) == (httpx.codes.OK, "image/png")
