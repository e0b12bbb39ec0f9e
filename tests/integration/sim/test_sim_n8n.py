"""N8N's workflow: the AI call, the callback in every style, retries, dead letters."""

from dataclasses import replace

import pybase64
import pytest
from n8n_stage import CALLBACK_KEY, COMPLETED, FAILED, FLUX_KEY, SECRET, assert_describes, assert_signed, checked
from starlette.responses import HTMLResponse

from aigen_bridge.sim.faults import Fault, FaultKind


async def test_it_acknowledges_and_then_calls_back(start, mailbox, make_event):
    n8n, post = await start()
    event = make_event()
    answer = await post(event)
    assert (answer.status_code, answer.json()) == (202, {"speaks": ["generation"]})
    [letter] = await mailbox.wait_for(1)
    told = checked(letter.event, COMPLETED)
    assert (told["requestId"], told["correlationId"]) == (event["requestId"], event["correlationId"])
    assert_describes(told, pybase64.b64decode(told["imageData"], validate=True))
    assert letter.headers["x-api-key"] == CALLBACK_KEY
    assert letter.headers["x-correlation-id"] == event["correlationId"]
    assert "webhook-signature" not in letter.headers
    await n8n.idle()
    assert [attempt.status for attempt in n8n.attempts] == [202]


async def test_the_trace_header_is_passed_on(start, mailbox, make_event):
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    _, post = await start()
    await post(make_event(), traceparent=trace)
    [letter] = await mailbox.wait_for(1)
    assert letter.headers["traceparent"] == trace


async def test_the_url_style_sends_a_url_that_works_and_expires(start, mailbox, make_event, http, clock):
    _, post = await start(callback_style="v1-url", url_lifetime=60, clock=clock)
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    told = checked(letter.event, COMPLETED)
    assert "imageData" not in told
    assert_describes(told, (await http.get(told["imageUrl"])).content)
    clock.now += 61
    assert (await http.get(told["imageUrl"])).status_code == 404


async def test_the_url_style_with_an_ai_service_sends_that_services_url(start, mailbox, make_event, http, flux):
    _, post = await start(callback_style="v1-url", flux_url=flux.url, flux_key=FLUX_KEY)
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    assert letter.event["imageUrl"].startswith(flux.url)
    assert_describes(letter.event, (await http.get(letter.event["imageUrl"])).content)


async def test_the_second_version_sends_the_image_as_a_part_of_its_own(start, mailbox, make_event):
    _, post = await start(callback_style="v2", signing_secret=SECRET)
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    assert letter.path == "/api/v2/influencegen/ai-image-callback"
    assert set(letter.parts) == {"event", "image"}
    told = checked(letter.event, COMPLETED)
    assert not {"imageData", "imageUrl"} & set(told)
    assert letter.parts["image"].get_content_type() == "image/png"
    assert_describes(told, letter.parts["image"].get_payload(decode=True))
    assert_signed(letter, letter.parts["event"].get_payload(decode=True))


async def test_a_failure_in_the_second_version_has_the_event_alone(start, mailbox, make_event):
    n8n, post = await start(callback_style="v2")
    n8n.faults.add(Fault(kind=FaultKind.AI_ERROR, name="nsfw", detail="Nö"))
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    assert set(letter.parts) == {"event"}
    assert checked(letter.event, FAILED)["errorMessage"] == "Nö"


async def test_a_signature_covers_the_bytes_that_are_sent(start, mailbox, make_event, clock):
    n8n, post = await start(signing_secret=SECRET, clock=clock)
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    assert letter.headers["webhook-timestamp"] == "1700000000"
    assert_signed(letter, letter.raw)
    n8n.faults.add(Fault(kind=FaultKind.WRONG_SIGNATURE))
    await post(make_event())
    _, forged = await mailbox.wait_for(2)
    with pytest.raises(AssertionError):
        assert_signed(forged, forged.raw)


async def test_the_ai_service_gets_what_was_asked_for(start, mailbox, make_event, flux):
    _, post = await start(flux_url=flux.url, flux_key=FLUX_KEY)
    await post(make_event(inferenceSteps=20, cfgScale=7.5, negativePrompt="fog"))
    [letter] = await mailbox.wait_for(1)
    assert letter.event["status"] == "completed"
    asked = flux.calls.to("generate")[0].fields
    assert asked == {
        "prompt": "A lighthouse at dusk",
        "image_size": {"width": 64, "height": 48},
        "num_inference_steps": 20,
        "guidance_scale": 7.5,
        "seed": 7,
        "num_images": 1,
        "output_format": "png",
    }


