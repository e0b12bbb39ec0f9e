"""Background replays: a job replays the dead letters that match a filter, one after the other, at a limited rate."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.dead_letter import DeadLetterFilter, OperatorAction, ReplayLease

FAILURES_MAX = 1000
"""The most letters that a job lists because it did not replay them. Their number is always complete."""

FIRST_MAX = 20
"""The number of letters that a preview lists."""

ATTEMPTS_MAX = 3
"""Leases that may end without a word at the same letter before the job leaves it out."""


class ReplayState(StrEnum):
    """The state of a background replay."""

    RUNNING = "running"
    """Workers replay its letters."""

    STOPPING = "stopping"
    """An operator stopped it while a worker was replaying a letter."""

    STOPPED = "stopped"
    """An operator stopped it. The letters that are left stay dead letters."""

    FINISHED = "finished"
    """It came to its last letter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayJob:
    """A background replay. It handles the letters that were dead when it began, oldest first.

    `kind` to `odoo` are its filter. `matched` counts its letters: those that were `replayed`, those that `failed` again
    or could not be replayed, those that had `moved_on` before their turn because others handled them, and the rest.
    `client` began it, with `note` as the reason.
    """

    id: int
    kind: str | None
    since: datetime | None
    until: datetime | None
    error_code: str | None
    odoo: str | None
    max_per_second: float
    note: str | None
    client: str
    state: ReplayState
    matched: int
    replayed: int
    failed: int
    moved_on: int
    created_at: datetime
    finished_at: datetime | None

    @property
    def wanted(self) -> DeadLetterFilter:
        """The letters of the job. One that dies again while it runs is not among them: it would go round in circles."""
        until = min(self.until, self.created_at) if self.until else self.created_at
        return DeadLetterFilter(self.kind, self.since, until, self.error_code, odoo=self.odoo)

    @property
    def left(self) -> int:
        """The number of letters that are left."""
        return max(0, self.matched - self.replayed - self.failed - self.moved_on)

    @property
    def target(self) -> str:
        """What the records of operators' actions call it."""
        return f"replay {self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeasedReplay:
    """A background replay that a worker may go on with while its lease lasts.

    `after` is the last letter that was handled: its time and id. `leases_lost` counts leases in a row that ended
    without a word at the letter that follows.
    """

    job: ReplayJob
    fence: int
    after: tuple[datetime, str] | None
    leases_lost: int

    @property
    def lease(self) -> ReplayLease:
        """The lease, as statements check it."""
        return ReplayLease(self.job.id, self.fence)

    @property
    def action(self) -> OperatorAction:
        """The action of the operator who began the job. The reason names the job."""
        note = f"{self.job.target}: {self.job.note}" if self.job.note else self.job.target
        return OperatorAction(self.job.client, note, self.job.odoo, self.lease)


@dataclass(frozen=True, slots=True)
class ReplayFailure:
    """A letter that a job did not replay, and why. `moved_on`: it was not open any more when its turn came."""

    letter: str
    request_id: UUID | None
    reason: str
    moved_on: bool
    at: datetime


@dataclass(frozen=True, slots=True)
class ReplayStep:
    """What came of one letter, `place`: its time and id. Without a `reason` it was replayed."""

    place: tuple[datetime, str]
    request_id: UUID | None
    reason: str | None = None
    moved_on: bool = False


@dataclass(frozen=True, slots=True)
class Pace:
    """How a job goes on: `wait` is the number of seconds until its next letter. `is_stopping`: it does not."""

    wait: float
    is_stopping: bool
