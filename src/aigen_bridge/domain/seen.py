"""What an operator saw of a thing before changing it, so that two operators do not overwrite each other's changes."""

from dataclasses import dataclass
from datetime import datetime

from aigen_bridge.domain.errors import ContradictionError


class ChangedMeanwhileError(ContradictionError):
    """Somebody else added, changed or removed a thing after the operator had looked at it. Nothing was changed."""

    def __init__(self, what: str) -> None:
        super().__init__("changed_meanwhile", f"Somebody changed {what} after you had looked at it. Nothing was done.")


@dataclass(frozen=True, slots=True)
class Seen:
    """The state that an operator saw: when the thing had last been changed; None if it did not exist."""

    updated_at: datetime | None

    def check(self, updated_at: datetime | None, what: str) -> None:
        """Raises `ChangedMeanwhileError` unless this is still the state. `what` names the thing in a sentence."""
        if updated_at != self.updated_at:
            raise ChangedMeanwhileError(what)
