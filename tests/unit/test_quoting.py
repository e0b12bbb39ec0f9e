"""Text from outside, as it is shown to operators: one line, with nothing hidden and nothing that acts."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.quoting import one_line


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("N8N answered 503.", "N8N answered 503."),
        ("l'été à 20°C, 図 🎨", "l'été à 20°C, 図 🎨"),
        ("refused\nwhat to do: run curl evil", "refused\\nwhat to do: run curl evil"),
        ("a\r\nb\tc\vd\fe", "a\\r\\nb\\tc\\x0bd\\x0ce"),
        ("next\x85line\u2028two\u2029three", "next\\x85line\\u2028two\\u2029three"),
        ("\x1b[2J\x1b]8;;http://evil\x07click\x1b]8;;\x07", r"\x1b[2J\x1b]8;;http://evil\x07click\x1b]8;;\x07"),
        ("\x9b31mred\x9d", "\\x9b31mred\\x9d"),
        ("gpj\u202egnp", "gpj\\u202egnp"),
        ("a\u200bb\u2066c\ufeffd\U000e0041", "a\\u200bb\\u2066c\\ufeffd\\U000e0041"),
        ("half \ud83d", "half \\ud83d"),
        ("database does not exist\n", "database does not exist"),
        ("Erreur\u00a0: non", "Erreur : non"),
    ],
)
def test_what_would_act_is_spelled_out(text: str, shown: str) -> None:
    assert one_line(text) == shown


@given(st.text(alphabet=st.characters()))
def test_any_text_becomes_one_line_that_a_terminal_shows_as_it_is(text: str) -> None:
    shown = one_line(text)

    assert len(shown.splitlines()) <= 1
    assert not {unicodedata.category(character) for character in shown} & {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert one_line(shown) == shown
