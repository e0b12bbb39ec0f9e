"""Outbox entries that a worker has claimed, the effects that steps return, and the settlements of attempts.

A claim is a lease, and each claim of an entry has a higher fence. A worker that has lost its lease settles nothing,
because its fence no longer matches the entry.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Generic, TypeVar

from aigen_bridge.domain.errors import StepError
from aigen_bridge.domain.generation import ProviderJob
from aigen_bridge.domain.image import CheckedImage
from aigen_bridge.domain.incident import Cause, Incident, Occurrence, incident_key
from aigen_bridge.domain.provenance import Provenance
from aigen_bridge.domain.queues import queue_of
from aigen_bridge.domain.request import FailedBy, FailureCode, ImageRequest, Status, Step, Transition


@dataclass(frozen=True, slots=True)
class Advance:
    """The request moves to `to`, unless a callback was faster.

    `speaks`: the workflow that took it knows the protocol of generations.
    """

    to: Status
    speaks: bool = False


@dataclass(frozen=True, slots=True)
class Complete:
    """The image was fetched and checked: the request is completed, unless a callback was faster."""

    image: CheckedImage


@dataclass(frozen=True, slots=True)
class Received:
    """The image was fetched and checked, and is marked next, unless a callback was faster."""

    image: CheckedImage


@dataclass(frozen=True, slots=True)
class Marked:
    """The image was marked: its request is completed. If it was completed before, it is delivered again.

    `note` says for people how the image was marked.
    """

    image: CheckedImage
    provenance: Provenance
    note: str

    @property
    def original_sha256(self) -> str | None:
        """The hash of the image before, which is another one; None if it had this very mark already."""
        original = self.provenance.original_sha256
        return original if original != self.image.described.sha256 else None


@dataclass(frozen=True, slots=True)
class Unmarked:
    """The request is completed with its image as it came. `note` says why."""

    note: str
    provenance: Provenance | None = None


@dataclass(frozen=True, slots=True)
class Fail:
    """The bridge fails the request, unless a callback was faster."""

    code: FailureCode
    message: str


@dataclass(frozen=True, slots=True)
class Delivered:
    """Odoo acknowledged this version of the request.

    `database_uuid` is that of its database, if Odoo told it and none was known.
    """

    version: int
    database_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class SetBack:
    """Odoo ignored this version, because it knows a later and different one: the bridge was restored from a backup.

    The request is delivered again with a version above `above`. `database_uuid` as in `Delivered`.
    """

    version: int
    above: int
    detail: str
    database_uuid: str | None = None


@dataclass(frozen=True, slots=True)
class EndedInOdoo:
    """The request has ended in Odoo, but not in this bridge, which was restored from a backup: it is cancelled."""

    note: str


@dataclass(frozen=True, slots=True)
class Notified:
    """People were notified of `times` occurrences of the incident, and of its end if `recovered`."""

    times: int
    recovered: bool


_Moving = Advance | Complete | Received | Marked | Unmarked | Fail | EndedInOdoo
"""The effects that move a request."""

Effect = _Moving | Delivered | SetBack | Notified | None
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """An outbox entry that this worker may work on until the lease ends.

    `attempt` counts from 1 and includes lost leases. `leases_lost` is the number of consecutive leases lost before this
    one. `began_at` is when the entry was first due. Times are the database's. `unreadable` is the reason if the entry,
    its request or its incident could not be read. Then only its ids are valid, and the worker makes it a dead letter
    without trying it.
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
    def queue(self) -> str:
        """The queue of the entry."""
        return self.step.value

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
        """Entry and fence, which identify this claim."""
        return self.entry_id, self.fence


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim(Lease):
    """A lease on an entry of a request, with the request as it was when the entry was claimed.

    `held_too_long`: its destination has been away for longer than an entry may be held. It is given up untried. `job`
    is the provider's job, if one is known. `database_uuid` is that of the request's Odoo, as far as it is known.
    """

    request: ImageRequest
    job: ProviderJob | None = None
    held_too_long: bool = False
    database_uuid: str | None = None

    @property
    def queue(self) -> str:
        """The queue of the entry, which is that of the request's Odoo."""
        return queue_of(self.step, self.request.odoo)

    @property
    def about(self) -> dict[str, str]:
        """The request's two ids and its Odoo."""
        ids = {"request_id": str(self.request.request_id), "correlation_id": str(self.request.correlation_id)}
        return ids | {"odoo": self.request.odoo}

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
        cause = {} if self.unreadable else {"cause": incident_key(self.incident.cause, self.incident.odoo)}
        return {"incident_id": str(self.incident.id)} | cause


