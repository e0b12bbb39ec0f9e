"""Messages of background replays."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import AfterValidator, ConfigDict, Field

from aigen_bridge.contracts.resources import REASON_MAX, BulkReplay, DeadLetterResource, not_blank
from aigen_bridge.contracts.wire import WireModel
from aigen_bridge.domain.dead_letter import DeadLetter, DeadLetterFilter
from aigen_bridge.domain.errors import storable
from aigen_bridge.domain.replay_job import FAILURES_MAX, FIRST_MAX, ReplayFailure, ReplayJob, ReplayState


class ReplayTerms(BulkReplay):
    """Selects the dead letters of a background replay. An omitted filter matches all."""

    model_config = ConfigDict(extra="forbid")

    odoo: Annotated[str, AfterValidator(storable)] | None = Field(
        None, max_length=200, description="only those of requests of this Odoo"
    )
    reason: Annotated[str, AfterValidator(not_blank)] | None = Field(
        None, min_length=1, max_length=REASON_MAX, description="why, for those who read it later"
    )

    @property
    def wanted(self) -> DeadLetterFilter:
        """The filter."""
        return DeadLetterFilter(self.kind, self.since, self.until, self.error_code, odoo=self.odoo)


class ReplayResource(WireModel):
    """A background replay of the dead letters that matched when it began."""

    id: int
    kind: str | None = Field(None, description="only dead letters of this kind; null: of every kind")
    since: datetime | None = Field(None, description="only those dead at or after this time")
    until: datetime | None = Field(None, description="only those dead before this time")
    error_code: str | None = None
    odoo: str | None = Field(None, description="only those of requests of this Odoo; null: of every Odoo")
    max_per_second: float = Field(description="the rate")
    reason: str | None = Field(None, description="why, as its operator put it")
    client: str = Field(description="who began it")
    state: ReplayState = Field(description="`stopping`: it ends after the letter that is being replayed")
    matched: int = Field(description="the number of its dead letters")
    replayed: int = Field(description="the number that were replayed")
    failed: int = Field(description="the number that could not be replayed, or failed again at once")
    moved_on: int = Field(
        description="the number that were not open any more when their turn came: replayed by somebody else"
    )
    left: int = Field(description="the number whose turn has not come")
    created_at: datetime
    finished_at: datetime | None = Field(None, description="when it came to its end, or was stopped")

    @classmethod
    def of(cls, job: ReplayJob) -> "ReplayResource":
        """Returns the resource of a job."""
        return cls(**_fields(job))


class NotReplayed(WireModel):
    """A dead letter that a background replay did not replay."""

    id: str = Field(description="`entry-7` or `callback-7`")
    request_id: UUID | None = None
    reason: str = Field(description="a sentence for people")
    moved_on: bool = Field(description="it was not open any more when its turn came")
    at: datetime = Field(description="when its turn came")


class ReplayDetail(ReplayResource):
    """A background replay, with the dead letters that it did not replay."""

    failures: list[NotReplayed] = Field(
        description=f"the first {FAILURES_MAX} that were not replayed. Those that were handled while the replay was "
        "reading others are counted only"
    )

    @classmethod
    def with_failures(cls, job: ReplayJob, failures: Sequence[ReplayFailure]) -> "ReplayDetail":
        """Returns the resource of a job with its failures."""
        listed = [
            NotReplayed(
                id=each.letter, request_id=each.request_id, reason=each.reason, moved_on=each.moved_on, at=each.at
            )
            for each in failures
        ]
        return cls(**_fields(job), failures=listed)


class ReplayList(WireModel):
    """Background replays, newest first."""

    items: list[ReplayResource]


class ReplayDryRun(WireModel):
    """What a background replay would replay."""

    dry_run: bool = Field(default=True, description="nothing was changed")
    matched: int = Field(description="the number of dead letters that match")
    first: list[DeadLetterResource] = Field(description=f"the first {FIRST_MAX} of them, oldest first")

    @classmethod
    def of(cls, matched: int, first: Sequence[DeadLetter]) -> "ReplayDryRun":
        """Returns the answer to a dry run."""
        return cls(matched=matched, first=[DeadLetterResource(**asdict(letter)) for letter in first])


def _fields(job: ReplayJob) -> dict[str, Any]:
    fields = asdict(job)
    return fields | {"reason": fields.pop("note"), "left": job.left}
