"""What it means for a request that N8N reports one of its executions as failed.

Such a report holds no result: the workflow crashed, or N8N did. After a crash N8N reports the executions that it finds
dead by their ids only, and reports the same ones again at each of its next starts.
"""

from dataclasses import dataclass
from uuid import UUID

from aigen_bridge.domain.request import FINAL, FailedBy, FailureCode, ImageRequest, Status, Transition

RESENDS = 2
"""Times a request is sent again because N8N lost its execution: the specified retries of a generation (REQ-IL-009)."""
MESSAGE_MAX = 1000
"""Characters of N8N's words in a request's error message."""

LOST_ERRORS = frozenset(
    {
        "WorkflowCrashedError",  # found dead when N8N started
        "NodeCrashedError",
        "MaxStalledCountError",  # queue mode: the worker died
        "TaskRequestTimeoutError",  # what runs the Code nodes was gone, as in a stopping N8N
        "TaskRunnerDisconnectedError",
        "TaskRunnerFailedHeartbeatError",
        "TaskRunnerOomError",
        "TaskRunnerRestartLoopError",
        "TaskRunnerShutdownTimeoutError",
        "TaskRunnerUnreachableError",
    }
)
"""Classes of errors (N8N 2.41) that say nothing about the workflow: N8N died or stopped under it."""
LOST_WORDS = (
    "Workflow did not finish",
    "possible out-of-memory issue",
    "failed to be processed too many times",
    "job stalled",
    "Task request timed out",
)
"""Their messages, for dead-letter workflows that do not report the class."""


@dataclass(frozen=True, slots=True)
class FailedExecution:
    """An execution that N8N reports as failed. `error_name` is the class of N8N's error, if it was reported."""

    execution_id: str
    message: str
    error_name: str | None = None

    @property
    def is_lost(self) -> bool:
        """Whether N8N lost the execution. Otherwise the workflow failed, and would fail again."""
        return self.error_name in LOST_ERRORS or any(words in self.message for words in LOST_WORDS)


@dataclass(frozen=True, slots=True)
class Standing:
    """How the execution stands to its request.

    `is_known`: the execution asked about this request. `is_latest`: no other one has asked since, and the request was
    not sent again since. `resends`: how often the request was sent again since it was accepted or replayed.
    """

    is_known: bool
    is_latest: bool
    resends: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The transition of the request, if any, and whether a person has to look at the report."""

    transition: Transition | None
    needs_person: bool


@dataclass(frozen=True, slots=True)
class Reported:
    """A report is stored. `letter` is its number in quarantine, `is_open` whether an operator has to handle it.

    `transition` is what it caused, `is_repeat` whether it was known.
    """

    letter: int
    request_id: UUID | None
    is_open: bool
    transition: Transition | None = None
    is_repeat: bool = False


def judge_failed_execution(failed: FailedExecution, request: ImageRequest, standing: Standing) -> Verdict:
    """What a failed execution means for its request. The request is locked, so its state is current."""
    if _is_settled(request):
        return Verdict(None, needs_person=False)
    if request.status in FINAL or not standing.is_latest:
        return Verdict(None, needs_person=request.status in FINAL or not standing.is_known)
    if not failed.is_lost:
        message = f"The image service failed: {failed.message[:MESSAGE_MAX]}"
        return Verdict(_failure(request, FailureCode.WORKFLOW_FAILED, message), needs_person=True)
    if request.status is Status.QUEUED:
        return Verdict(None, needs_person=False)  # it is about to be sent anyway
    if standing.resends < RESENDS:
        return Verdict(_again(request, failed), needs_person=False)
    message = f"The image service broke off {RESENDS + 1} times while it made the image."
    return Verdict(_failure(request, FailureCode.EXECUTION_LOST, message), needs_person=True)


def never_started(request_id: UUID) -> Transition:
    """A stopping N8N acknowledged the request, and went away before its execution asked about it."""
    return Transition(
        request_id=request_id,
        before=frozenset({Status.DISPATCHED}),
        after=Status.QUEUED,
        note="N8N took it and went away before the workflow began; sent again",
    )


def _is_settled(request: ImageRequest) -> bool:
    """Whether the execution is not needed any more: the request has its result, or nobody wants it."""
    if request.status is Status.FAILED:
        return request.failed_by is FailedBy.N8N
    return request.status in {Status.RECEIVED, Status.COMPLETED, Status.CANCELLED}


def _again(request: ImageRequest, failed: FailedExecution) -> Transition:
    return Transition(
        request_id=request.request_id,
        before=frozenset({Status.DISPATCHED}),
        after=Status.QUEUED,
        note=f"N8N lost execution {failed.execution_id}; sent again",
    )


def _failure(request: ImageRequest, code: FailureCode, message: str) -> Transition:
    return Transition(
        request_id=request.request_id,
        before=frozenset({request.status}),
        after=Status.FAILED,
        failed_by=FailedBy.BRIDGE,
        error_code=code,
        error_message=message,
    )
