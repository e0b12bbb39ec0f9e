"""Reads the filters of a list from the address of its page. What is wrong there becomes sentences for the page."""

import re
from collections.abc import Callable, Collection
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from urllib.parse import urlencode
from uuid import UUID

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from aigen_bridge.console.notices import SEE_OTHER
from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.wire import to_utc
from aigen_bridge.domain.errors import storable

TEXT_MAX = 200
TIMES = "30m, 2h or 3d (ago), or a date or time such as 2026-01-31 18:00 (UTC without a zone)"
T = TypeVar("T")

_AGO = re.compile(r"(\d{1,6})\s*([mhdw])", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}


class Filters:
    """The filters in the address. `problems` says in sentences which of those that were read are wrong."""

    def __init__(self, request: Request) -> None:
        self._given = request.query_params
        self.problems: list[str] = []

    def text(self, name: str, label: str, *, longest: int = TEXT_MAX) -> str | None:
        """Returns a text without blanks around it; None if there is none."""
        text = storable(self._given.get(name, "")).strip()
        if len(text) > longest:
            self.problems.append(f"{label} has {len(text)} characters; write at most {longest}.")
        return text[:longest] or None

    def choice(self, name: str, label: str, allowed: Collection[str]) -> str | None:
        """Returns one of the allowed values."""
        text = self.text(name, label)
        if text is None or text in allowed:
            return text
        self._note(label, text, ", ".join(allowed))
        return None

    def uuid(self, name: str, label: str) -> UUID | None:
        """Returns an id."""
        text = self.text(name, label)
        try:
            return UUID(text) if text else None
        except ValueError:
            self._note(label, text, "a UUID, such as 3f2504e0-4f89-41d3-9a0c-0305e82c3301")
            return None

    def time(self, name: str, label: str) -> datetime | None:
        """Returns an instant in UTC."""
        text = self.text(name, label)
        try:
            return _time(text) if text else None
        except (ValueError, OverflowError):
            self._note(label, text, TIMES)
            return None

    def place(self, decode: Callable[[str | None], T | None]) -> T | None:
        """Returns the place before which the page begins."""
        try:
            return decode(self._given.get("cursor"))
        except InvalidMessageError:
            self.problems.append("The list has no such page. Go to the newest.")
            return None

    def _note(self, label: str, text: str | None, allowed: str) -> None:
        self.problems.append(f"{label} is {(text or '')[:60]!r}. Write {allowed}.")


def _time(text: str) -> datetime:
    if ago := _AGO.fullmatch(text.lower()):
        return datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])})
    at = datetime.fromisoformat(text.upper())
    return to_utc(at if at.tzinfo else at.replace(tzinfo=UTC))


def without_blanks(request: Request) -> Response | None:
    """Returns the way to the same page without the empty fields of its form, so that its address is short to share."""
    given = request.query_params.multi_items()
    kept = [(name, value) for name, value in given if value.strip()]
    if len(kept) == len(given):
        return None
    return RedirectResponse(request.url.path + (f"?{urlencode(kept)}" if kept else ""), SEE_OTHER)
