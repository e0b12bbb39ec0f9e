"""The generation of a request: the paid work at the AI provider, at most one job per request.

The rules of the protocol between N8N and the bridge (interface, "Generation"). An execution asks before it starts paid
work, names the provider's job at once, and reports progress. When it falls silent, the request is sent to N8N again,
with the known job. Everything here is pure; the store applies it with the request locked, by the database's clock.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from uuid import UUID

from aigen_bridge.domain.callback import is_wanted
from aigen_bridge.domain.facts import Cost
from aigen_bridge.domain.request import FINAL, FailedBy, FailureCode, ImageRequest, Status, Transition

GRANT_VALID = timedelta(seconds=60)
"""The time in which a granted execution submits the job, or asks again."""
GRANT_QUIET = timedelta(seconds=150)
"""The quiet time after a grant: 60 s until the submission, then its timeout and the naming of the job."""
FIRST_WORD = timedelta(minutes=2)
"""An execution that was acknowledged and has said nothing for this time counts as silent."""
ASK_AGAIN = timedelta(seconds=5)
"""`retryAfter` of the decision `wait`."""
GRANTS_MAX = 2
"""The most grants of which one may have paid for a job that nobody named."""
RETRIES_MAX = 2
"""The most submissions after one that the provider refused, and after a job that ended unbilled (REQ-IL-009)."""


class State(StrEnum):
    """The state of a generation."""

    NONE = "none"
    """Nothing is paid for. An ask is granted."""

    GRANTED = "granted"
    """One execution may submit a job. Naming the job moves it on; the end of the quiet time makes it doubtful."""

    RUNNING = "running"
    """The provider's job is known. Who asks polls it; nobody submits another."""

    DOUBTFUL = "doubtful"
    """A job may have been submitted that nobody named. Another grant follows, or the request fails as `maybe_paid`."""

    DONE = "done"
    """The request needs no generation any more. Derived from the request, never stored."""


STATE_CHANGES: Mapping[State, frozenset[State]] = {
    State.NONE: frozenset({State.GRANTED, State.RUNNING, State.DOUBTFUL}),
    State.GRANTED: frozenset({State.NONE, State.RUNNING, State.DOUBTFUL}),
    State.RUNNING: frozenset({State.NONE}),
    State.DOUBTFUL: frozenset({State.NONE, State.RUNNING}),
    State.DONE: frozenset(),
}


class Decision(StrEnum):
    """The answer to an execution that asks whether it may start the paid work."""

    START = "start"
    RESUME = "resume"
    WAIT = "wait"
    STOP = "stop"


class Stage(StrEnum):
    """How far a job is."""

    QUEUED = "queued"
    GENERATING = "generating"
    FINISHING = "finishing"


