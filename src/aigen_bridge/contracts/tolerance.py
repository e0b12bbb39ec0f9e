"""Repairs messages that would be refused for a reason that does not matter, so that a paid image is not lost.

A message is parsed strictly first. Only one that fails comes here.
"""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from uuid import UUID

from pydantic import BaseModel, ValidationError

_LONE_SURROGATES = re.compile("[\ud800-\udfff]")
_WHOLE_NUMBER = re.compile(r"(-?[0-9]{1,20})(?:\.0*)?\Z")
_DIGITS_MAX = 4000
"""Python refuses to read or write more digits of a number; such a number stays a text."""

Message = dict[str, Any]
Convert = Callable[[Any], Any]


def well_formed(body: bytes) -> bytes | None:
    """Returns JSON with every lone surrogate replaced by U+FFFD. None if it is not JSON for another reason."""
    try:
        return written(json.loads(body.decode(), parse_int=_integer))
    except (ValueError, RecursionError):
        return None


def readable(body: bytes) -> bytes | None:
    """Does the same as `well_formed`, and accepts other encodings, invalid ones, and control characters in texts."""
    message = _read(body)
    return None if message is None else written(message)


def repaired(body: bytes, *, image_beside: bool) -> Message | None:
    """Returns a callback with its values in the expected form, as far as their meaning is certain. None if it is none.

    Numbers may be texts, texts numbers, UUIDs in any form; an image field that holds nothing is removed.
    """
    message = _read(body)
    if not isinstance(message, dict):
        return None
    for field, convert in _CONVERSIONS.items():
        _replace(message, field, convert)
    if isinstance(metadata := message.get("imageMetadata"), dict):
        for field in ("size", "width", "height"):
            _replace(metadata, field, whole_number)
    _drop_empty_images(message, image_beside=image_beside)
    return message


def without(message: Message, error: ValidationError, models: Iterable[type[BaseModel]]) -> tuple[Message, list[str]]:
    """Returns the message without the optional fields that `error` complains about, and their names."""
    optional = {
        info.alias or name for model in models for name, info in model.model_fields.items() if not info.is_required()
    }
    details = error.errors(include_url=False, include_input=False)
    wrong = {str(part) for detail in details for part in detail["loc"][1:2]}  # the first part is the kind of event
    dropped = sorted(wrong & optional & set(message))
    return {name: value for name, value in message.items() if name not in dropped}, dropped


def is_url(value: Any) -> bool:
    """Returns whether a value has the form of a URL from which an image can be fetched."""
    return isinstance(value, str) and _bare(value).lower().startswith(("http://", "https://"))


def whole_number(value: Any) -> Any:
    """Returns the whole number that a float or a text stands for; any other value unchanged."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    match = _WHOLE_NUMBER.match(_bare(value)) if isinstance(value, str) else None
    return int(match[1]) if match else value


def written(message: Any) -> bytes:
    """Writes a message as JSON, without lone surrogates."""
    return _LONE_SURROGATES.sub("\N{REPLACEMENT CHARACTER}", json.dumps(message, ensure_ascii=False)).encode()


def _read(body: bytes) -> Any:
    """Reads JSON in any state in which it can be read, otherwise returns None."""
    try:
        return json.loads(body.decode(json.detect_encoding(body), errors="replace"), strict=False, parse_int=_integer)
    except (ValueError, RecursionError):
        return None


def _integer(digits: str) -> int | str:
    return int(digits) if len(digits) < _DIGITS_MAX else digits


def _replace(message: Message, field: str, convert: Convert) -> None:
    if field in message:
        message[field] = convert(message[field])


def _bare(value: Any) -> Any:
    return value.replace("\0", "").strip() if isinstance(value, str) else value


def _text(value: Any) -> Any:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return str(value) if is_number else value


def _uuid(value: Any) -> Any:
    try:
        return str(UUID(_bare(value)))
    except (ValueError, AttributeError, TypeError):
        return value


def _status(value: Any) -> Any:
    return _bare(value).lower() if isinstance(value, str) else value


def _drop_empty_images(message: Message, *, image_beside: bool) -> None:
    """Removes image fields that hold nothing, and an `imageUrl` that is no URL where another image is at hand."""
    for field in ("imageData", "imageUrl"):
        if not _bare(message.get(field)):
            message.pop(field, None)
    if (image_beside or "imageData" in message) and not is_url(message.get("imageUrl")):
        message.pop("imageUrl", None)


_CONVERSIONS: Mapping[str, Convert] = {
    "requestId": _uuid,
    "correlationId": _uuid,
    "status": _status,
    "payloadVersion": _text,
    "executionId": _text,
    "errorCode": _text,
}
