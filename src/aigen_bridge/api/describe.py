"""OpenAPI descriptions of the bodies that endpoints read themselves, and of their problem responses.

Endpoints read their own bodies because the size limit must hold while reading, malformed JSON must be a 400, and
signatures cover the raw bytes. What all responses share, such as headers, is added once, to the finished document.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aigen_bridge.api.odoo_database import HEADER, PATTERN
from aigen_bridge.contracts.budgets import BudgetProblem, BudgetTerms
from aigen_bridge.contracts.destinations import DestinationLimit, DestinationPause, DestinationResume
from aigen_bridge.contracts.generation import GenerationAsk, GenerationJob, GenerationProgress, JobProblem
from aigen_bridge.contracts.models import ModelEntry
from aigen_bridge.contracts.n8n_failure import N8nFailure
from aigen_bridge.contracts.replays import ReplayTerms
from aigen_bridge.contracts.resources import BulkReplay, Discard, NextStep
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, ImageRequested
from aigen_bridge.contracts.wire import Problem
from aigen_bridge.domain.image import MEDIA_TYPES

REF = "#/components/schemas/{model}"
IMAGE_FIELDS = ("imageData", "imageUrl")
MESSAGES: tuple[type[BaseModel], ...] = (
    ImageRequested,
    ImageCompleted,
    ImageFailed,
    GenerationAsk,
    GenerationJob,
    GenerationProgress,
    Discard,
    BulkReplay,
    ReplayTerms,
    N8nFailure,
    ModelEntry,
    BudgetTerms,
    DestinationPause,
    DestinationResume,
    DestinationLimit,
)

_HEADERS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "X-Correlation-ID": ("the caller's id, otherwise the message's, otherwise a new one", {"type": "string"}),
    "Location": ("the path of the request", {"type": "string", "format": "uri-reference"}),
    "Retry-After": ("seconds to wait before the next attempt", {"type": "integer", "minimum": 0}),
    "WWW-Authenticate": ("how to authenticate", {"type": "string"}),
    "ETag": ("a hash of the content, quoted", {"type": "string"}),
}
_HEADERS_OF_STATUS = {"304": ["ETag"], "401": ["WWW-Authenticate"], "429": ["Retry-After"], "503": ["Retry-After"]}
_CREATED = frozenset({"200", "201", "202"})

_MEANING = {
    400: "Not JSON, or malformed multipart/form-data",
    401: "No key, an unknown key, or an invalid signature",
    403: "The key's client does not have the scope, or the call comes from another database than that of its Odoo",
    404: "No such request, image, model, budget, destination, dead letter or replay",
    408: "The body did not arrive in time",
    409: "It conflicts with what is known",
    410: "The image has been deleted",
    412: "The image is not the one in `If-Match`",
    413: "Larger than allowed",
    415: "This endpoint does not accept the media type, or the body is compressed",
    422: "Not a valid message; `errors` names each wrong field",
    429: "The client calls too often; `Retry-After` says when to try again",
    500: "A bug in the bridge; the log has its traceback",
    503: "The database is away; nothing was stored; `Retry-After` says when to try again",
}
KEY = "The key of a client"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Returns the `responses` of an endpoint for these problems."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANING[status], "content": content} for status in statuses}


def json_body(examples: Mapping[str, Any], *models: type[BaseModel]) -> dict[str, Any]:
    """Returns the `requestBody` of an endpoint that reads one of these messages."""
    schemas = [_message_alone(model) for model in models]
    schema = schemas[0] if len(schemas) == 1 else {"oneOf": schemas}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": dict(examples)}},
        }
    }


def multipart_body(example: Any, *models: type[BaseModel]) -> dict[str, Any]:
    """Returns the `requestBody` for one of these messages; the first has its image in a part of its own."""
    beside = {"allOf": [_ref(models[0]), {"properties": {field: {"type": "null"} for field in IMAGE_FIELDS}}]}
    alone = {"oneOf": [_message_alone(model) for model in models]}
    image = {"type": "string", "contentMediaType": "application/octet-stream"}
    schema = {
        "type": "object",
        "properties": {"event": {"type": "object"}, "image": image},
        "required": ["event"],
        "oneOf": [
            {"properties": {"event": beside}, "required": ["image"]},
            {"properties": {"event": alone, "image": False}},
        ],
    }
    encoding = {
        "event": {"contentType": "application/json"},
        "image": {"contentType": ", ".join([*MEDIA_TYPES.values(), "application/octet-stream"])},
    }
    content = {"schema": schema, "encoding": encoding, "example": example}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


def failure_body(example: Mapping[str, Any]) -> dict[str, Any]:
    """Returns the `requestBody` for a failure reported by N8N: JSON, or JSON and an image in separate parts."""
    image = {"type": "string", "contentMediaType": "application/octet-stream"}
    parts = {"type": "object", "properties": {"event": _ref(N8nFailure), "image": image}, "required": ["event"]}
    encoding = {"event": {"contentType": "application/json"}}
    content = {
        "application/json": {"schema": _ref(N8nFailure), "example": example["event"]},
        "multipart/form-data": {"schema": parts, "encoding": encoding, "example": dict(example)},
    }
    return {"requestBody": {"required": True, "content": content}}


def _ref(model: type[BaseModel]) -> dict[str, Any]:
    return {"$ref": REF.format(model=name(model))}


def _message_alone(model: type[BaseModel]) -> dict[str, Any]:
    """Returns the schema of a message without a separate image: `completed` contains or names exactly one image."""
    if model is not ImageCompleted:
        return _ref(model)
    return {"allOf": [_ref(model), {"oneOf": [_required_text(field) for field in IMAGE_FIELDS]}]}


def _required_text(field: str) -> dict[str, Any]:
    return {"required": [field], "properties": {field: {"type": "string"}}}


def image_body() -> dict[str, Any]:
    """Returns the `requestBody` of an endpoint that reads an image file. Other types are accepted, too."""
    content: dict[str, Any] = {media: {"schema": {}} for media in (*MEDIA_TYPES.values(), "application/octet-stream")}
    description = "The bytes of the file. They decide what it is; any media type but text and JSON is accepted."
    return {"requestBody": {"description": description, "required": True, "content": content}}


def name(model: type[BaseModel]) -> str:
    """Returns the name of a message in the specification."""
    return str(model.model_config.get("title") or model.__name__)


def message_schemas() -> dict[str, Any]:
    """Returns the component schemas that endpoints refer to by name."""
    models = [(model, "validation") for model in (*MESSAGES, Problem, JobProblem, BudgetProblem)]
    _, document = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    titles = {model.__name__: name(model) for model in MESSAGES}
    return {titles.get(key, key): schema for key, schema in document["$defs"].items()}


def _secure(document: dict[str, Any]) -> None:
    """Adds the ways to send a key to every operation that requires one."""
    document["components"]["securitySchemes"] = {
        "HTTPBearer": {"type": "http", "description": KEY, "scheme": "bearer"},
        "APIKeyHeader": {"type": "apiKey", "description": KEY, "in": "header", "name": "X-API-Key"},
    }
    for item in document["paths"].values():
        for operation in item.values():
            if "401" in operation["responses"]:
                operation["security"] = [{"HTTPBearer": []}, {"APIKeyHeader": []}]


def _describe_database(paths: dict[str, Any]) -> None:
    """Adds `X-Odoo-Database` to the operations that Odoo calls."""
    description = "the Odoo database that calls: its uuid and its percent-encoded name. Without it, nothing is checked"
    schema = {"type": "string", "pattern": PATTERN}
    header = {"name": HEADER, "in": "header", "required": False, "description": description, "schema": schema}
    for operation in (operation for item in paths.values() for operation in item.values()):
        if {"requests", "models", "budgets", "usage", "operations"} & set(operation["tags"]):
            operation.setdefault("parameters", []).append(header)


def _use_published_name(document: dict[str, Any], model: type[BaseModel]) -> None:
    """Names a schema after its title: callers generate code from the name that was published first."""
    schemas, refs = document["components"]["schemas"], REF.format(model=model.__name__)
    schemas[name(model)] = schemas.pop(model.__name__)
    for schema in schemas.values():
        for field in schema.get("properties", {}).values():
            if field.get("$ref") == refs:
                field["$ref"] = REF.format(model=name(model))


def complete(document: dict[str, Any]) -> None:
    """Completes the generated document with what FastAPI does not know: messages, and what all responses share."""
    components, paths = document["components"], document["paths"]
    components["schemas"] |= message_schemas()
    _use_published_name(document, NextStep)
    _secure(document)
    _describe_database(paths)
    components["headers"] = {
        header: {"description": description, "schema": schema} for header, (description, schema) in _HEADERS.items()
    }
    for path, item in paths.items():
        is_collection = any(other.startswith(f"{path}/{{") for other in paths)
        for method, operation in item.items():
            responses = operation["responses"]
            responses |= {str(status): response for status, response in problems(500).items()}
            for status, response in responses.items():
                located = method == "post" and is_collection and status in _CREATED
                names = [
                    "X-Correlation-ID",
                    *_headers_of(status, "304" in responses),
                    *(["Location"] if located else []),
                ]
                response["headers"] = {header: {"$ref": f"#/components/headers/{header}"} for header in names}


def _headers_of(status: str, is_conditional: bool) -> list[str]:  # noqa: FBT001 - a pair of facts
    return ["ETag"] if status == "200" and is_conditional else _HEADERS_OF_STATUS.get(status, [])
