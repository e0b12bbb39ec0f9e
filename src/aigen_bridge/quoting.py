"""Makes text from outside safe to show on a terminal, in a mail or in a log. JSON needs no such thing."""

import unicodedata

_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
"""Unicode categories that move the cursor, start a line, change the direction of text, or show nothing."""


def one_line(text: str) -> str:
    r"""Returns text from outside as one line in which nothing is hidden: `\n`, `\x1b` and `\u202e` are spelled out.

    Raw, such characters would colour or erase what the terminal shows, or add a line that seems to be the bridge's own.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible, text.rstrip()))


def _visible(character: str) -> str:
    category = unicodedata.category(character)
    if category in _HIDDEN:
        return character.encode("unicode_escape").decode()
    return " " if category == "Zs" else character
