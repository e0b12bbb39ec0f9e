"""Errors of refused messages: the wrong field, the value that was sent, and the allowed values."""

import json
from collections.abc import Sequence
from typing import Any, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.contracts.wording import predicate
from aigen_bridge.domain.errors import BridgeError, storable

_ENCODER = json.JSONEncoder(ensure_ascii=False, default=str)
ERRORS_MAX = 20
"""The maximum number of listed errors: a response must not grow with the number of mistakes."""
_SENT_MAX = 100
_UNION_TAGS = ("completed", "failed")


class NotJsonError(BridgeError):
    """The body is not JSON."""

    def __init__(self, reason: str) -> None:
        super().__init__("not_json", f"The body is not JSON: {reason}.")


class MalformedMultipartError(BridgeError):
    """The body is not the multipart/form-data that is expected."""

    def __init__(self, reason: str) -> None:
        super().__init__("malformed_multipart", f"The body is not usable as multipart/form-data. {reason}")


class InvalidMessageError(BridgeError):
    """The body is JSON, but not the expected message. `errors` has one entry per wrong field."""

    def __init__(self, what: str, errors: list[FieldError]) -> None:
        summary = " ".join(f"{e.field}: {e.message}." if e.field else f"It {e.message}." for e in errors)
        super().__init__("invalid_message", f"{what} is not valid. {summary}")
        self.errors = errors


def field_errors(error: ValidationError, *models: type[BaseModel]) -> list[FieldError]:
    """Returns one entry per wrong field. `models` provide the descriptions of allowed values."""
    return [_field_error(detail, models) for detail in error.errors(include_url=False)[:ERRORS_MAX]]


def parameter_errors(details: Sequence[Any]) -> list[FieldError]:
    """Returns one entry per wrong path or query parameter, as reported by FastAPI."""
    return [FieldError(field=str(d["loc"][-1]), sent=quoted(d.get("input")), message=predicate(d)) for d in details]


def _field_error(detail: ErrorDetails, models: tuple[type[BaseModel], ...]) -> FieldError:
    path = [str(part) for part in detail["loc"] if part not in _UNION_TAGS]
    field = ".".join(path)[:_SENT_MAX]
    if detail["type"] == "extra_forbidden":
        allowed = "these fields: " + ", ".join(_names(_holding(path, models)))
        return FieldError(field=field, sent=quoted(detail["input"]), allowed=allowed, message="is not known")
    if detail["type"] == "missing":
        message = "is missing"
        return FieldError(field=field, sent=None, allowed=_allowed(path, models), message=message)
    if detail["type"].startswith("union_tag"):
        return FieldError(field="status", sent=quoted(_tag(detail)), allowed="completed or failed", message="is wrong")
    sent = quoted(detail["input"]) if field else None
    return FieldError(field=field, sent=sent, allowed=_allowed(path, models), message=predicate(detail))


def _tag(detail: ErrorDetails) -> Any:
    return detail["input"].get("status") if isinstance(detail["input"], dict) else detail["input"]


def _names(models: tuple[type[BaseModel], ...]) -> list[str]:
    return list(dict.fromkeys(field.alias or name for model in models for name, field in model.model_fields.items()))


def _allowed(path: list[str], models: tuple[type[BaseModel], ...]) -> str | None:
    """Returns the description of the field at `path`, found by its name on the wire."""
    for field in (found for model in models if (found := _field(path, model))):
        inner = _message_in(field.annotation)
        rest = [part for part in path[1:] if not part.isdigit()]  # the places in a list have no names
        return (_allowed(rest, (inner,)) if inner and rest else None) or field.description
    return None


def _holding(path: list[str], models: tuple[type[BaseModel], ...]) -> tuple[type[BaseModel], ...]:
    """Returns the messages that can have the last field of `path`."""
    rest = [part for part in path[1:] if not part.isdigit()]
    inner = [_message_in(field.annotation) for model in models if (field := _field(path, model))]
    found = tuple(message for message in inner if message)
    return _holding(rest, found) if rest and found else models


def _field(path: list[str], model: type[BaseModel]) -> FieldInfo | None:
    fields = model.model_fields.items()
    return next((field for name, field in fields if path and path[0] == (field.alias or name)), None)


def _message_in(annotation: Any) -> type[BaseModel] | None:
    """Returns the message that a field holds, also as an item of a list or as an alternative to None."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _message_in(part))), None)


def quoted(value: Any) -> str:
    """Returns the beginning of a value as JSON. The rest, which may be megabytes, is not written."""
    text = ""
    for piece in _ENCODER.iterencode(value):
        text += piece
        if len(text) > _SENT_MAX:
            return storable(text[:_SENT_MAX]) + "…"
    return storable(text)
