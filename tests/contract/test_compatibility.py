"""Version 1 and version 2 stay what they were when they were released.

The baseline is the OpenAPI document of the last release, kept apart from `openapi/aigen-bridge.json` so that an export
does not move it. At a release, after this test has passed:

    cp openapi/aigen-bridge.json tests/contract/baseline/aigen-bridge-v1.json

A break that is meant, because nobody can have relied on the old, goes into the changelog, and then the same is done.
"""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
from compatibility import breaks

from aigen_bridge.api.app import describe

BASELINE = Path(__file__).parent / "baseline" / "aigen-bridge-v1.json"
GONE = object()

ASKING = ("paths", "/api/v1/influencegen/ai-image-requests", "post")
LISTING = ("paths", "/api/v1/influencegen/ai-image-requests", "get")
IMAGE = ("paths", "/api/v1/influencegen/ai-image-requests/{requestId}/image", "get")
CALLBACK = ("paths", "/api/v1/influencegen/ai-image-callback", "post")
CALLBACK_V2 = ("paths", "/api/v2/influencegen/ai-image-callback", "post")
SCHEMAS = ("components", "schemas")
ASKED = (*SCHEMAS, "AIImageGenerationRequested")
REPORTED = (*SCHEMAS, "AIImageGenerationCompleted")
TOLD = (*SCHEMAS, "RequestResource")


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe()


def test_nothing_that_worked_at_the_last_release_is_broken(document: dict[str, Any]) -> None:
    assert breaks(json.loads(BASELINE.read_text()), document) == []


def changed(document: dict[str, Any], place: tuple[str, ...], value: Any) -> dict[str, Any]:
    """A copy with another value at a place; parameters are found by name."""
    copy = deepcopy(document)
    node: Any = copy
    *way, last = place
    for step in way:
        node = node[step] if isinstance(node, dict) else next(item for item in node if item["name"] == step)
    if isinstance(node, list):
        last = next(index for index, item in enumerate(node) if item["name"] == last)
    if value is GONE:
        del node[last]
    else:
        node[last] = value(node.get(last)) if callable(value) else value
    return copy


