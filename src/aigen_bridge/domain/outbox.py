"""Outbox entries as a worker holds them: claimed under a lease, run, and settled.

A claim is a lease, and each claim of an entry has a higher fence. A worker whose lease has ended settles nothing: its
fence matches no entry any more.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar
from uuid import UUID

from aigen_bridge.domain.incident import Cause, Incident, Occurrence
from aigen_bridge.domain.outcome import Advance, Complete, Dead, Done, Effect, Fail, Outcome
from aigen_bridge.domain.request import FailedBy, ImageRequest, Status, Step, Transition


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An outbox entry that this worker may work on until its lease ends.

    `attempt` counts from 1, lost leases included; `leases_lost` is the number of leases lost in a row before this one.
    `began_at` is when the entry was first due. Times are the database's. `unreadable` says why the entry, its request
    or its incident could not be read: the worker makes it a dead letter untried, and only its ids are valid.
    """

    entry_id: int
    step: Step
    attempt: int
    fence: int
    began_at: datetime
    claimed_at: datetime
    give_up_at: datetime | None
    leases_lost: int
    unreadable: str | None = None

    @property
    def about(self) -> dict[str, str]:
        """The ids that log lines and spans carry."""
        return {}

    @property
    def traceparent(self) -> str | None:
        """The trace that the entry belongs to."""
        return None

    @property
    def key(self) -> tuple[int, int]:
        """Identifies this claim: no other one has the same entry and fence."""
        return self.entry_id, self.fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Lease):
    """A lease on an entry of a request, with the request as it was when the entry was claimed.

    `held_too_long`: its destination has been away for longer than an entry is held; it is given up untried.
    """

    request: ImageRequest
    held_too_long: bool = False

    @property
    def about(self) -> dict[str, str]:
        """The request's two ids."""
        return {"request_id": str(self.request.request_id), "correlation_id": str(self.request.correlation_id)}

    @property
    def traceparent(self) -> str | None:
        """The request's trace."""
        return self.request.traceparent


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertClaim(Lease):
    """A lease on an alert, with its incident as it was when the alert was claimed."""

    incident: Incident

    @property
    def about(self) -> dict[str, str]:
        """The incident's id, and its cause if it could be read."""
        cause = {} if self.unreadable else {"cause": self.incident.cause.value}
        return {"incident_id": str(self.incident.id)} | cause


L = TypeVar("L", bound=Lease)


@dataclass(frozen=True, slots=True)
class Settlement(Generic[L]):
    """How the attempt of a claim ended, and how long it took."""

    claim: L
    outcome: Outcome
    took: timedelta

    @property
    def effect(self) -> Effect:
        """What the outcome means for the request or the incident; None while there are further attempts."""
        return self.outcome.effect if isinstance(self.outcome, Done | Dead) else None


@dataclass(frozen=True, slots=True)
class Due:
    """The next entry of a step is due `after` so long: negative when overdue, None when there is none.

    `is_blocked`: its destination takes nothing more now, so further entries change nothing.
    """

    after: timedelta | None
    is_blocked: bool = False


def transitions_of(settlements: Sequence[Settlement[Claim]]) -> list[Transition]:
    """The transitions that settled entries cause. A callback that was faster makes them inapplicable."""
    return [
        _transition(settlement.claim.request.request_id, effect)
        for settlement in settlements
        if isinstance(effect := settlement.effect, Advance | Complete | Fail)
    ]


def delivery_failures(settlements: Sequence[Settlement[Claim]]) -> list[Occurrence]:
    """The occurrences for deliveries that were given up: Odoo does not know how those requests ended."""
    return [
        Occurrence(Cause.DELIVERY_FAILED, settlement.outcome.error.detail, settlement.claim.request.request_id)
        for settlement in settlements
        if settlement.claim.step is Step.DELIVER and isinstance(settlement.outcome, Dead)
    ]


def _transition(request_id: UUID, effect: Advance | Complete | Fail) -> Transition:
    match effect:
        case Advance(to):
            return Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=to)
        case Complete(image):
            before = frozenset({Status.RECEIVED})
            return Transition(request_id=request_id, before=before, after=Status.COMPLETED, image=image.described)
        case Fail(code, message):
            return Transition(
                request_id=request_id,
                before=frozenset({Status.QUEUED, Status.RECEIVED}),
                after=Status.FAILED,
                failed_by=FailedBy.BRIDGE,
                error_code=code,
                error_message=message,
            )
