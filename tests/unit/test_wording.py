"""The errors of pydantic, as people read them: after the name of a field they make a sentence."""

import re
from typing import Any

import pytest
from pydantic import TypeAdapter, ValidationError
from pydantic_core._pydantic_core import list_all_errors

from aigen_bridge.contracts.refusal import InvalidMessageError, field_errors
from aigen_bridge.contracts.v1 import ImageRequested, callback_event
from aigen_bridge.contracts.wording import predicate
from aigen_bridge.settings.values import Duration

PREDICATE = re.compile(r"(is|must|needs|has|contains|does) \S.*", re.DOTALL)
CLUMSY = re.compile(r"Input should|should be|\b[A-Z]+[a-z]* input|datetime\.|uUID|validation")
OURS = {"value_error", "assertion_error"}
"""Their text is that of our own rules."""


@pytest.mark.parametrize(
    "kind", [error for error in list_all_errors() if error["type"] not in OURS], ids=lambda e: e["type"]
)
def test_every_error_of_pydantic_continues_the_name_of_a_field(kind: Any) -> None:
    said = predicate({"type": kind["type"], "msg": kind["example_message_python"]})

    assert PREDICATE.fullmatch(said), said
    assert said.startswith("is not valid (") or not CLUMSY.search(said), said


@pytest.mark.parametrize("body", [5, "text", [], None, {}, {"requestId": 5, "seed": 1.5, "resolution": "9x9", "x": 1}])
def test_a_refused_request_reads_as_sentences(body: Any) -> None:
    with pytest.raises(ValidationError) as caught:
        ImageRequested.model_validate(body)
    detail = InvalidMessageError("The request", field_errors(caught.value, ImageRequested)).detail

    assert not CLUMSY.search(detail), detail
    assert all(PREDICATE.fullmatch(error.message) for error in field_errors(caught.value, ImageRequested))
    assert isinstance(body, dict) or detail == "The request is not valid. It must be an object."


def test_a_refused_callback_reads_as_sentences() -> None:
    event = {"status": "completed", "requestId": 7, "imageMetadata": {"size": "1"}, "resultExpiresAt": "soon"}
    with pytest.raises(ValidationError) as caught:
        callback_event.validate_json(TypeAdapter(Any).dump_json(event))

    assert {error.field: error.message for error in field_errors(caught.value)} == {
        "requestId": "must be a UUID",
        "correlationId": "is missing",
        "imageMetadata.format": "is missing",
        "imageMetadata.size": "must be a whole number",
        "imageMetadata.width": "is missing",
        "imageMetadata.height": "is missing",
        "resultExpiresAt": "must be a time with its zone, such as 2026-01-31T12:00:00Z",
        "hashValue": "is missing",
    }


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("0", "must be greater than 0 seconds"),
        ("366d", "must be less than or equal to 365 days"),
        ("soon", "must be a d"),
    ],
)
def test_a_duration_is_spoken_of_as_one(value: str, said: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TypeAdapter(Duration).validate_python(value)

    assert predicate(caught.value.errors()[0]).startswith(said)
