"""The JSON Schemas of the specification and our models mean the same messages, in both directions."""

import asyncio
import json
import re
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from aigen_bridge.contracts.v1 import (
    CFG_MAX,
    PROMPT_MAX,
    SEED_MAX,
    SIDE_MAX,
    SIDE_MIN,
    STEPS_MAX,
    ImageRequested,
    callback_event,
)
from aigen_bridge.contracts.wire import shows_nothing
from aigen_bridge.domain.outbox import Claim
from aigen_bridge.pipeline.dispatch import Dispatch
from stage import Stage

Message = dict[str, Any]

SCHEMAS = Path(__file__).parent / "schemas"
CALLBACK_URL = "https://bridge.example.com/api/v1/influencegen/ai-image-callback"
FORMATS = jsonschema.Draft202012Validator.FORMAT_CHECKER
OPTIONAL = ("negativePrompt", "seed", "inferenceSteps", "cfgScale", "campaignId", "callbackUrl")
NULL_MEANS_ABSENT = {*OPTIONAL, "errorCode"}
"""Where the service is more lenient than the schema: many programs write null for what they leave out."""
COMMON = settings(max_examples=100, deadline=None, derandomize=True, database=None)
URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:(?:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=-]|%[0-9A-Fa-f]{2})*\Z")


@FORMATS.checks("uri")
def is_uri(value: object) -> bool:
    """RFC 3986, as far as its characters go; the package that jsonschema would use is not installed."""
    return not isinstance(value, str) or URI.match(value) is not None


