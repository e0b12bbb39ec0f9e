"""N8N takes what the bridge has signed, and refuses everything else with 401: nothing starts, nobody is told."""

import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from players import RealPlayer, SimulatedPlayer
from theatre import BRIDGE_SECRET, DEAD_LETTERS, Opened, Theatre, connection, eventually, signed

from aigen_bridge.domain.signature import new_secret
from stage import make_event

OTHER_SECRET = new_secret()
SIGNATURE = "webhook-signature"
EMOJI = "Ein Leuchtturm 🗼 über dem Meer, 灯台, منارة"
PROMPTS = [
    EMOJI,
    (EMOJI * 4_000)[:4_000],
    'A "lighthouse"\r\n\tat C:\\night {{ $json.body }} \u2028 in the fog',
]


async def test_requests_that_the_bridge_has_signed_run_through(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    asked = [await theatre.ask(prompt=prompt) for prompt in PROMPTS]
    ended = [await theatre.until_delivered(one["requestId"]) for one in asked]

    assert [one["status"] for one in ended] == ["completed"] * len(PROMPTS)
    assert [theatre.calls("generate", one)[0].fields["prompt"] for one in asked] == PROMPTS
    assert await theatre.dead_letters_of(*asked) == []


async def test_what_is_not_rightly_signed_is_refused_and_starts_nothing(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    refused = {}
    for case, headers, event, body in _forgeries(theatre):
        answer = await theatre.send_to_n8n(body, headers)
        refused[case] = event
        assert (case, answer.status_code, answer.content) == (case, 401, b"")

    await _another_arrives(theatre)
    for case, event in refused.items():
        heard = [theatre.calls(place, event) for place in ("ask", "wanted", "generate", "callback", "failures")]
        assert (case, heard) == (case, [[]] * len(heard))
    assert await theatre.dead_letters_of(*refused.values()) == []


def _forgeries(theatre: Theatre) -> Iterator[tuple[str, Mapping[str, str], dict[str, Any], bytes]]:
    """Yields requests to the webhook: a name, headers, the event, and the body that is sent."""
    now, minutes = datetime.now(UTC), timedelta(minutes=1)

    def new() -> tuple[dict[str, Any], bytes]:
        event = theatre.event_of(make_event())
        return event, json.dumps(event).encode()

    event, body = new()
    yield "signed with another secret", signed(body, OTHER_SECRET), event, body
    event, body = new()
    yield "unsigned", {}, event, body
    for name in signed(b""):
        event, body = new()
        yield f"without {name}", {each: value for each, value in signed(body).items() if each != name}, event, body
    event, body = new()
    yield "another body", signed(body.replace(b"lighthouse", b"submarine")), event, body
    event, body = new()
    yield "the same JSON in other bytes", signed(body), event, json.dumps(event, indent=1).encode()
    event, body = new()
    yield "another id", signed(body) | {"webhook-id": f"msg_{uuid4().hex}"}, event, body
    event, body = new()
    yield "6 minutes old", signed(body, at=now - 6 * minutes), event, body
    event, body = new()
    yield "from 6 minutes in the future", signed(body, at=now + 6 * minutes), event, body
    event, body = new()
    yield "a time that is no number", signed(body) | {"webhook-timestamp": "now"}, event, body
    event, body = new()
    yield "the right signature is the eleventh", _with_signatures(body, foreign=10), event, body
    event, body = new()
    right = signed(body)
    yield "without the version of the scheme", right | {SIGNATURE: right[SIGNATURE].removeprefix("v1,")}, event, body


def _with_signatures(body: bytes, *, foreign: int) -> dict[str, str]:
    """Returns headers with this many foreign signatures before the right one."""
    right = signed(body)
    return right | {SIGNATURE: " ".join([*["v1,Zm9yZWlnbg=="] * foreign, right[SIGNATURE]])}


async def _another_arrives(theatre: Theatre) -> None:
    """Waits until a new request is delivered: an execution that started before it had at least as much time."""
    await theatre.until_delivered((await theatre.ask())["requestId"])
    await theatre.settle()


async def test_one_right_signature_of_several_is_enough(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    event = theatre.event_of(make_event())
    body = json.dumps(event).encode()
    right, now = signed(body), datetime.now(UTC)
    versions = right | {SIGNATURE: f"v1a,{uuid4().hex} {right[SIGNATURE]}"}
    minutes = timedelta(minutes=4)
    several = [
        signed(body, OTHER_SECRET, BRIDGE_SECRET),
        signed(body, BRIDGE_SECRET, OTHER_SECRET),
        _with_signatures(body, foreign=9),
        versions,
        signed(body, at=now - minutes),
        signed(body, at=now + minutes),
    ]

    answers = [await theatre.send_to_n8n(body, headers) for headers in several]

    assert [answer.status_code for answer in answers] == [202] * len(several)
    await _until_asked(theatre, event, len(several))


async def test_what_json_can_say_in_two_ways_is_verified_as_it_was_sent(open_theatre: Opened) -> None:
    theatre = await open_theatre()
    plain = json.dumps(theatre.event_of(make_event(prompt="PROMPT")))
    for prompt in (EMOJI, r"\u0000 and \ud83d\uddfc and \/"):
        event = theatre.event_of(make_event())
        text = plain.replace("PROMPT", prompt)
        for name in ("requestId", "correlationId"):
            text = text.replace(json.loads(plain)[name], event[name])
        assert (await theatre.send_to_n8n(text.encode(), signed(text.encode()))).status_code == 202
        await _until_asked(theatre, event)


async def _until_asked(theatre: Theatre, event: dict[str, Any], times: int = 1) -> None:
    """Waits until executions have asked the bridge about this event this many times."""

    async def asked() -> bool | None:
        return len(theatre.calls("ask", event)) >= times or None

    await eventually(asked)


async def test_a_bridge_that_signs_with_the_old_and_the_new_secret_is_taken_by_an_n8n_that_knows_one(
    player: RealPlayer | SimulatedPlayer, open_theatre: Opened
) -> None:
    """The first step of a rotation: the bridge signs with both, whichever of them N8N has."""
    url = player.webhook("v2")
    theatre = await open_theatre(n8n=connection(url, signing_secret=OTHER_SECRET, signing_secrets=[BRIDGE_SECRET]))
    before = await theatre.ask()
    assert (await theatre.until_delivered(before["requestId"]))["status"] == "completed"

    await theatre.bridge.stop()
    await theatre.bridge.start(n8n=connection(url, signing_secrets=[OTHER_SECRET]))
    after = await theatre.ask()
    assert (await theatre.until_delivered(after["requestId"]))["status"] == "completed"
    assert [len(theatre.calls("generate", asked)) for asked in (before, after)] == [1, 1]


async def test_a_request_of_a_bridge_with_another_secret_fails_and_is_replayed_when_that_is_mended(
    player: RealPlayer | SimulatedPlayer, open_theatre: Opened
) -> None:
    url = player.webhook("v2")
    theatre = await open_theatre(n8n=connection(url, signing_secret=OTHER_SECRET))
    asked = await theatre.ask()
    [letter] = await theatre.until_dead(kind="dispatch")
    assert (letter["requestId"], letter["errorCode"]) == (asked["requestId"], "http_401")
    assert theatre.calls("ask", asked) == []

    await theatre.bridge.stop()
    await theatre.bridge.start(n8n=connection(url))
    await theatre.call("POST", f"{DEAD_LETTERS}/{letter['id']}/replay")
    await theatre.until_status(asked["requestId"], "completed")
    assert len(theatre.calls("generate", asked)) == 1
