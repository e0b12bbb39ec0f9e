"""Prompts with alternatives in the addon: what a person typed gives the right prompts, or is refused."""

import importlib.util
import time
from math import prod
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

PATH = Path(__file__).parents[2] / "addons" / "aigen_image" / "bridge" / "matrix.py"
SPEC = importlib.util.spec_from_file_location("matrix_of_the_addon", PATH)
assert SPEC is not None
assert SPEC.loader is not None
MATRIX = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MATRIX)
expand, literal, plain = MATRIX.expand, MATRIX.literal, MATRIX.plain

words = st.text(st.characters(exclude_characters="{}|\\", exclude_categories=("Cs",)), max_size=8)
groups = st.lists(words, min_size=2, max_size=3)


@pytest.mark.parametrize(
    ("text", "prompts"),
    [
        ("a boat", ["a boat"]),
        ("a {red|blue} boat", ["a red boat", "a blue boat"]),
        ("{a|b} {c|d}", ["a c", "a d", "b c", "b d"]),
        ("a {|big }boat", ["a boat", "a big boat"]),
        ("{{subject}} in {oil|ink}", ["{{subject}} in oil", "{{subject}} in ink"]),
        ("{{{subject}}|a dog} at dusk", ["{{subject}} at dusk", "a dog at dusk"]),
        (r"\{red|blue\}", [r"\{red|blue\}"]),
        (r"{a\|b|c}", [r"a\|b", "c"]),
        ("a {strange} boat | a ship", ["a {strange} boat | a ship"]),
        ("", [""]),
    ],
)
def test_alternatives_give_prompts_in_their_order(text, prompts):
    assert expand(text) == prompts


@given(st.text(st.sampled_from("{}| a"), max_size=20))
def test_a_literal_prompt_is_one_prompt_with_all_its_signs(text):
    assert expand(literal(text)) == [literal(text)]
    assert plain(literal(text)) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("a {red|blue boat", "open"),
        ("a red|blue} boat", "closed"),
        ("a {{red|blue} boat", "nested"),
        ("a {red|{light|dark} blue} boat", "nested"),
        ("a {{subject} boat", "nested"),
        ("{subject}} boat", "closed"),
    ],
)
def test_braces_that_do_not_match_are_refused(text, reason):
    with pytest.raises(MATRIX.WrongMatrix) as refused:
        expand(text)
    assert refused.value.reason == reason


def test_more_pictures_than_allowed_are_refused_without_writing_them_down():
    assert len(expand("{1|2|3}{1|2}{1|2}", 2)) == 12
    began = time.monotonic()
    for text, variants in (("{1|2|3}{1|2}{1|2}", 3), ("{1|2|3|4|5|6|7|8|9|10}" * 3, 1), ("{|}" * 1300, 1)):
        with pytest.raises(MATRIX.WrongMatrix) as refused:
            expand(text, variants)
        assert refused.value.reason == "too_many"
        assert refused.value.count > MATRIX.MOST
    assert time.monotonic() - began < 1


@given(st.lists(st.tuples(words, groups), max_size=4), words)
def test_each_combination_is_there_once_and_in_order(parts, end):
    text = "".join(f"{before}{{{'|'.join(options)}}}" for before, options in parts) + end
    count = prod(len(options) for _, options in parts)
    if count > MATRIX.MOST:
        with pytest.raises(MATRIX.WrongMatrix) as refused:
            expand(text)
        assert (refused.value.reason, refused.value.count) == ("too_many", count)
        return
    expected = [""]
    for before, options in parts:
        expected = [prompt + before + option for prompt in expected for option in options]
    assert expand(text) == [prompt + end for prompt in expected]


@given(st.text("{}|\\ab ", max_size=30) | st.text(max_size=60))
def test_any_text_gives_prompts_that_give_themselves_or_is_refused_with_a_reason(text):
    prompts, reason = expanded(text)
    assert bool(prompts) != (reason in {"open", "closed", "nested", "too_many"})
    assert len(prompts) <= MATRIX.MOST
    for prompt in prompts:
        assert expand(prompt) == [prompt]


def expanded(text):
    """The prompts of a text, and why there are none."""
    try:
        return expand(text), None
    except MATRIX.WrongMatrix as refused:
        return [], refused.reason


@given(st.text())
def test_escaped_signs_are_sent_as_they_are_meant(text):
    escaped = "".join(f"\\{sign}" if sign in "{}|" else sign for sign in text)
    assert expand(escaped) == [escaped]
    assert plain(escaped) == text