L = TypeVar("L", bound=Lease)


@dataclass(frozen=True, slots=True)
class Settlement(Generic[L]):
    """The outcome and duration of an attempt."""

    claim: L
    outcome: Outcome
    took: timedelta

    @property
    def effect(self) -> Effect:
        """The effect on the request or the incident. None while there are further attempts."""
        return self.outcome.effect if isinstance(self.outcome, Done | Dead) else None


@dataclass(frozen=True, slots=True)
class Due:
    """The time until the next entry of a lane is due. It is negative if the entry is overdue, None if there is none.

    `is_blocked`: the destination accepts no more calls now, so new entries need not wake the lane.
    """

    after: timedelta | None
    is_blocked: bool = False


def transitions_of(settlements: Sequence[Settlement[Claim]]) -> list[Transition]:
    """Returns the transitions that settled entries cause. They do not apply if a callback was faster."""
    return [
        _transition(settlement.claim.request, effect)
        for settlement in settlements
        if isinstance(effect := settlement.effect, _Moving) and not later_mark(settlement)
    ]


def later_mark(settlement: Settlement[Claim]) -> Marked | Unmarked | None:
    """Returns the effect of marking an image whose request was already completed; None if it changes nothing.

    It brings the mark, or the marks that the image came with if they were unknown. No transition can express it,
    because the status stays.
    """
    request, effect = settlement.claim.request, settlement.effect
    if request.status is not Status.COMPLETED or not isinstance(effect, Marked | Unmarked):
        return None
    return effect if effect.provenance not in {None, request.provenance} else None


def marking_failures(settlements: Sequence[Settlement[Claim]]) -> list[Occurrence]:
    """Returns the occurrences for images that could not be marked."""
    return [
        _occurrence(Cause.IMAGE_UNMARKED, settlement.outcome.error.detail, settlement.claim.request)
        for settlement in settlements
        if settlement.claim.step is Step.MARK and isinstance(settlement.outcome, Dead)
    ]


def delivery_failures(settlements: Sequence[Settlement[Claim]]) -> list[Occurrence]:
    """Returns the occurrences for deliveries that were given up: Odoo does not know how those requests ended."""
    return [
        _occurrence(Cause.DELIVERY_FAILED, settlement.outcome.error.detail, settlement.claim.request)
        for settlement in settlements
        if settlement.claim.step is Step.DELIVER and isinstance(settlement.outcome, Dead)
    ]


def set_backs(settlements: Sequence[Settlement[Claim]]) -> list[Occurrence]:
    """Returns the occurrences for requests of which Odoo knew later news than the bridge."""
    return [
        _occurrence(Cause.SET_BACK, settlement.effect.detail, settlement.claim.request)
        for settlement in settlements
        if isinstance(settlement.effect, SetBack)
    ]


def _occurrence(cause: Cause, detail: str, request: ImageRequest) -> Occurrence:
    return Occurrence(cause, detail, request.request_id, request.odoo)


def _transition(request: ImageRequest, effect: _Moving) -> Transition:
    request_id = request.request_id
    match effect:
        case EndedInOdoo(note):
            before = frozenset({Status.QUEUED, Status.DISPATCHED, Status.RECEIVED})
            return Transition(request_id=request_id, before=before, after=Status.CANCELLED, note=note)
        case Advance(to=to):
            return Transition(request_id=request_id, before=frozenset({Status.QUEUED}), after=to)
        case Complete(image) | Received(image):
            is_complete = isinstance(effect, Complete)
            return Transition(
                request_id=request_id,
                before=frozenset({Status.RECEIVED}),
                after=Status.COMPLETED if is_complete else Status.RECEIVED,
                image=image.described,
                provenance=image.provenance,
                note=request.facts.note() if is_complete else None,
            )
        case Marked(provenance=provenance, note=note) | Unmarked(provenance=provenance, note=note):
            return Transition(
                request_id=request_id,
                before=frozenset({Status.RECEIVED}),
                after=Status.COMPLETED,
                image=effect.image.described if isinstance(effect, Marked) else None,
                provenance=provenance,
                note="; ".join(filter(None, (request.facts.note(), note))),
            )
        case Fail(code, message):
            return Transition(
                request_id=request_id,
                before=frozenset({Status.QUEUED, Status.RECEIVED}),
                after=Status.FAILED,
                failed_by=FailedBy.BRIDGE,
                error_code=code,
                error_message=message,
                note=request.facts.note() if request.status is Status.RECEIVED else None,
            )
