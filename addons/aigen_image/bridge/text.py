"""Whether a text has a visible character. The bridge refuses a prompt without one, by the same rule."""

import unicodedata

__all__ = ["shows_nothing"]

HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zs", "Zl", "Zp", "Mn", "Me"})
"""Unicode categories of controls, joiners, blanks, and marks that need a letter to stand on."""
EMPTY_MARKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers, which Unicode counts as letters or symbols although they show nothing."""


def shows_nothing(text):
    """Return whether a text has no visible character."""
    return not any(
        unicodedata.category(character) not in HIDDEN
        and character not in EMPTY_MARKS
        and not "\U000e0000" <= character <= "\U000e0fff"
        for character in text
    )
