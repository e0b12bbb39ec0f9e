"""What OpenAPI says of bodies that the endpoints read themselves, and of the problems they answer with.

Endpoints read their own bodies because the limit on size must hold while reading, malformed JSON must be a 400,
and signatures cover the raw bytes.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from aigen_bridge.contracts.problem import Problem
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, ImageRequested
from aigen_bridge.domain.image import MEDIA_TYPES

REF = "#/components/schemas/{model}"
MESSAGES: tuple[type[BaseModel], ...] = (ImageRequested, ImageCompleted, ImageFailed)

_MEANING = {
    400: "Not JSON, or malformed multipart/form-data",
    401: "No key, or an unknown one",
    403: "The key's client lacks the scope",
    404: "Unknown request, or it has no image",
    408: "The body did not arrive in time",
    409: "It contradicts what is known",
    413: "Larger than allowed",
    415: "Another media type than JSON",
    422: "Not a valid message; `errors` names each field",
    429: "The client calls too often; `Retry-After` says when to try again",
    503: "The database is away; nothing was stored; `Retry-After` says when to try again",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an endpoint that may answer with these problems."""
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {status: {"description": _MEANING[status], "content": content} for status in statuses}


def json_body(examples: Mapping[str, Any], *models: type[BaseModel]) -> dict[str, Any]:
    """The `requestBody` of an endpoint that reads one of these messages."""
    refs = [{"$ref": REF.format(model=name(model))} for model in models]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    return {
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": schema, "examples": dict(examples)}},
        }
    }


def multipart_body(example: Any, *models: type[BaseModel]) -> dict[str, Any]:
    """The `requestBody` of an endpoint that reads one of these messages beside a file."""
    event = {"oneOf": [{"$ref": REF.format(model=name(model))} for model in models]}
    image = {"type": "string", "contentMediaType": "application/octet-stream"}
    schema = {"type": "object", "properties": {"event": event, "image": image}, "required": ["event"]}
    encoding = {
        "event": {"contentType": "application/json"},
        "image": {"contentType": ", ".join([*MEDIA_TYPES.values(), "application/octet-stream"])},
    }
    content = {"schema": schema, "encoding": encoding, "example": example}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


def name(model: type[BaseModel]) -> str:
    """The name of a message in the specification."""
    return str(model.model_config.get("title") or model.__name__)


def message_schemas() -> dict[str, Any]:
    """The component schemas that endpoints refer to by name."""
    models = [(model, "validation") for model in (*MESSAGES, Problem)]
    _, document = models_json_schema(models, ref_template=REF)  # type: ignore[arg-type]
    titles = {model.__name__: name(model) for model in MESSAGES}
    return {titles.get(key, key): schema for key, schema in document["$defs"].items()}
