"""Reads `X-Aigen-Addon`: the version of the Odoo addon that calls, such as `1.5.0`."""

import re

from fastapi import Request

from aigen_bridge.api.auth import Caller
from aigen_bridge.settings import Scope
from aigen_bridge.wiring import ApiParts

HEADER = "X-Aigen-Addon"
PATTERN = r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,39}$"
ADDON_PARAMETER = {
    "name": HEADER,
    "in": "header",
    "required": False,
    "description": "the version of the Odoo addon that calls, such as `1.5.0`. Budgets, and marking stored "
    "images, need to know it. A value that is no version counts as none: a request is never refused for it",
    "schema": {"type": "string"},
}


def addon_version(request: Request) -> str | None:
    """Returns the version; None if the header is missing or has another form."""
    version = request.headers.get(HEADER, "").strip()
    return version if re.match(PATTERN, version) else None


async def note_addon(request: Request, caller: Caller, parts: ApiParts) -> None:
    """Records the version of an Odoo's addon from a read, so that an upgrade is known before anybody requests an image.

    A read without the header says nothing: people and scripts read, too.
    """
    version = addon_version(request)
    if version and Scope.REQUESTS in caller.scopes:
        await parts.addons.note(caller.odoo, version)
