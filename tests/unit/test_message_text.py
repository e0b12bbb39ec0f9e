"""Messages as bytes: their encoding, and prompts in which there is nothing to see."""

import codecs
import gzip
import json
from collections.abc import Callable

import pytest

from aigen_bridge.contracts import examples
from aigen_bridge.contracts.messages import parse_body, parse_requested
from aigen_bridge.contracts.refusal import InvalidMessageError, NotJsonError
from aigen_bridge.contracts.resources import Discard
from aigen_bridge.contracts.v1 import ImageRequested


def parsed(body: bytes) -> ImageRequested:
    return parse_requested(body, callback_url="https://bridge.example.com/callback")


def asking_for(prompt: str) -> bytes:
    return json.dumps(examples.REQUESTED | {"prompt": prompt}, ensure_ascii=False).encode()


def test_a_byte_order_mark_of_utf_8_is_no_part_of_the_message() -> None:
    assert parsed(codecs.BOM_UTF8 + asking_for("図")) == parsed(asking_for("図"))


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (lambda text: text.encode("utf-16"), "it is encoded as UTF-16"),
        (lambda text: text.encode("utf-16-be"), "it is encoded as UTF-16 or UTF-32"),
        (lambda text: text.encode("utf-16-le"), "it is encoded as UTF-16 or UTF-32"),
        (lambda text: text.encode("utf-32"), "it is encoded as UTF-32"),
        (lambda text: text.encode("utf-32-be"), "it is encoded as UTF-16 or UTF-32"),
        (lambda text: gzip.compress(text.encode()), "it is encoded as gzip"),
        (lambda _: b"", "it is empty"),
        (lambda _: b" \n", "it is empty"),
        (lambda _: codecs.BOM_UTF8, "The body is not JSON"),
        (lambda text: text.encode("latin-1"), "The body is not JSON"),
    ],
)
def test_any_other_encoding_is_refused_by_its_name(written: Callable[[str], bytes], said: str) -> None:
    with pytest.raises(NotJsonError, match=said):
        parsed(written(asking_for("été").decode()))


@pytest.mark.parametrize(
    "nothing",
    [
        *(" \t\n\u00a0\u3000", "\u200b", " \u200b\u200d\ufeff ", "\ufe0f", "\u2800", "\u3164\uffa0\u115f\u1160"),
        *("\u00ad\u2060", "\x07\x1b", "\u0301\u034f", "\u202e\u2066", "\U000e0041\U000e0100", "\u180e\u180b", "\x85"),
    ],
)
def test_a_text_that_shows_nothing_is_refused_by_its_field(nothing: str) -> None:
    with pytest.raises(InvalidMessageError) as prompt:
        parsed(asking_for(nothing))
    with pytest.raises(InvalidMessageError) as reason:
        parse_body(json.dumps({"reason": nothing}).encode(), Discard)

    assert [(error.field, error.message) for error in prompt.value.errors] == [("prompt", "is blank")]
    assert [(error.field, error.message) for error in reason.value.errors] == [("reason", "is blank")]


@pytest.mark.parametrize("sign", ["a", "?", "図", "🎨", "\u200b.", "👩\u200d🚀", "\U0001fae8", "\ue000", "e\u0301"])
def test_one_visible_sign_is_a_prompt(sign: str) -> None:
    assert parsed(asking_for(sign)).prompt == sign
