"""Versions of the addon in Odoo."""

import re

FIRST_WITH_MARKS = "1.7.0"
"""The first version that replaces a picture's bytes with the same image with a mark."""


def is_older(version: str | None, least: str) -> bool:
    """Returns whether the version of an addon is older than `least`. None: it named no version, and counts as older."""
    return _numbers(version or "") < _numbers(least)


def _numbers(version: str) -> tuple[int, ...]:
    """Returns the last three numbers of a version: in `18.0.1.5.0`, Odoo's own series comes first."""
    return tuple(int(part) for part in re.findall(r"[0-9]{1,9}", version)[-3:])
