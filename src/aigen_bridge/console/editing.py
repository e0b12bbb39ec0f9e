"""Forms that change an entry: what was typed, what is wrong with it, and what others changed meanwhile.

A form carries what its operator saw (`seen`): the time of the last change, and the entry itself. The time decides
whether the form is stale; the entry only serves to say what changed.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from aigen_bridge.console.errors import WrongFormError
from aigen_bridge.console.form import Form
from aigen_bridge.contracts.refusal import InvalidMessageError, NotJsonError
from aigen_bridge.contracts.wire import FieldError
from aigen_bridge.domain.errors import BridgeError
from aigen_bridge.domain.seen import Seen


@dataclass(frozen=True, slots=True)
class Original:
    """The entry that a form changes, as it was when the form was opened; without `updated_at`, a new one."""

    updated_at: datetime | None = None
    entry: Mapping[str, Any] = field(default_factory=dict)

    @property
    def seen(self) -> Seen:
        """The state that is compared before anything is written."""
        return Seen(self.updated_at)

    def text(self) -> str:
        """Returns it as the value of the field `seen`."""
        at = self.updated_at.isoformat() if self.updated_at else None
        return json.dumps({"updatedAt": at, "entry": self.entry})

    @classmethod
    def sent(cls, form: Form) -> "Original":
        """Reads it from a form. Raises `WrongFormError`."""
        try:
            value = json.loads(form.text("seen"))
            at, entry = value["updatedAt"], value["entry"]
            return cls(None if at is None else datetime.fromisoformat(at), dict(entry.items()))
        except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
            raise WrongFormError("The form is incomplete. Load the page again, then repeat what you did.") from None


@dataclass(frozen=True, slots=True)
class Change:
    """A key of an entry that somebody else changed meanwhile, with its three values as texts."""

    key: str
    was: str
    now: str
    yours: str


@dataclass(frozen=True, slots=True)
class Draft:
    """The contents of a form. `texts` are its fields by name, `labels` those that people read.

    `problem` says why it was not saved, `errors` which fields are wrong, `changes` what others changed meanwhile.
    """

    texts: Mapping[str, str]
    original: Original
    labels: Mapping[str, str]
    problem: str | None = None
    errors: Sequence[FieldError] = ()
    changes: Sequence[Change] = ()

    def refused(self, error: BridgeError) -> "Draft":
        """Returns it with the reason why it was refused."""
        if isinstance(error, InvalidMessageError):
            return replace(self, problem="Nothing was saved. Correct this:", errors=error.errors)
        if isinstance(error, NotJsonError):
            wrong = FieldError(field="json", message=error.detail.removeprefix("The body ").rstrip("."))
            return replace(self, problem="Nothing was saved. Correct this:", errors=[wrong])
        return replace(self, problem=f"Nothing was saved. {error.detail}")

    def stale(self, now: Original, yours: Mapping[str, Any]) -> "Draft":
        """Returns it with what changed meanwhile. When it is sent again, it replaces what is there now."""
        changes = differences(self.original.entry, now.entry, yours) if now.updated_at else ()
        return replace(self, original=now, changes=changes, problem=_what_happened(self.original, now))

    def field_of(self, error: FieldError) -> str | None:
        """Returns the field of the form that an error concerns: `resolutions.3` is in the field `resolutions`."""
        path = error.field.split(".")
        found = (".".join(path[:length]) for length in range(len(path), 0, -1))
        inner = (name for name in self.labels if name.startswith(f"{error.field}."))
        return next((name for name in (*found, *inner) if name in self.labels), None)

    def errors_of(self, name: str) -> list[FieldError]:
        """Returns what is wrong with a field of the form."""
        return [error for error in self.errors if self.field_of(error) == name]


def _what_happened(before: Original, now: Original) -> str:
    if now.updated_at is None:
        return "Somebody removed it while you worked on it. Nothing was saved. Saving again adds it anew."
    verb = "changed" if before.updated_at else "added"
    return (
        f"Somebody {verb} it while you worked on it, so nothing was saved. The fields below still have your values. "
        "Saving again replaces what is there now."
    )


def differences(was: Mapping[str, Any], now: Mapping[str, Any], yours: Mapping[str, Any]) -> list[Change]:
    """Returns the keys whose value is not what it was."""
    return [
        Change(key, shown(was.get(key)), shown(now.get(key)), shown(yours.get(key)))
        for key in _keys(was, now)
        if was.get(key) != now.get(key)
    ]


def shown(value: Any) -> str:
    """Returns a value of an entry as a text: a string as it is, other values as JSON."""
    if value is None:
        return "nothing"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _keys(*entries: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(key for entry in entries for key in entry))
