"""Decides what a failed N8N execution means for its request.

The report of a failed execution holds no result: the workflow crashed, or N8N did. After a crash, N8N reports the
executions that it finds dead by id only, and repeats these reports at each later start.
"""

from dataclasses import dataclass
from uuid import UUID

from aigen_bridge.domain.request import FINAL, FailedBy, FailureCode, ImageRequest, Status, Transition

RESENDS_MAX = 2
"""The most resends of a request whose execution N8N lost: the specified retries of a generation (REQ-IL-009)."""
MESSAGE_MAX = 1000
"""N8N's message is truncated to this number of characters in the error message of a request."""

LOST_ERRORS = frozenset(
    {
        "WorkflowCrashedError",  # found dead when N8N started
        "NodeCrashedError",
        "MaxStalledCountError",  # queue mode: the worker died
        "TaskRequestTimeoutError",  # the task runner of the Code nodes had gone away, as when N8N stops
        "TaskRunnerDisconnectedError",
        "TaskRunnerFailedHeartbeatError",
        "TaskRunnerOomError",
        "TaskRunnerRestartLoopError",
        "TaskRunnerShutdownTimeoutError",
        "TaskRunnerUnreachableError",
    }
)
"""Error classes (N8N 2.41) that say nothing about the workflow: N8N died or stopped while it ran."""
LOST_WORDS = (
    "Workflow did not finish",
    "possible out-of-memory issue",
    "failed to be processed too many times",
    "job stalled",
    "Task request timed out",
    "timeout exceeded when trying to connect",  # N8N waited too long for its own database
)
"""Messages of these errors, for dead-letter workflows that do not report the class."""

UNKNOWN_WORDS = "The bridge does not know this request"
"""The shipped workflow ends with these words when it asked about a request that the bridge did not know."""


@dataclass(frozen=True, slots=True)
class FailedExecution:
    """An execution that N8N reported as failed. `error_name` is the class of the error, if it was reported."""

    execution_id: str
    message: str
    error_name: str | None = None

    @property
    def is_lost(self) -> bool:
        """True if N8N lost the execution. Otherwise the workflow itself failed, and would fail again."""
        return self.error_name in LOST_ERRORS or any(words in self.message for words in LOST_WORDS)

    @property
    def asked_too_early(self) -> bool:
        """True if the request was not known when the execution asked. If it is known now, its sender has sent it again.

        That happens after the bridge's database was restored from a backup.
        """
        return UNKNOWN_WORDS in self.message


@dataclass(frozen=True, slots=True)
class Standing:
    """The relation of an execution to its request.

    `is_known`: the execution asked about this request. `is_latest`: since then, no other execution has asked, and the
    request has not been sent again. `resends`: how often the request was sent again since it was accepted or replayed.
    `holds_generation`: it holds the grant of the request's generation, or polls its job.
    """

    is_known: bool
    is_latest: bool
    resends: int
    holds_generation: bool = False


@dataclass(frozen=True, slots=True)
class Verdict:
    """The transition of the request, if any, and whether an operator has to look at the report.

    `ends_quiet`: nobody will name or poll the generation's job any more, so its quiet time is over.
    """

    transition: Transition | None
    needs_person: bool
    ends_quiet: bool = False


@dataclass(frozen=True, slots=True)
class Reported:
    """A stored report. `letter` is its number in quarantine. `is_open`: an operator has to handle it.

    `transition` is the transition that it caused. `is_repeat`: the report was already known.
    """

    letter: int
    request_id: UUID | None
    is_open: bool
    transition: Transition | None = None
    is_repeat: bool = False


def judge_failed_execution(failed: FailedExecution, request: ImageRequest, standing: Standing) -> Verdict:
    """Decides what a failed execution means for its request. The request is locked, so its state is current."""
    if _is_settled(request) or failed.asked_too_early:
        return Verdict(None, needs_person=False)
    if request.status in FINAL or not standing.is_latest:
        return Verdict(None, needs_person=request.status in FINAL or not standing.is_known)
    if not failed.is_lost:
        message = f"The image service failed: {failed.message[:MESSAGE_MAX]}"
        return Verdict(_failure(request, FailureCode.WORKFLOW_FAILED, message), needs_person=True)
    if standing.holds_generation or request.status is Status.QUEUED:  # a queued request is about to be sent
        return Verdict(None, needs_person=False, ends_quiet=standing.holds_generation)
    if standing.resends < RESENDS_MAX:
        return Verdict(_send_again(request, failed), needs_person=False)
    message = f"The image service failed {RESENDS_MAX + 1} times while generating the image."
    return Verdict(_failure(request, FailureCode.EXECUTION_LOST, message), needs_person=True)


def never_started(request_id: UUID) -> Transition:
    """Returns the transition of a request that N8N acknowledged while stopping, before an execution asked about it."""
    return Transition(
        request_id=request_id,
        before=frozenset({Status.DISPATCHED}),
        after=Status.QUEUED,
        note="N8N accepted it and stopped before the workflow started; sent again",
    )


def _is_settled(request: ImageRequest) -> bool:
    """Returns whether the execution is no longer needed: the request has a result, or was cancelled."""
    if request.status is Status.FAILED:
        return request.failed_by is FailedBy.N8N
    return request.status in {Status.RECEIVED, Status.COMPLETED, Status.CANCELLED}


def _send_again(request: ImageRequest, failed: FailedExecution) -> Transition:
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
