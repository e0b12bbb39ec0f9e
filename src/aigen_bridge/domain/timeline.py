"""The history of a request and its pending work."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from aigen_bridge.domain.generation import Generation, GenerationPolicy, State
from aigen_bridge.domain.request import Status, Step


@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """A recorded transition of the request."""

    at: datetime
    version: int
    status: Status
    note: str | None


@dataclass(frozen=True, slots=True)
class GenerationRecord:
    """A recorded change of the request's generation. `doubtful`: the image may have been paid for without a trace."""

    at: datetime
    state: State
    note: str


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """A recorded attempt at an outbox entry.

    `at` is its end. `number` counts from 1. `outcome` is `done`, `retry`, `dead`, `held` or `lost`.
    """

    at: datetime
    step: Step
    number: int
    outcome: str
    took: timedelta
    http_status: int | None
    error_code: str | None
    detail: str | None


Record = TransitionRecord | AttemptRecord | GenerationRecord


@dataclass(frozen=True, slots=True)
class PendingEntry:
    """An outbox entry that is pending or dead. If it is leased, `due_at` is when the lease ends.

    `odoo_is_unknown`: no worker claims it, because its Odoo is not in the settings.
    """

    id: int
    step: Step
    is_dead: bool
    attempts: int
    error_code: str | None
    is_leased: bool
    due_at: datetime
    destination_is_away: bool
    probe_at: datetime | None
    odoo_is_unknown: bool = False
    destination_is_paused: bool = False


@dataclass(frozen=True, slots=True)
class PendingGeneration:
    """The generation of a request. N8N counts as silent without a word until `silent_at`; never if that is None.

    `is_n8n_out`: N8N is away or paused. Its clock stands still, so `silent_at` moves on.
    """

    generation: Generation
    policy: GenerationPolicy
    silent_at: datetime | None
    is_n8n_out: bool


@dataclass(frozen=True, slots=True)
class PendingWork:
    """The entries of a request that have not ended, newest first, its callback deadline and its generation.

    `is_n8n_paused`: the deadline moves on until N8N is resumed.
    """

    entries: tuple[PendingEntry, ...]
    callback_deadline_at: datetime | None
    generation: PendingGeneration | None = None
    is_n8n_paused: bool = False
