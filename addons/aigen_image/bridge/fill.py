"""Texts with fields of a record in double braces: `A photo of {{ name }}, made by {{ partner_id.name }}`."""

import re

PLACEHOLDER = re.compile(r"\{\{\s*(?:object\.)?([a-z_]\w*(?:\.[a-z_]\w*)*)\s*\}\}")
BRACES = str.maketrans("{}", "()")
"""Braces are alternatives in a prompt. Those of a record are words."""


def paths(text):
    """Return the field paths that a text asks for, in their order."""
    return PLACEHOLDER.findall(text)


def fill(text, value_of):
    """Return the text with `value_of(path)` in place of each path. Commas and spaces around nothing are left out."""
    filled = PLACEHOLDER.sub(lambda found: " ".join(value_of(found[1]).translate(BRACES).split()), text)
    filled = re.sub(r"[ \t]{2,}", " ", filled)
    filled = re.sub(r"(?:[ \t]*,)+(?=[ \t]*[,.;:]|[ \t]*$)", "", filled, flags=re.MULTILINE)
    return re.sub(r"[ \t]+([,.;:])", r"\1", filled).strip(" ,")