BREAKS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "a path": (LISTING[:2], GONE, "GET /api/v1/influencegen/ai-image-requests: is gone"),
    "a method": (LISTING, GONE, "GET /api/v1/influencegen/ai-image-requests: is gone"),
    "the webhook": (("webhooks", "ai-image-generation-requested"), GONE, "requested: is gone"),
    "an answer": ((*ASKING, "responses", "200"), GONE, "200: is gone"),
    "a header of an answer": (
        (*ASKING, "responses", "202", "headers", "Location"),
        GONE,
        "202: header Location is gone",
    ),
    "a media type of an answer": (
        (*IMAGE, "responses", "200", "content", "image/webp"),
        GONE,
        "200: image/webp is gone",
    ),
    "a media type of a body": ((*CALLBACK_V2, "requestBody", "content"), {}, "body: multipart/form-data is gone"),
    "the ways to authenticate": ((*LISTING, "security"), [{"HTTPBearer": []}], "other keys or scopes are asked for"),
    "the scopes": (
        (*LISTING, "security"),
        [{"HTTPBearer": ["ops"]}, {"APIKeyHeader": ["ops"]}],
        "other keys or scopes are asked for",
    ),
    "a parameter": ((*LISTING, "parameters", "cursor"), GONE, "parameter cursor is gone"),
    "a parameter becomes required": (
        (*LISTING, "parameters", "limit", "required"),
        True,
        "parameter limit is required",
    ),
    "a new required parameter": (
        (*LISTING, "parameters"),
        lambda known: [*known, {"in": "query", "name": "tenant", "required": True, "schema": {}}],
        "parameter tenant is required",
    ),
    "a limit of a parameter": (
        (*LISTING, "parameters", "limit", "schema", "maximum"),
        100,
        "parameter limit: maximum 200 does not fit 100",
    ),
    "an enum in a request": ((*SCHEMAS, "Status", "enum"), lambda known: known[1:], "parameter status: ['\"queued\"']"),
    "a field becomes required": ((*ASKED, "required"), lambda known: [*known, "seed"], "body.seed is required"),
    "a field in a request": ((*ASKED, "properties", "seed"), GONE, "body.seed is gone"),
    "the type of a field in a request": (
        (*ASKED, "properties", "prompt", "type"),
        "integer",
        "body.prompt: type string does not fit integer",
    ),
    "null is no longer taken": (
        (*ASKED, "properties", "seed"),
        {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
        "body.seed: type null does not fit integer",
    ),
    "a longest text": (
        (*ASKED, "properties", "prompt", "maxLength"),
        1000,
        "body.prompt: maxLength 4000 does not fit 1000",
    ),
    "a shortest text": ((*ASKED, "properties", "prompt", "minLength"), 10, "body.prompt: minLength 1 does not fit 10"),
    "a new limit": ((*REPORTED, "properties", "hashValue", "minLength"), 64, "body.hashValue: minLength None"),
    "a pattern": ((*ASKED, "properties", "resolution", "pattern"), "^1024x1024$", "body.resolution: pattern"),
    "a format": ((*REPORTED, "properties", "hashValue", "format"), "byte", "body.hashValue: format None"),
    "a status in a request": ((*REPORTED, "properties", "status", "const"), "done", "body.status: "),
    "unknown fields are refused": ((*REPORTED, "additionalProperties"), False, "body: unknown fields are refused"),
    "one of several messages": (
        (*CALLBACK, "requestBody", "content", "application/json", "schema", "oneOf"),
        lambda known: known[:1],
        "body",
    ),
    "a field in an answer": ((*TOLD, "properties", "version"), GONE, "200.version is gone"),
    "the type of a field in an answer": (
        (*TOLD, "properties", "version", "type"),
        "string",
        "200.version: type string does not fit integer",
    ),
    "a field in an answer may be absent": (
        (*TOLD, "required"),
        lambda known: [name for name in known if name != "version"],
        "200.version is not always there",
    ),
    "a field in an answer may be null": (
        (*TOLD, "properties", "version"),
        {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "200.version: type null does not fit integer",
    ),
    "a field deep in an answer": (
        (*SCHEMAS, "ImageResource", "properties", "href"),
        GONE,
        "200.items[].image.href is gone",
    ),
    "a value in an answer": (
        (*SCHEMAS, "Status", "enum"),
        lambda known: [*known, "paused"],
        "200.status: ['\"paused\"']",
    ),
    "a field of the problem": ((*SCHEMAS, "Problem", "properties", "code"), GONE, "422.code is gone"),
    "a field of the webhook's event": ((*ASKED, "properties", "seed"), GONE, "requested: body.seed is gone"),
}

HARMLESS: dict[str, tuple[tuple[str, ...], Any]] = {
    "a path": (("paths", "/api/v3/new"), {"get": {"responses": {}}}),
    "an answer": ((*LISTING, "responses", "410"), {"description": "Gone"}),
    "a header": ((*LISTING, "responses", "200", "headers", "X-Total"), {"schema": {"type": "integer"}}),
    "a media type": ((*IMAGE, "responses", "200", "content", "image/avif"), {}),
    "an optional parameter": (
        (*LISTING, "parameters"),
        lambda known: [*known, {"in": "query", "name": "tenant", "required": False, "schema": {"type": "string"}}],
    ),
    "an optional field in a callback": ((*REPORTED, "properties", "mood"), {"type": "number"}),
    "a field in an answer": ((*TOLD, "properties", "mood"), {"type": "number"}),
    "a promised field in an answer": ((*TOLD, "required"), lambda known: [*known, "deliveredAt"]),
    "a field in a callback is no longer required": ((*REPORTED, "required"), lambda known: known[:-1]),
    "a wider limit of a parameter": ((*LISTING, "parameters", "limit", "schema", "maximum"), 500),
    "a limit that falls": ((*REPORTED, "properties", "hashValue", "maxLength"), GONE),
    "more is taken": ((*SCHEMAS, "ReportedMetadata", "properties", "size", "type"), "number"),
    "words": ((*TOLD, "properties", "version", "description"), "other words"),
    "one more message": (
        (*CALLBACK, "requestBody", "content", "application/json", "schema", "oneOf"),
        lambda known: [*known, {"type": "array", "items": {}}],
    ),
}


@pytest.mark.parametrize(("place", "value", "named"), BREAKS.values(), ids=BREAKS)
def test_a_break_is_named(document: dict[str, Any], place: tuple[str, ...], value: Any, named: str) -> None:
    assert [reason for reason in breaks(document, changed(document, place, value)) if named in reason]


@pytest.mark.parametrize(("place", "value"), HARMLESS.values(), ids=HARMLESS)
def test_an_addition_is_no_break(document: dict[str, Any], place: tuple[str, ...], value: Any) -> None:
    assert breaks(document, changed(document, place, value)) == []


def test_a_body_that_becomes_required_is_a_break(document: dict[str, Any]) -> None:
    optional = changed(document, (*CALLBACK, "requestBody", "required"), False)  # noqa: FBT003 - a value of the document
    assert breaks(optional, document) == ["POST /api/v1/influencegen/ai-image-callback: body: is required"]
    assert breaks(document, optional) == []


def test_taking_back_an_addition_is_a_break(document: dict[str, Any]) -> None:
    grown = changed(document, (*TOLD, "properties", "mood"), {"type": "number"})
    assert breaks(grown, document)
