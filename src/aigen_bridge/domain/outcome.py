"""What a step says happened. It never says how to store it: the worker settles it."""

from dataclasses import dataclass
from datetime import datetime

from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.request import FailureCode, Status


@dataclass(frozen=True, slots=True)
class Advance:
    """The request moves on to `to`, unless a callback was faster."""

    to: Status


@dataclass(frozen=True, slots=True)
class Complete:
    """The image was fetched and checked: the request is completed, unless a callback was faster."""

    image: CheckedImage


@dataclass(frozen=True, slots=True)
class Fail:
    """The request fails for a reason of ours, unless a callback was faster."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """Odoo knows this version of the request."""

    version: int


@dataclass(frozen=True, slots=True)
class Notified:
    """People were notified of so many occurrences of the incident; `recovered`: and that it is over."""

    times: int
    recovered: bool


Effect = Advance | Complete | Fail | Delivered | Notified | None
"""What a step means for its request, or its incident."""


@dataclass(frozen=True, slots=True)
class Done:
    """The entry is fulfilled."""

    effect: Effect


@dataclass(frozen=True, slots=True)
class Retry:
    """The try failed; the entry is due again at `at`."""

    at: datetime
    error: StepError


@dataclass(frozen=True, slots=True)
class Dead:
    """The entry is given up and becomes a dead letter."""

    error: StepError
    effect: Effect


@dataclass(frozen=True, slots=True)
class Held:
    """The destination is away. The try does not count, and the entry waits until the destination is back.

    `at`: not before then, where the destination is away for this entry alone.
    """

    error: StepError
    at: datetime | None = None


Outcome = Done | Retry | Dead | Held
"""How one try at an outbox entry ended."""