async def test_the_ai_call_is_tried_three_times_for_a_passing_failure(start, mailbox, make_event, flux):
    _, post = await start(flux_url=flux.url, flux_key=FLUX_KEY, speaks=False)
    flux.faults.add(Fault(kind=FaultKind.STATUS, times=2))
    await post(make_event())
    await mailbox.wait_for(1)
    flux.faults.add(Fault(kind=FaultKind.DROP, times=3))
    await post(make_event())
    good, bad = await mailbox.wait_for(2)
    assert good.event["status"] == "completed"
    assert checked(bad.event, FAILED)["errorCode"] == "ai_unreachable"
    assert len(flux.calls.to("generate")) == 6


@pytest.mark.parametrize(
    "case",
    [
        (Fault(kind=FaultKind.STATUS, status=422, name="content_policy_violation"), "content_policy_violation"),
        (Fault(kind=FaultKind.STATUS, status=500, name="internal_error"), "internal_error"),
        (Fault(kind=FaultKind.NO_IMAGE), "ai_no_image"),
        (Fault(kind=FaultKind.EXPIRED_URL), "image_download_failed"),
    ],
)
async def test_a_lasting_ai_error_is_told_at_once_with_its_code(start, mailbox, make_event, flux, case):
    fault, code = case
    _, post = await start(flux_url=flux.url, flux_key=FLUX_KEY)
    flux.faults.add(replace(fault, detail="No such picture"))
    await post(make_event())
    [letter] = await mailbox.wait_for(1)
    told = checked(letter.event, FAILED)
    assert told["errorCode"] == code
    assert fault.kind is not FaultKind.STATUS or told["errorMessage"] == "No such picture"
    assert len(flux.calls.to("generate")) == 1


async def test_a_callback_that_fails_in_passing_is_sent_again_with_the_same_id(start, mailbox, make_event):
    n8n, post = await start(signing_secret=SECRET)
    mailbox.script = [(503, {}), (408, {}), (500, {})]
    await post(make_event())
    letters = await mailbox.wait_for(4)
    await n8n.idle()
    assert [attempt.status for attempt in n8n.attempts] == [503, 408, 500, 202]
    assert [attempt.number for attempt in n8n.attempts] == [1, 2, 3, 4]
    assert len({letter.headers["webhook-id"] for letter in letters}) == 1
    assert n8n.dead == []


async def test_a_proxys_page_delivers_nothing(start, mailbox, make_event):
    n8n, post = await start()
    mailbox.script = [HTMLResponse("<title>Back soon</title>", status) for status in (200, 404, 302)]
    await post(make_event())
    await mailbox.wait_for(4)
    await n8n.idle()
    assert [attempt.status for attempt in n8n.attempts] == [200, 404, 302, 202]
    assert n8n.dead == []


async def test_retry_after_is_respected(start, mailbox, make_event):
    n8n, post = await start()
    mailbox.script = [(429, {"Retry-After": "1"})]
    await post(make_event())
    await mailbox.wait_for(2)
    await n8n.idle()
    first, second = n8n.attempts
    assert second.at - first.at >= 1


@pytest.mark.parametrize("status", [400, 401, 409, 413, 422])
async def test_a_callback_that_is_refused_for_good_is_dead_at_once(start, mailbox, make_event, status):
    n8n, post = await start()
    mailbox.script = [(status, {})]
    await post(make_event())
    await mailbox.wait_for(1)
    await n8n.idle()
    assert [letter.last.status for letter in n8n.dead] == [status]
    assert len(mailbox.letters) == 1


async def test_a_dead_callback_can_be_seen_and_replayed(start, mailbox, make_event, http):
    n8n, post = await start()
    mailbox.script = [(503, {})] * 4
    event = make_event()
    await post(event)
    await mailbox.wait_for(4)
    await n8n.idle()
    [dead] = (await http.get(post.url + "/_sim/dead")).json()
    assert (dead["request_id"], dead["number"], dead["status"]) == (event["requestId"], 4, 503)
    again = f"{post.url}/_sim/dead/{event['requestId']}/replay"
    assert (await http.post(again)).json() == {"replayed": 1}
    letters = await mailbox.wait_for(5)
    assert letters[4].raw == letters[0].raw
    assert (await http.post(again)).status_code == 404
    assert len((await http.get(post.url + "/_sim/attempts")).json()) == 5


async def test_a_bridge_that_is_away_is_tried_again(start, mailbox, make_event, unused_tcp_port):
    n8n, post = await start(speaks=False)
    await post(make_event(callbackUrl=f"http://127.0.0.1:{unused_tcp_port}/api/v1/x"))
    await n8n.idle()
    assert len(n8n.dead) == 1
    assert [attempt.error for attempt in n8n.attempts] == ["ConnectError"] * 4
