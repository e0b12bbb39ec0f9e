"""Parses messages, and lists the errors of one that cannot be parsed."""

import codecs
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError

from aigen_bridge.contracts.refusal import InvalidMessageError, NotJsonError, field_errors
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, ImageRequested, callback_event
from aigen_bridge.contracts.wire import FieldError

VALUES_MAX = 10_000
"""A callback has about a dozen values. Parsing millions of small values would take gigabytes and seconds. A comma
separates any two values, base64 contains none, and the parser itself limits the depth."""

_OTHER_ENCODINGS = {
    codecs.BOM_UTF32_LE: "UTF-32",  # before UTF-16, whose mark begins in the same way
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
    b"\x1f\x8b": "gzip",
}

T = TypeVar("T")
M = TypeVar("M", bound=BaseModel)
_requested = TypeAdapter(ImageRequested)


def parse_requested(body: bytes, *, callback_url: str) -> ImageRequested:
    """Parses EVT-AIG-001. Raises `NotJsonError` or `InvalidMessageError`."""
    return _parse(_requested, body, "EVT-AIG-001", (ImageRequested,), {"callback_url": callback_url})


def parse_callback(body: bytes, *, image_beside: bool) -> ImageCompleted | ImageFailed:
    """Parses EVT-AIG-002 or EVT-AIG-003, distinguished by `status`. Raises the same errors as `parse_requested`.

    `image_beside`: the image is a separate part (v2), so the event contains none.
    """
    if _too_many_values(body):
        raise InvalidMessageError("The callback", [FieldError(field="", message=f"has more than {VALUES_MAX} values")])
    context = {"image_beside": image_beside}
    event = _parse(callback_event, body, "The callback", (ImageCompleted, ImageFailed), context)
    if image_beside and isinstance(event, ImageFailed):
        raise InvalidMessageError(
            "The callback", [FieldError(field="image", message="must not be sent when status is failed")]
        )
    return event


def parse_body(body: bytes, model: type[M]) -> M:
    """Parses a message that is not an event. Raises the same errors as `parse_requested`."""
    return _parse(TypeAdapter(model), body, "The body", (model,), None)


def _too_many_values(body: bytes) -> bool:
    """Counts commas with `find`, which scans base64 thirty times as fast as `count`."""
    comma = -1
    for _ in range(VALUES_MAX + 1):
        comma = body.find(b",", comma + 1)
        if comma < 0:
            return False
    return True


def _parse(
    adapter: TypeAdapter[T],
    body: bytes,
    what: str,
    models: tuple[type[BaseModel], ...],
    context: dict[str, Any] | None,
) -> T:
    try:
        return adapter.validate_json(_as_utf8(body), context=context)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        if first["type"] == "json_invalid":
            raise NotJsonError(first["ctx"]["error"]) from None
        raise InvalidMessageError(what, field_errors(error, *models)) from None


def _as_utf8(body: bytes) -> bytes:
    """Returns the body without a byte order mark. Raises `NotJsonError` for an empty body and for other encodings."""
    if not body.strip():
        raise NotJsonError("it is empty")
    found = next((name for start, name in _OTHER_ENCODINGS.items() if body.startswith(start)), None)
    if found is None and b"\0" in body[:2]:  # no JSON text in UTF-8 begins like this
        found = "UTF-16 or UTF-32"
    if found:
        raise NotJsonError(f"it is encoded as {found}")
    return body.removeprefix(codecs.BOM_UTF8)
