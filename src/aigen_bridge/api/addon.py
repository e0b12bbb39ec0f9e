"""Reads `X-Aigen-Addon`: the version of the Odoo addon that calls, such as `1.5.0`."""

import re

from fastapi import Request

HEADER = "X-Aigen-Addon"
PATTERN = r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,39}$"
ADDON_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "the version of the Odoo addon that calls, such as `1.5.0`. Budgets need to know it. A value that "
    "is no version counts as none: a request is never refused for it",
    "schema": {"type": "string"},
}


def addon_version(request: Request) -> str | None:
    """Returns the version; None if the header is missing or has another form."""
    version = request.headers.get(HEADER, "").strip()
    return version if re.match(PATTERN, version) else None
