"""N8N's webhook checks the bridge's signature: any of several, over the raw body, within five minutes."""

import json
from datetime import UTC, datetime

import pytest
from n8n_stage import N8N_KEY, SECRET, WEBHOOK

from aigen_bridge.domain.signature import SIGNATURES_MAX, secret_bytes, sign
from aigen_bridge.sim.n8n_signatures import new_secret, signature

OTHER = new_secret()
MINUTES = 60
NAMES = ("webhook-id", "webhook-timestamp", "webhook-signature")


def signed(body, now, *secrets):
    """Returns the bridge's headers."""
    return sign(map(secret_bytes, secrets), "msg_1", datetime.fromtimestamp(now, UTC), body)


def with_signatures(headers, *given):
    return headers | {"webhook-signature": " ".join(given)}


@pytest.fixture
async def send(start, http, clock):
    """A function that sends a body with these headers and the right key, and returns N8N and its answer."""
    n8n, post = await start(clock=clock, webhook_signing_secret=SECRET)

    async def send(body, headers):
        headers = {"X-API-Key": N8N_KEY, "Content-Type": "application/json", **headers}
        return n8n, await http.post(post.url + WEBHOOK, content=body, headers=headers)

    return send


def accepted(now, body):
    mine = signature(SECRET, "msg_1", int(now), body)
    right, foreign = signed(body, now, SECRET), signed(body, now, OTHER)
    return {
        "signed": right,
        "signed with the old and the new secret": signed(body, now, OTHER, SECRET),
        "the tenth signature": with_signatures(right, *[foreign["webhook-signature"]] * (SIGNATURES_MAX - 1), mine),
        "another version of the scheme beside it": with_signatures(right, "v1a,c2lnbmF0dXJl", mine),
        "five minutes old": signed(body, now - 5 * MINUTES, SECRET),
        "from five minutes in the future": signed(body, now + 5 * MINUTES, SECRET),
    }


def refused(now, body):
    right, foreign = signed(body, now, SECRET), signed(body, now, OTHER)
    mine, theirs = right["webhook-signature"], foreign["webhook-signature"]
    return {
        "unsigned": {},
        **{f"without {name}": {key: value for key, value in right.items() if key != name} for name in NAMES},
        "signed with another secret": foreign,
        "another body": signed(body + b" ", now, SECRET),
        "another id": right | {"webhook-id": "msg_2"},
        "another time": right | {"webhook-timestamp": str(int(now) + 1)},
        "no time": right | {"webhook-timestamp": "yesterday"},
        "no number of seconds": right | {"webhook-timestamp": f"{int(now)}.5"},
        "six minutes old": signed(body, now - 6 * MINUTES, SECRET),
        "from six minutes in the future": signed(body, now + 6 * MINUTES, SECRET),
        "the eleventh signature": with_signatures(right, *[theirs] * SIGNATURES_MAX, mine),
        "without its version": with_signatures(right, mine.removeprefix("v1,")),
        "another version": with_signatures(right, mine.replace("v1", "v2")),
        "not ASCII": right | {"webhook-signature": "v1,\u00e9".encode("latin-1")},
    }


async def test_signed_requests_run(send, make_event, mailbox, clock):
    body = json.dumps(make_event(prompt="A lighthouse \U0001f5fc \u0000"), ensure_ascii=False).encode()
    cases = accepted(clock.now, body)
    answers = {case: (await send(body, headers))[1].status_code for case, headers in cases.items()}
    assert answers == dict.fromkeys(cases, 202)
    await mailbox.wait_for(len(cases))


async def test_any_other_request_is_refused_without_detail(send, make_event, mailbox, clock):
    body = json.dumps(make_event()).encode()
    cases = refused(clock.now, body)
    answers = {case: await send(body, headers) for case, headers in cases.items()}
    assert {case: (answer.status_code, answer.content) for case, (_, answer) in answers.items()} == dict.fromkeys(
        cases, (401, b"")
    )
    n8n, _ = answers["unsigned"]
    assert (n8n.running, n8n.attempts, mailbox.letters) == (0, [], [])


async def test_the_key_is_checked_before_the_signature(send, make_event, clock):
    body = json.dumps(make_event()).encode()
    _, answer = await send(body, signed(body, clock.now, SECRET) | {"X-API-Key": "wrong"})
    assert answer.status_code == 403


async def test_without_a_secret_signatures_are_not_looked_at(start, make_event, mailbox):
    _, post = await start()
    answer = await post(make_event(), webhook_id="msg_1", webhook_timestamp="1", webhook_signature="v1,wrong")
    assert answer.status_code == 202
    await mailbox.wait_for(1)


@pytest.mark.parametrize("secret", ["a-secret", "whsec_not base64"])
async def test_a_malformed_secret_is_refused_at_the_start(start, secret):
    with pytest.raises(ValueError, match=r"(?i)whsec_|base64|padding"):
        await start(webhook_signing_secret=secret)