def schema_of(event: str) -> jsonschema.Draft202012Validator:
    schema = json.loads((SCHEMAS / f"ai-image-generation-{event}.schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema, format_checker=FORMATS)


REQUESTED, COMPLETED, FAILED = (schema_of(event) for event in ("requested", "completed", "failed"))


def parse(schema: jsonschema.Draft202012Validator, instance: Any) -> Any:
    """What the service makes of a message; raises ValidationError."""
    body = json.dumps(instance)
    if schema is REQUESTED:
        return ImageRequested.model_validate_json(body, context={"callback_url": CALLBACK_URL})
    return callback_event.validate_json(body)


def accepts(schema: jsonschema.Draft202012Validator, instance: Any) -> bool:
    try:
        parse(schema, instance)
    except ValidationError:
        return False
    return True


# --- Messages that fit the schemas and the documented limits -----------------------------------------------------

uuids = st.builds(lambda value, shout: str(value).upper() if shout else str(value), st.uuids(), st.booleans())
texts = st.text(st.characters(exclude_characters="\0", codec="utf-8"))
prompts = texts.map(lambda text: text[:PROMPT_MAX]).filter(lambda text: not shows_nothing(text))
shapes = st.sampled_from([(1, 1), (16, 9), (9, 16), (4, 3), (2, 3), (21, 9), (100, 99)]).flatmap(
    lambda shape: st.integers(-(-SIDE_MIN // min(shape)), SIDE_MAX // max(shape)).map(
        lambda times: {
            "resolution": f"{shape[0] * times}x{shape[1] * times}",
            "aspectRatio": f"{shape[0]}:{shape[1]}",
        }
    )
)
urls = st.from_regex(
    r"https://[a-z]{1,10}\.example/([A-Za-z0-9._~-]|%41){0,20}(\?sig=([A-Za-z0-9=&]|%2F){0,20})?", fullmatch=True
)
ids = {"requestId": uuids, "correlationId": uuids}
digests = st.binary(min_size=32, max_size=32).flatmap(
    lambda digest: st.sampled_from(
        [digest.hex(), digest.hex().upper(), f"sha256:{digest.hex()}", b64encode(digest).decode()]
    )
)
values = st.none() | st.booleans() | st.integers() | st.text()
unknown_fields = st.dictionaries(
    st.text().map(lambda name: f"x{name}"), values | st.lists(values) | st.dictionaries(st.text(), values), min_size=1
)
metadata = st.fixed_dictionaries(
    {"format": st.text(max_size=40), "size": st.integers(), "width": st.integers(), "height": st.integers()}
)
requested = st.builds(
    dict.__or__,
    shapes,
    st.fixed_dictionaries(
        ids | {"userId": uuids, "prompt": prompts, "modelId": uuids, "callbackUrl": st.just(CALLBACK_URL)},
        optional={
            "negativePrompt": texts.map(lambda text: text[:PROMPT_MAX]),
            "seed": st.integers(0, SEED_MAX),
            "inferenceSteps": st.integers(1, STEPS_MAX),
            "cfgScale": st.floats(0, CFG_MAX) | st.integers(0, CFG_MAX),
            "campaignId": uuids,
        },
    ),
)
image = st.fixed_dictionaries({"imageData": st.binary().map(lambda content: b64encode(content).decode())})
completed = st.builds(
    dict.__or__,
    st.fixed_dictionaries(ids | {"status": st.just("completed"), "imageMetadata": metadata, "hashValue": digests}),
    image | st.fixed_dictionaries({"imageUrl": urls}),
)
failed = st.fixed_dictionaries(
    ids | {"status": st.just("failed"), "errorMessage": st.text()}, optional={"errorCode": st.text()}
)
MESSAGES = {"requested": (REQUESTED, requested), "completed": (COMPLETED, completed), "failed": (FAILED, failed)}
"""By event: its schema, and messages that fit it."""


@pytest.mark.parametrize("event", MESSAGES)
def test_what_fits_the_schema_and_the_limits_is_accepted(event: str) -> None:
    schema, messages = MESSAGES[event]

    @COMMON
    @given(messages)
    def check(message: Message) -> None:
        schema.validate(message)
        parse(schema, message)

    check()


@pytest.mark.parametrize("event", ["completed", "failed"])
def test_more_fields_on_a_callback_change_nothing(event: str) -> None:
    schema, messages = MESSAGES[event]

    @COMMON
    @given(messages, unknown_fields)
    def check(message: Message, unknown: Message) -> None:
        extended = unknown | message
        schema.validate(extended)
        assert parse(schema, extended) == parse(schema, message)

    check()


# --- What the bridge sends ---------------------------------------------------------------------------------------


class Recorder:
    """A webhook that takes everything."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    async def send(self, event: Mapping[str, Any], **_: object) -> frozenset[str]:
        self.sent.append(event)
        return frozenset()


def dispatched(event: ImageRequested) -> Mapping[str, Any]:
    """The event as the dispatch step sends it, after it was stored."""
    stored = json.loads(json.dumps(event.stored_form()))
    request = SimpleNamespace(
        request_id=event.request_id, correlation_id=event.correlation_id, event=stored, model=None
    )
    webhook = Recorder()
    step = Dispatch(webhook, CALLBACK_URL, concurrency=1)
    asyncio.run(step.run(cast("Claim", SimpleNamespace(entry_id=1, request=request, job=None))))
    [sent] = webhook.sent
    return sent


@COMMON
@given(requested, st.sets(st.sampled_from(OPTIONAL)))
def test_what_is_accepted_is_sent_on_as_the_schema_wants_it(message: Message, nulls: set[str]) -> None:
    ours = message.pop("callbackUrl")
    sent = dispatched(parse(REQUESTED, dict.fromkeys(nulls) | message))

    REQUESTED.validate(sent)
    expected = {name: value.lower() if name.endswith("Id") else value for name, value in message.items()}
    assert sent == expected | {"callbackUrl": ours}


async def test_what_arrives_at_the_webhook_fits_the_schema(stage: Stage) -> None:
    whole = await stage.ask(prompt="Ein Leuchtturm — 灯台 🌊")
    bare = await stage.ask(**dict.fromkeys(OPTIONAL), prompt="x")
    for asked in (whole, bare):
        await stage.until_delivered(asked["requestId"])

    bodies = [call.fields for call in stage.chain.n8n.calls.to("webhook")]
    assert {body["requestId"] for body in bodies} == {whole["requestId"], bare["requestId"]}
    for body in bodies:
        REQUESTED.validate(body)
        assert body["callbackUrl"] == stage.settings.callback_url


# --- Messages that fit neither -----------------------------------------------------------------------------------

WRONG = {
    "string": [None, True, 1, 1.5, [], ["text"], {}],
    "integer": [True, False, 1.5, "1", "", [], [1], {}],
    "number": [True, False, "1.5", "", [], [1.5], {}],
    "object": [None, True, 1, "{}", [], [{}]],
    "uuid": ["", "x", "5f0c6a7e6f7b4a649f2b0b8f4f5f2d11", "{5f0c6a7e-6f7b-4a64-9f2b-0b8f4f5f2d11}"],
    "status": ["", "COMPLETED", "done", None, True, 1, [], {}],
}


@st.composite
def broken(draw: st.DrawFn, event: str) -> Message:
    """A message with one field removed that is required, or one field of the wrong type."""
    schema, messages = MESSAGES[event]
    message = json.loads(json.dumps(draw(messages)))
    part, rules = message, schema.schema
    if event == "completed" and draw(st.booleans()):
        part, rules = message["imageMetadata"], rules["properties"]["imageMetadata"]
    field = draw(st.sampled_from(sorted(part)))
    if field in rules["required"] and field != "callbackUrl" and draw(st.booleans()):  # we know our own address
        del part[field]
    else:
        part[field] = draw(st.sampled_from(wrong(rules["properties"][field])))
    return message


def wrong(rule: Mapping[str, Any]) -> list[Any]:
    if "const" in rule:
        return WRONG["status"]
    return WRONG[rule["type"]] + (WRONG["uuid"] if rule.get("format") == "uuid" else [])


@pytest.mark.parametrize("event", MESSAGES)
def test_a_missing_field_and_a_wrong_type_are_refused_by_schema_and_service(event: str) -> None:
    schema, _ = MESSAGES[event]

    @settings(COMMON, max_examples=300)
    @given(broken(event))
    def check(message: Message) -> None:
        optional_null = [name for name, value in message.items() if value is None and name in NULL_MEANS_ABSENT]
        assert not schema.is_valid(message)
        assert accepts(schema, message) == bool(optional_null)

    check()


@pytest.mark.parametrize("images", [{}, {"imageData": "aGk=", "imageUrl": "https://images.example/1.png"}])
def test_two_images_and_none_are_refused_by_schema_and_service(images: Message) -> None:
    @COMMON
    @given(completed)
    def check(message: Message) -> None:
        bare = {name: value for name, value in message.items() if name not in {"imageData", "imageUrl"}}
        assert not COMPLETED.is_valid(bare | images)
        assert not accepts(COMPLETED, bare | images)

    check()
