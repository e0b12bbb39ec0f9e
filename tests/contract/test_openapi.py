"""The OpenAPI document says what the service does."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from aigen_bridge.api.app import describe
from aigen_bridge.contracts import examples
from aigen_bridge.contracts.v1 import ImageRequested, callback_event

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
    ImageRequested.model_validate_json(json.dumps(examples.REQUESTED))
    for event in (examples.COMPLETED, examples.FAILED):
        callback_event.validate_json(json.dumps(event))


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    known = {f"#/components/schemas/{name}" for name in document["components"]["schemas"]}
    text = json.dumps(document)
    used = {part.split('"')[0] for part in text.split('"$ref": "')[1:]}
    assert used <= known
