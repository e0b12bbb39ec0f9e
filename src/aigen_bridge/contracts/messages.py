"""Parses messages, and lists the errors of one that cannot be parsed."""

import codecs
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from aigen_bridge.contracts import tolerance
from aigen_bridge.contracts.envelope import Envelope
from aigen_bridge.contracts.facts import read_facts
from aigen_bridge.contracts.n8n_failure import N8nFailure
from aigen_bridge.contracts.refusal import InvalidMessageError, MalformedMultipartError, NotJsonError, field_errors
from aigen_bridge.contracts.v1 import ImageCompleted, ImageFailed, ImageRequested, callback_event
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.domain.facts import NO_FACTS, Facts
from aigen_bridge.domain.image import parse_sha256

VALUES_MAX = 10_000
"""A callback or report has about a dozen values. Parsing millions of small values would take gigabytes and seconds. A
comma separates any two values, base64 contains none, and the parser itself limits the depth."""

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
_EVENTS = (ImageCompleted, ImageFailed)


@dataclass(frozen=True, slots=True)
class Callback:
    """A parsed callback. `image` is the image beside the event. `ignored` names optional fields with a wrong value.

    `facts` are the valid ones in its fields `generation` and `cost`.
    """

    event: ImageCompleted | ImageFailed
    image: bytes | None = None
    ignored: tuple[str, ...] = ()
    facts: Facts = NO_FACTS


def parse_requested(body: bytes, *, callback_url: str) -> ImageRequested:
    """Parses EVT-AIG-001. Raises `NotJsonError` or `InvalidMessageError`."""
    return _parse(_requested, body, "EVT-AIG-001", (ImageRequested,), {"callback_url": callback_url})


def parse_callback(envelope: Envelope, *, chosen_by_hash: bool = False) -> Callback:
    """Parses EVT-AIG-002 or EVT-AIG-003, distinguished by `status`. An optional field never refuses it.

    Raises the same errors as `parse_requested`, and `MalformedMultipartError` if several files can be the image.
    `chosen_by_hash`: of several, take the one that `hashValue` names.
    """
    body = envelope.event
    if body is None:
        raise MalformedMultipartError(envelope.fault or "It has no event.")
    _check_values("The callback", body)
    context = {"image_beside": envelope.image is not None, "files_beside": bool(envelope.files)}
    event, ignored = _parse_event(body, context)
    if envelope.image is not None and isinstance(event, ImageFailed):
        raise InvalidMessageError(
            "The callback", [FieldError(field="image", message="must not be sent when status is failed")]
        )
    image = envelope.image
    if image is None and isinstance(event, ImageCompleted) and event.needs_image:
        image = choose_image(envelope.files, event.hash_value if chosen_by_hash else None)
    facts, wrong = read_facts(event.generation, event.cost)
    return Callback(event, image, (*ignored, *wrong), facts)


def choose_image(files: Sequence[bytes], sha256: str | None = None) -> bytes | None:
    """Returns the only file, or of several the one with this SHA-256. Raises `MalformedMultipartError` if none is."""
    known = parse_sha256(sha256) if sha256 and len(files) > 1 else None
    found = [file for file in files if hashlib.sha256(file).hexdigest() == known] if known else list(files)
    if len(found) > 1 or (files and not found):
        raise MalformedMultipartError(f"It has {len(files)} files that can be the image, and no part named 'image'.")
    return found[0] if found else None


def _parse_event(body: bytes, context: dict[str, Any]) -> tuple[ImageCompleted | ImageFailed, tuple[str, ...]]:
    """Returns the event and the names of ignored fields."""
    try:
        return callback_event.validate_json(body, context=context), ()
    except ValidationError as error:
        first = error
    message = tolerance.repaired(body, image_beside=any(context.values()))
    ignored: list[str] = []
    while message is not None:
        try:
            return callback_event.validate_json(tolerance.written(message), context=context), tuple(ignored)
        except ValidationError as error:
            first = error if _is_not_json(first) else first
            message, dropped = tolerance.without(message, error, _EVENTS)
            ignored += dropped
            if not dropped:
                break
    raise _refusal("The callback", body, first, _EVENTS) from None


def parse_body(body: bytes, model: type[M]) -> M:
    """Parses a message that is not an event. Raises the same errors as `parse_requested`."""
    return _parse(TypeAdapter(model), body, "The body", (model,), None)


def parse_report(body: bytes) -> N8nFailure:
    """Parses N8N's report of a failure. Raises the same errors as `parse_requested`."""
    _check_values("The report", body)
    return _parse(TypeAdapter(N8nFailure), body, "The report", (N8nFailure,), None, tolerance.readable)


def _check_values(what: str, body: bytes) -> None:
    """Refuses too many values. Counts commas with `find`, which scans base64 thirty times as fast as `count`."""
    comma = -1
    for _ in range(VALUES_MAX + 1):
        comma = body.find(b",", comma + 1)
        if comma < 0:
            return
    raise InvalidMessageError(what, [FieldError(field="", message=f"has more than {VALUES_MAX} values")])


def _parse(
    adapter: TypeAdapter[T],
    body: bytes,
    what: str,
    models: tuple[type[BaseModel], ...],
    context: dict[str, Any] | None,
    repair: Callable[[bytes], bytes | None] = tolerance.well_formed,
) -> T:
    body = body.removeprefix(codecs.BOM_UTF8)
    try:
        return adapter.validate_json(body, context=context)
    except ValidationError as error:
        first = error
    if _is_not_json(first) and (well_formed := repair(body)):
        try:
            return adapter.validate_json(well_formed, context=context)
        except ValidationError as error:
            first = error
    raise _refusal(what, body, first, models) from None


def _is_not_json(error: ValidationError) -> bool:
    return _first_detail(error)["type"] == "json_invalid"


def _first_detail(error: ValidationError) -> ErrorDetails:
    return error.errors(include_url=False, include_input=False)[0]


def _refusal(what: str, body: bytes, error: ValidationError, models: tuple[type[BaseModel], ...]) -> BridgeError:
    if _is_not_json(error):
        return NotJsonError(_encoding(body) or _first_detail(error)["ctx"]["error"])
    return InvalidMessageError(what, field_errors(error, *models))


def _encoding(body: bytes) -> str | None:
    """Says that a body is empty or in another encoding than UTF-8, which is more useful than the parser's words."""
    if not body.strip():
        return "it is empty"
    found = next((name for start, name in _OTHER_ENCODINGS.items() if body.startswith(start)), None)
    if found is None and b"\0" in body[:2]:  # no JSON text in UTF-8 begins like this
        found = "UTF-16 or UTF-32"
    return f"it is encoded as {found}" if found else None
