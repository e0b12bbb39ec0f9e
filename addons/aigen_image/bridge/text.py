"""Texts for the bridge and from it."""

import unicodedata

__all__ = ["refusal_words", "shows_nothing"]

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"})
"""Unicode categories of controls, joiners, blanks, and marks that need a letter to stand on."""
EMPTY_MARKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers, which Unicode counts as letters or symbols although they show nothing."""


def shows_nothing(text):
    """Return whether a text has no visible character. The bridge refuses such a prompt by the same rule."""
    return not any(
        unicodedata.category(character) not in HIDDEN
        and character not in EMPTY_MARKS
        and not "\U000e0000" <= character <= "\U000e0fff"
        for character in text
    )


def refusal_words(error):
    """Return what the bridge says of a wrong field, and what is allowed unless that is said already or is UUIDs."""
    words, allowed = str(error.get("message") or ""), str(error.get("allowed") or "")
    is_said = not allowed or allowed in words or error.get("field") == "modelId"
    return words if is_said else f"{words} ({allowed})"