class WhenMaybePaid(StrEnum):
    """What happens to a request whose image may have been paid for without a trace."""

    AGAIN = "again"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderJob:
    """A job at the AI provider. The URLs are the provider's, for polling, fetching and cancelling."""

    provider: str
    job_id: str
    status_url: str | None = field(default=None, repr=False)  # may contain a token
    response_url: str | None = field(default=None, repr=False)
    cancel_url: str | None = field(default=None, repr=False)

    def is_same(self, other: "ProviderJob | None") -> bool:
        """Returns whether both are the same job, whatever their URLs."""
        return other is not None and (self.provider, self.job_id) == (other.provider, other.job_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """The generation of one request.

    `execution_id` is the holder: the N8N execution that holds the grant or polls the job; `ask_key` is that of its ask.
    `refusals` and `ended_jobs` count the submissions that cost nothing, `doubts` the grants that may have cost
    something, `resumes` the acknowledged resends. `is_resuming`: a resend after a silence is not acknowledged yet.
    `is_suspended`: silence has no effect any more, because a person has to decide.
    """

    state: State = State.NONE
    execution_id: str | None = None
    ask_key: str | None = None
    job: ProviderJob | None = None
    refusals: int = 0
    ended_jobs: int = 0
    doubts: int = 0
    resumes: int = 0
    is_resuming: bool = False
    is_suspended: bool = False

    def to(self, state: State, **changes: object) -> "Generation":
        """Returns the generation in another state. Raises `ValueError` for a change that is not in `STATE_CHANGES`."""
        if state not in STATE_CHANGES[self.state]:
            raise ValueError(f"no generation moves from {self.state} to {state}")
        return replace(self, state=state, **changes)  # type: ignore[arg-type]

    @property
    def holder(self) -> str | None:
        """The execution that holds the grant or polls the job."""
        return self.execution_id if self.state in {State.GRANTED, State.RUNNING} else None

    def is_held_by_another(self, execution_id: str | None) -> bool:
        """Returns whether another execution is the holder. Without an id, it counts as the holder."""
        return None not in {self.holder, execution_id} and execution_id != self.holder


@dataclass(frozen=True, slots=True)
class GenerationPolicy:
    """`silence`: the shortest quiet time after a word. `resumes`: the most acknowledged resends after silences."""

    silence: timedelta = timedelta(seconds=30)
    resumes: int = 3
    when_maybe_paid: WhenMaybePaid = WhenMaybePaid.AGAIN

    def quiet(self, generation: Generation, at_least: timedelta | None = None) -> timedelta:
        """Returns the quiet time after a word. The silence doubles with each resume."""
        return max(self.silence * (1 << generation.resumes), at_least or timedelta(0))


@dataclass(frozen=True, slots=True, kw_only=True)
class Ask:
    """An execution asks whether it may start the paid work.

    `key` is random per ask: the same again is the same ask, whose answer was lost. `no_job`: the provider surely
    refused the submission of this execution. `ended_job` is the id of a job that ended unbilled with a passing error.
    """

    correlation_id: UUID
    execution_id: str
    key: str | None = None
    quiet_for: timedelta | None = None
    no_job: bool = False
    ended_job: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NamedJob:
    """An execution names the job that it submitted."""

    correlation_id: UUID
    execution_id: str
    job: ProviderJob


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a job is, as last reported. `percent` is from 0 to 100; `reported_at` is the database's time."""

    stage: Stage
    queue_position: int | None = None
    percent: float | None = None
    message: str | None = None
    reported_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationView:
    """What callers see of a generation.

    `resent`: how often its request was sent again because N8N's execution had died or fallen silent, since the request
    was accepted or, after a failure, replayed. `charged`: what the ledger has booked for its request, by currency.
    """

    job: ProviderJob | None = None
    progress: Progress | None = None
    resent: int = 0
    charged: Sequence[Cost] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ProgressReport:
    """An execution reports progress."""

    correlation_id: UUID
    execution_id: str
    progress: Progress
    quiet_for: timedelta | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class GenerationAnswer:
    """The answer to an ask, a named job or a progress report, after the commit.

    `decision` answers an ask. `job` is the known job: for `resume`, and for a named job that is not the first
    (`is_other_job`). `wanted`: the image is still wanted.
    """

    request_id: UUID
    status: Status
    wanted: bool
    decision: Decision | None = None
    job: ProviderJob | None = None
    is_other_job: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What an event does to a generation: its next value, and what is told and recorded.

    `quiet`: the event is a word, and the generation is quiet until this time has passed. `extends_only`: it is not
    shortened, because the holder of a grant may still submit. `note` is what the timeline says; None if there is
    nothing to tell. `transition` moves the request.
    """

    generation: Generation
    quiet: timedelta | None = None
    extends_only: bool = False
    decision: Decision | None = None
    is_other_job: bool = False
    ended_job: ProviderJob | None = None
    note: str | None = None
    transition: Transition | None = None


def effective_state(generation: Generation, request: ImageRequest) -> State:
    """Returns the state, which is `done` once the request needs no generation any more."""
    return generation.state if is_wanted(request) else State.DONE


def ask(generation: Generation, request: ImageRequest, asked: Ask, policy: GenerationPolicy) -> Outcome:
    """Decides whether an execution may start the paid work."""
    is_repeat = asked.key is not None and (generation.execution_id, generation.ask_key) == (
        asked.execution_id,
        asked.key,
    )
    if effective_state(generation, request) is State.DONE or _is_given_up(generation, request):
        return Outcome(generation=generation, decision=Decision.STOP)
    if generation.state is State.GRANTED and is_repeat:
        return _word(generation, request, _grant_quiet(asked), decision=Decision.START)
    released = generation if is_repeat else _release(generation, asked)
    ended = generation.job if released.job is None else None
    if _is_exhausted(released):
        refused = None if released == generation else "the provider took no submission; no further one is permitted"
        return Outcome(generation=released, decision=Decision.STOP, ended_job=ended, note=refused)
    match released.state:
        case State.NONE:
            granted = _counted(released.to(State.GRANTED, execution_id=asked.execution_id, ask_key=asked.key))
            started = f"N8N execution {asked.execution_id} may start the generation"
            return _word(granted, request, _grant_quiet(asked), decision=Decision.START, ended_job=ended, note=started)
        case State.RUNNING:
            resumed = _counted(replace(released, execution_id=asked.execution_id, ask_key=asked.key))
            told = None if is_repeat else f"N8N execution {asked.execution_id} goes on with the job"
            return _word(resumed, request, policy.quiet(resumed, asked.quiet_for), decision=Decision.RESUME, note=told)
        case _:
            return Outcome(generation=released, decision=Decision.WAIT)


def name_job(
    generation: Generation, request: ImageRequest, named: NamedJob, policy: GenerationPolicy, *, has_ended: bool
) -> Outcome:
    """Records the job that was submitted. The first one named wins, whoever names it, even if the request is final.

    `has_ended`: the job is known, and ended unbilled.
    """
    if has_ended:
        return Outcome(generation=generation)
    if generation.job is not None and not named.job.is_same(generation.job):
        note = f"N8N execution {named.execution_id} submitted another job, {named.job.job_id}: it is to be cancelled"
        return Outcome(generation=generation, is_other_job=True, note=note)
    if generation.job is not None:
        return _word(_heard(generation), request, policy.quiet(generation))
    running = generation.to(State.RUNNING, job=named.job, execution_id=named.execution_id, ask_key=None)
    note = f"job {named.job.job_id} was submitted to {named.job.provider}"
    return _word(_heard(running), request, policy.quiet(running), note=note)


def report_progress(
    generation: Generation, request: ImageRequest, report: ProgressReport, policy: GenerationPolicy
) -> Outcome:
    """Extends the quiet time. A final request stays as it is."""
    if effective_state(generation, request) is State.DONE:
        return Outcome(generation=generation)
    return _word(_heard(generation), request, policy.quiet(generation, report.quiet_for))


def acknowledge(generation: Generation, policy: GenerationPolicy, *, speaks: bool) -> Outcome:
    """Counts a resend that N8N acknowledged. `speaks`: the workflow that took it knows this protocol.

    Another workflow may pay without a word. Without a known job, its silence therefore means nothing.
    """
    counted = _counted(generation)
    is_running = generation.state is State.RUNNING
    is_watched = speaks or (is_running and generation.is_resuming)
    if generation.state in {State.GRANTED, State.DOUBTFUL} or not is_watched:
        return Outcome(generation=counted)
    return Outcome(generation=counted, quiet=policy.quiet(counted, None if is_running else FIRST_WORD))


def fall_silent(generation: Generation, request: ImageRequest, policy: GenerationPolicy) -> Outcome:
    """Decides what happens at the end of the quiet time. Without a `quiet`, nothing happens at a later end either."""
    is_left_alone = generation.is_suspended or _is_exhausted(generation)
    if is_left_alone or effective_state(generation, request) is State.DONE:
        return Outcome(generation=generation)
    if generation.state in {State.GRANTED, State.DOUBTFUL}:
        return _doubt(generation, request, policy)
    if generation.resumes >= policy.resumes:
        return Outcome(generation=generation)
    after = "its job is known" if generation.job else "it never asked for a generation"
    note = f"N8N fell silent: sent again, cause resumed; {after}"
    return _send_again(generation, request, note, is_resuming=True)


def lose_holder(generation: Generation) -> Outcome:
    """Ends the quiet time: N8N lost the execution that would have named the job or polled it."""
    return Outcome(generation=generation, quiet=timedelta(0))


def suspend(generation: Generation) -> Generation:
    """Returns the generation without resends: an image was refused, and a person decides."""
    return replace(generation, is_suspended=True)


def doubt_after_restore(generation: Generation) -> Outcome:
    """Decides about an open request after the database was restored from a backup.

    Without a job it is doubtful: what happened after the backup is not known. Doing it twice counts once. Executions
    may still use grants that the backup has or lacks, so another one is given only after the quiet time of a grant.
    """
    if generation.state in {State.RUNNING, State.DOUBTFUL}:
        return Outcome(generation=generation, quiet=GRANT_QUIET)
    doubts = generation.doubts + 1 if generation.state is State.GRANTED else max(1, generation.doubts)
    doubtful = generation.to(State.DOUBTFUL, doubts=doubts, execution_id=None, ask_key=None)
    note = "the database was restored from a backup: the image may have been paid for since"
    return Outcome(generation=doubtful, quiet=GRANT_QUIET, note=note)


def replay(generation: Generation) -> Outcome:
    """Decides what remains when a person sends the request again: a job and a live grant do, and nothing else."""
    if generation.state is State.RUNNING:
        kept = Generation(state=State.RUNNING, job=generation.job, execution_id=generation.execution_id)
        return Outcome(generation=kept)
    if generation.state is State.GRANTED:
        granted = Generation(state=State.GRANTED, execution_id=generation.execution_id, ask_key=generation.ask_key)
        return Outcome(generation=granted, quiet=GRANT_QUIET, extends_only=True)
    return Outcome(generation=Generation())


def _is_given_up(generation: Generation, request: ImageRequest) -> bool:
    return generation.state is State.DOUBTFUL and request.status is Status.FAILED


def _is_exhausted(generation: Generation) -> bool:
    """Returns whether no further submission is permitted. A job that is named late is known, and goes on."""
    return generation.job is None and max(generation.refusals, generation.ended_jobs) > RETRIES_MAX


def _release(generation: Generation, asked: Ask) -> Generation:
    """Returns the generation after submissions or jobs that cost nothing."""
    free = {"execution_id": None, "ask_key": None}
    is_holder = generation.execution_id == asked.execution_id
    if asked.no_job and generation.state is State.GRANTED and is_holder:
        return generation.to(State.NONE, refusals=generation.refusals + 1, **free)
    if asked.ended_job and generation.job is not None and generation.job.job_id == asked.ended_job:
        return generation.to(State.NONE, job=None, ended_jobs=generation.ended_jobs + 1, **free)
    return generation


def _doubt(generation: Generation, request: ImageRequest, policy: GenerationPolicy) -> Outcome:
    """Counts a grant that may have been paid for. Permits another one, or fails the request."""
    doubtful = generation
    if generation.state is State.GRANTED:
        doubts = generation.doubts + 1
        doubtful = generation.to(State.DOUBTFUL, doubts=doubts, execution_id=None, ask_key=None)
    silent = f"N8N execution {generation.execution_id} named no job" if generation.execution_id else "no job is known"
    note = f"the image may have been paid for: {silent}"
    if request.status in FINAL:  # the bridge failed it: a replay decides
        return Outcome(generation=doubtful, note=None if doubtful == generation else note)
    if policy.when_maybe_paid is WhenMaybePaid.AGAIN and doubtful.doubts < GRANTS_MAX:
        sent = "N8N fell silent: sent again, cause resumed; the image may be paid for twice"
        return replace(_send_again(doubtful.to(State.NONE), request, sent), note=note)
    message = "The image may have been paid for, but N8N named no job of the AI service. It was not asked for again."
    failed = Transition(
        request_id=request.request_id,
        before=frozenset({request.status}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=FailureCode.MAYBE_PAID,
        error_message=message,
    )
    return Outcome(generation=doubtful, transition=failed, note=note)


def _send_again(generation: Generation, request: ImageRequest, note: str, *, is_resuming: bool = False) -> Outcome:
    """Sends a dispatched request again. For a queued one, an entry is pending already."""
    if request.status is not Status.DISPATCHED:
        return Outcome(generation=generation, note=note if not is_resuming else None)
    again = Transition(
        request_id=request.request_id, before=frozenset({Status.DISPATCHED}), after=Status.QUEUED, note=note
    )
    return Outcome(generation=replace(generation, is_resuming=is_resuming), transition=again, note=note)


def _counted(generation: Generation) -> Generation:
    """Counts the resend that was acknowledged, if there was one."""
    if not generation.is_resuming:
        return generation
    return replace(generation, is_resuming=False, resumes=generation.resumes + 1)


def _heard(generation: Generation) -> Generation:
    """Ends a resend that is not acknowledged, because the execution was only silent. Asks count it instead."""
    return replace(generation, is_resuming=False)


def _grant_quiet(asked: Ask) -> timedelta:
    return max(GRANT_QUIET, asked.quiet_for or timedelta(0))


def _word(generation: Generation, request: ImageRequest, quiet: timedelta, **more: object) -> Outcome:
    """Returns the outcome of a word. It moves a queued request on, which ends a resend that is still pending."""
    moved = None
    if request.status is Status.QUEUED:
        moved = Transition(request_id=request.request_id, before=frozenset({Status.QUEUED}), after=Status.DISPATCHED)
    is_granted = generation.state is State.GRANTED
    return Outcome(generation=generation, quiet=quiet, extends_only=is_granted, transition=moved, **more)  # type: ignore[arg-type]
