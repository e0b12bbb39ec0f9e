"""Conditional requests (RFC 9110, section 13): whether a caller already has the image that an `ETag` names."""

import re

from fastapi import Request

_TAG = re.compile(r'(?:W/)?"[^"]*"')


def is_known(request: Request, tag: str) -> bool:
    """Returns whether `If-None-Match` is `*` or lists this tag, weak or strong."""
    return _lists(request, "if-none-match", tag, weak=True)


def is_expected(request: Request, tag: str) -> bool:
    """Returns whether there is no `If-Match`, or it is `*` or lists this very tag. A weak tag never matches."""
    return "if-match" not in request.headers or _lists(request, "if-match", tag, weak=False)


def _lists(request: Request, header: str, tag: str, *, weak: bool) -> bool:
    value = ",".join(request.headers.getlist(header))
    found = {each.removeprefix("W/") if weak else each for each in _TAG.findall(value)}
    return value.strip() == "*" or tag in found
