"""The filter of dead letters, as it stands in the addresses and forms of the console."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from aigen_bridge.contracts.refusal import InvalidMessageError
from aigen_bridge.contracts.times import parse_instant
from aigen_bridge.contracts.views import from_cursor
from aigen_bridge.domain.dead_letter import DEAD_LETTER_KINDS, DeadLetterFilter
from aigen_bridge.domain.errors import storable

NAMES = ("kind", "errorCode", "odoo", "since", "until")
TEXT_MAX = 200
TIMES = "Write 2h or 3d (ago), or a time such as 2026-01-31 18:00 (UTC)."


@dataclass(frozen=True, slots=True)
class LetterFilter:
    """A filter as it was written, what it means, and what is wrong with it, in sentences."""

    texts: dict[str, str]
    wanted: DeadLetterFilter
    problems: tuple[str, ...]

    @property
    def is_empty(self) -> bool:
        """Whether it selects all."""
        return not any(self.texts.values())

    @property
    def query(self) -> str:
        """The filter as the query of an address."""
        return urlencode({name: text for name, text in self.texts.items() if text})


def read_filter(text_of: Callable[[str], str], odoo: str | None) -> LetterFilter:
    """Reads a filter. `text_of` returns the text of a field. `odoo` is the only one that the operator sees.

    A field that is wrong is left out, so where there are `problems` nothing must be done with it.
    """
    texts = {name: storable(text_of(name).strip())[:TEXT_MAX] for name in NAMES}
    problems: list[str] = []
    kind = texts["kind"] or None
    if kind and kind not in DEAD_LETTER_KINDS:
        problems.append(f"There is no kind {kind!r}. The kinds are {', '.join(DEAD_LETTER_KINDS)}.")
        kind = None
    if odoo and texts["odoo"] not in {"", odoo}:
        problems.append(f"You see the dead letters of Odoo {odoo} only.")
    since, until = (_time(texts[name], problems) for name in ("since", "until"))
    if since and until and since >= until:
        problems.append("Nothing is both at or after the first time and before the second: 'since' must be earlier.")
    wanted = DeadLetterFilter(kind, since, until, texts["errorCode"] or None, None, odoo or texts["odoo"] or None)
    return LetterFilter(texts, wanted, tuple(problems))


def read_cursor(text: str) -> tuple[tuple[datetime, str] | None, str | None]:
    """Returns the place that a cursor names, or what is wrong with it."""
    try:
        return from_cursor(text or None), None
    except InvalidMessageError:
        return None, "The address has a place in the list that does not exist. This is the beginning of the list."


def _time(text: str, problems: list[str]) -> datetime | None:
    if not text:
        return None
    try:
        return parse_instant(text, UTC)
    except (ValueError, OverflowError):
        problems.append(f"{text!r} is not a time. {TIMES}")
        return None
