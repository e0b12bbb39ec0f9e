"""The OpenAPI document says what the service does."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aigen_bridge.api.app import describe
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.messages import parse_body, parse_requested
from aigen_bridge.contracts.n8n_failure import N8nFailure
from aigen_bridge.contracts.v1 import ImageRequested, callback_event

EVENTS = Path(__file__).parent / "schemas"
EXPORT = Path(__file__).parents[2] / "openapi" / "aigen-bridge.json"
INTERFACE = {
    ("post", "/api/v1/influencegen/ai-image-requests"),
    ("get", "/api/v1/influencegen/ai-image-requests"),
    ("get", "/api/v1/influencegen/ai-image-requests/{requestId}"),
    ("get", "/api/v1/influencegen/ai-image-requests/{requestId}/image"),
    ("get", "/api/v1/influencegen/ai-image-requests/{requestId}/timeline"),
    ("post", "/api/v1/influencegen/ai-image-requests/{requestId}/cancel"),
    ("post", "/api/v1/influencegen/ai-image-callback"),
    ("post", "/api/v2/influencegen/ai-image-callback"),
    ("get", "/api/v1/ops/dead-letters"),
    ("post", "/api/v1/ops/dead-letters/{id}/replay"),
    ("post", "/api/v1/ops/dead-letters/{id}/discard"),
    ("post", "/api/v1/ops/dead-letters/replay"),
    ("post", "/api/v1/ops/requests/{requestId}/complete"),
    ("get", "/health/live"),
    ("get", "/health/ready"),
}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return describe()


def operations(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return [(method, path, op) for path, item in document["paths"].items() for method, op in item.items()]


def test_the_export_is_what_the_code_says(document: dict[str, Any]) -> None:
    assert json.loads(EXPORT.read_text()) == document


def test_every_endpoint_of_the_interface_is_there(document: dict[str, Any]) -> None:
    assert {(method, path) for method, path, _ in operations(document)} >= INTERFACE


def test_every_endpoint_but_health_names_its_key_and_its_problems(document: dict[str, Any]) -> None:
    for _, path, operation in operations(document):
        if path.startswith("/health"):
            continue
        assert {next(iter(way)) for way in operation["security"]} == {"HTTPBearer", "APIKeyHeader"}
        for status in ("401", "403"):
            assert "application/problem+json" in operation["responses"][status]["content"]


def test_the_outbound_webhook_is_described(document: dict[str, Any]) -> None:
    body = document["webhooks"]["ai-image-generation-requested"]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/AIImageGenerationRequested")


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    bodies = [op.get("requestBody") for _, _, op in operations(document)]
    bodies.append(document["webhooks"]["ai-image-generation-requested"]["post"]["requestBody"])
    checked = 0
    for body in filter(None, bodies):
        content = body["content"].get("application/json")
        if content is None or "examples" not in content:
            continue
        schema = content["schema"] | {"components": document["components"]}
        for example in content["examples"].values():
            jsonschema.Draft202012Validator(schema).validate(example["value"])
            checked += 1
    assert checked >= 4


def test_every_example_is_accepted_by_the_models() -> None:
    assert ImageRequested.model_validate_json(json.dumps(examples.REQUESTED)).stored_form() == examples.REQUESTED
    for event in (examples.COMPLETED, examples.FAILED):
        assert callback_event.validate_json(json.dumps(event)).status == event["status"]


def test_the_examples_in_the_documentation_are_accepted() -> None:
    root = Path(__file__).parents[2]
    [request] = re.findall(r"-d '(\{.*?\})'$", (root / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    [failure] = re.findall(r"```json\n(.*?)```", (root / "docs" / "n8n.md").read_text(), re.DOTALL)

    asked = parse_requested(request.replace("'$ID'", examples.REQUEST_ID).encode(), callback_url="")
    assert str(asked.request_id) == examples.REQUEST_ID
    assert parse_body(failure.encode(), N8nFailure).execution_id == "231"


def test_the_example_in_parts_fits_its_schema(document: dict[str, Any]) -> None:
    body = document["paths"]["/api/v2/influencegen/ai-image-callback"]["post"]["requestBody"]
    content = body["content"]["multipart/form-data"]
    schema = content["schema"] | {"components": document["components"]}
    jsonschema.Draft202012Validator(schema).validate(content["example"])


def test_every_body_of_words_has_an_example(document: dict[str, Any]) -> None:
    bodies = [op["requestBody"] for _, _, op in [*operations(document), *calls_out(document)] if "requestBody" in op]
    for body in bodies:
        for media, content in body["content"].items():
            if media in {"application/json", "multipart/form-data"}:
                assert content.get("examples") or content.get("example")
    assert len(bodies) >= 6


def calls_out(document: dict[str, Any]) -> list[tuple[str, str, dict[str, Any]]]:
    return operations({"paths": document["webhooks"]})


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    text = json.dumps(document)
    used = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert used
    for reference in used:
        place: Any = document
        for step in reference.removeprefix("#/").split("/"):
            assert step in place, reference
            place = place[step]


def test_every_operation_says_what_it_is(document: dict[str, Any]) -> None:
    found = [*operations(document), *calls_out(document)]
    for method, path, operation in found:
        for words in ("summary", "description", "tags", "operationId"):
            assert operation.get(words), f"{method} {path} has no {words}"
    names = [operation["operationId"] for _, _, operation in found]
    assert len(names) == len(set(names))


SPECIFIED = {name for event in EVENTS.glob("*.json") for name in json.loads(event.read_text())["properties"]}
OBVIOUS = SPECIFIED | {
    *("id", "kind", "step", "outcome", "action", "note", "detail", "message", "title", "items", "entries", "errors"),
    *("at", "createdAt", "updatedAt", "durationMs", "httpStatus", "version", "image", "dryRun", "duplicate"),
    *("limit", "cursor"),
}
"""Names that need no words: those of the specification, and those that say it all."""


def test_every_field_has_words_or_an_obvious_name(document: dict[str, Any]) -> None:
    silent = {
        (name, field)
        for name, schema in document["components"]["schemas"].items()
        for field, rules in schema.get("properties", {}).items()
        if "description" not in rules
    } | {
        (path, parameter["name"])
        for _, path, operation in operations(document)
        for parameter in operation.get("parameters", [])
        if "description" not in parameter
    }
    assert {(place, field) for place, field in silent if field not in OBVIOUS} == set()


def test_every_answer_names_its_headers(document: dict[str, Any]) -> None:
    expected = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After", "304": "ETag"}
    for _, path, operation in operations(document):
        for status, answer in operation["responses"].items():
            assert "X-Correlation-ID" in answer["headers"], f"{path} {status}"
            assert status not in expected or expected[status] in answer["headers"], f"{path} {status}"
            if any(media.startswith("image/") for media in answer.get("content", ())):
                assert "ETag" in answer["headers"]
    accepted = document["paths"]["/api/v1/influencegen/ai-image-requests"]["post"]["responses"]
    assert all("Location" in accepted[status]["headers"] for status in ("200", "202"))


def test_every_operation_admits_that_it_may_have_a_bug(document: dict[str, Any]) -> None:
    for _, _, operation in operations(document):
        assert "application/problem+json" in operation["responses"]["500"]["content"]


def test_the_end_of_a_version_is_explained(document: dict[str, Any]) -> None:
    assert all(f"`{header}`" in document["info"]["description"] for header in ("Deprecation", "Sunset", "Link"))
