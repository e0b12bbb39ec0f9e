"""The effects that steps return, and the outcomes of attempts. A step stores nothing itself."""

from dataclasses import dataclass
from datetime import datetime

from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import FailureCode, Status


@dataclass(frozen=True, slots=True)
class Advance:
    """The request moves to `to`, unless a callback was faster."""

    to: Status


@dataclass(frozen=True, slots=True)
class Complete:
    """The image was fetched and checked: the request is completed, unless a callback was faster."""

    image: CheckedImage


@dataclass(frozen=True, slots=True)
class Fail:
    """The bridge fails the request, unless a callback was faster."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """Odoo acknowledged this version of the request."""

    version: int


@dataclass(frozen=True, slots=True)
class Notified:
    """People were notified of `times` occurrences of the incident, and of its end if `recovered`."""

    times: int
    recovered: bool


Effect = Advance | Complete | Fail | Delivered | Notified | None
"""The effect of a step on its request or its incident."""


@dataclass(frozen=True, slots=True)
class Done:
    """The attempt succeeded, and the entry has ended."""

    effect: Effect


@dataclass(frozen=True, slots=True)
class Retry:
    """The attempt failed. The entry is due again at `at`."""

    at: datetime
    error: StepError


@dataclass(frozen=True, slots=True)
class Dead:
    """The attempt failed for good. The entry becomes a dead letter."""

    error: StepError
    effect: Effect


@dataclass(frozen=True, slots=True)
class Held:
    """The destination is away. The attempt does not count, and the entry is held until the destination is back.

    `at` is set if the destination is away for this entry alone. The entry is due again then.
    """

    error: StepError
    at: datetime | None = None


Outcome = Done | Retry | Dead | Held
"""The outcome of an attempt at an outbox entry."""
