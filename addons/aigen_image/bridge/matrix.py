"""Prompts with alternatives: `a {red|blue} boat` gives two prompts."""

import re
from itertools import product
from math import prod

__all__ = ["MOST", "WrongMatrix", "expand", "literal", "plain"]

MOST = 24
"""The most pictures that one action asks for."""
MARK = re.compile(r"\\[{}|]|\{\{[^{}]*\}\}|[{}|]")
"""An escaped character, a preset's placeholder such as `{{subject}}`, or a character that separates alternatives."""
ESCAPED = re.compile(r"\\([{}|])")


class WrongMatrix(ValueError):  # noqa: N818 - of a text that a person typed
    """The text cannot be used. `reason` is `open`, `closed`, `nested` or `too_many`, with the `count` of pictures."""

    def __init__(self, reason, count=0):
        super().__init__(reason)
        self.reason = reason
        self.count = count


def expand(text, variants=1):
    """Return the prompts of a text, in the order in which the alternatives stand. The last ones change first.

    Each prompt expands to itself alone. Raises `WrongMatrix`, also if so many variants of each prompt would be more
    than `MOST` pictures.
    """
    choices = _choices(text)
    count = prod(map(len, choices)) * variants
    if count > MOST:
        raise WrongMatrix("too_many", count)
    return ["".join(words) for words in product(*choices)]


def plain(prompt):
    r"""Return the prompt as it is sent to the bridge, with `\{`, `\}` and `\|` unescaped."""
    return ESCAPED.sub(r"\1", prompt)


def literal(prompt):
    """Return the prompt with its braces escaped, so that they are sent as text."""
    return re.sub(r"[{}]", r"\\\g<0>", prompt)


def _choices(text):
    """Split the text into parts. Returns the alternatives of each part; a plain part has itself as the only one."""
    choices, options, start = [], None, 0
    for mark in MARK.finditer(text):
        sign, words = mark.group(), text[start : mark.start()]
        if len(sign) > 1 or (sign == "|" and options is None):
            continue
        if sign == "{":
            if options is not None:
                raise WrongMatrix("nested")
            choices.append([words])
            options = []
        elif options is None:
            raise WrongMatrix("closed")
        else:
            options.append(words)
            if sign == "}":
                choices.append(_alternatives(options))
                options = None
        start = mark.end()
    if options is not None:
        raise WrongMatrix("open")
    return [*choices, [text[start:]]]


def _alternatives(options):
    """Return the alternatives between two braces. Braces around a single option are kept as text."""
    return options if len(options) > 1 else [f"{{{options[0]}}}"]
