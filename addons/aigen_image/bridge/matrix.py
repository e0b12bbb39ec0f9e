"""Prompts with alternatives: `a {red|blue} boat` gives two prompts."""

import re
from itertools import product
from math import prod

__all__ = ["MOST", "WrongMatrix", "expand", "literal", "plain"]

MOST = 24
"""Pictures that are asked for with one action."""
MARK = re.compile(r"\\[{}|]|\{\{[^{}]*\}\}|[{}|]")
"""An escaped sign, a placeholder of a preset such as `{{subject}}`, or a sign that divides the text."""
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
    r"""Return the prompt as the bridge gets it: `\{`, `\}` and `\|` are the signs alone."""
    return ESCAPED.sub(r"\1", prompt)


def literal(prompt):
    """Return the prompt with its braces escaped: they divide nothing, and the bridge gets them as they are."""
    return re.sub(r"[{}]", r"\\\g<0>", prompt)


def _choices(text):
    """Return the text in parts, each with its alternatives; of a part without any, these are the part alone."""
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
    """Return what stands between two braces. One option alone is no choice: such braces belong to the words."""
    return options if len(options) > 1 else [f"{{{options[0]}}}"]
