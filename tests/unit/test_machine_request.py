"""Stateful test: in any order of events, the domain's rules agree with the model of the specification."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from aigen_bridge.domain.callback import Keep, Repeat, Take, judge
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.execution import FailedExecution, Standing, judge_failed_execution
from aigen_bridge.domain.provenance import MarkingMode
from aigen_bridge.domain.request import FINAL, FailedBy, FailureCode, ImageRequest, Status, Transition
from aigen_bridge.pipeline.expire import timed_out
from machine.applying import made
from machine.expected import CALLBACK_DEADLINE, ENDED, GAVE_UP, LEADS_TO, NEXT_STEP, Expected, Report
from machine.profile import profile
from machine.rules_reporting import reports, result
from machine.world import MARKED, NAMES, PICTURES, correlation_id, marks, request_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class RequestMachine(RuleBasedStateMachine):
    """One request and its model."""

    number = 0

    def __init__(self) -> None:
        super().__init__()
        ids = {"request_id": request_id(self.number), "correlation_id": correlation_id(self.number), "event": {}}
        self.request = ImageRequest(**ids, status=Status.QUEUED, version=1, created_at=NOW, updated_at=NOW)
        self.read = self.request
        self.expected = Expected(0, marks(self.number))

    def move(self, transition: Transition, *, to: str | None = None) -> None:
        """Applies the transition and checks that it leads to the status `to`, or has no effect when `to` is None."""
        moved = made(self.request, transition)
        assert (moved and moved.status) == to
        self.request = moved or self.request
        if to:
            step = "mark" if to == "received" and transition.image else NEXT_STEP.get(to)
            assert transition.next_step == step

    @precondition(lambda self: self.expected.status == "queued")
    @rule()
    def n8n_takes_it(self) -> None:
        self.move(
            Transition(request_id=request_id(self.number), before=frozenset({Status.QUEUED}), after=Status.DISPATCHED),
            to="dispatched",
        )
        self.expected.move("dispatched", 0)

    @precondition(lambda self: self.expected.next_step in GAVE_UP)
    @rule()
    def a_worker_gives_up(self) -> None:
        reason = GAVE_UP[self.expected.next_step or ""]
        self.move(self._failed(FailureCode(reason)), to="failed")
        self.expected.move("failed", 0, failed_by="bridge", reason=reason)

    @precondition(lambda self: self.expected.next_step == "mark")
    @rule(is_marked=st.booleans())
    def the_image_is_marked_or_given_up(self, is_marked: bool) -> None:  # noqa: FBT001 - drawn by name
        name = self.expected.image or ""
        provenance = self.request.provenance
        assert provenance is not None
        transition = Transition(
            request_id=request_id(self.number),
            before=frozenset({Status.RECEIVED}),
            after=Status.COMPLETED,
            image=MARKED[name].described if is_marked else None,
            provenance=replace(provenance, marked=MarkingMode.METADATA) if is_marked else None,
        )
        self.move(transition, to="completed")
        self.expected.move("completed", 0)

    def _failed(self, code: FailureCode) -> Transition:
        before = frozenset({self.request.status})
        return Transition(
            request_id=request_id(self.number),
            before=before,
            after=Status.FAILED,
            failed_by=FailedBy.BRIDGE,
            error_code=code,
        )

    @rule()
    def the_deadline_passes(self) -> None:
        overdue = self.expected.expire(CALLBACK_DEADLINE)
        self.move(
            timed_out(request_id(self.number), timedelta(minutes=CALLBACK_DEADLINE)), to="failed" if overdue else None
        )

    @rule(lost=st.booleans())
    def an_execution_fails(self, lost: bool) -> None:  # noqa: FBT001 - drawn by name
        failed = FailedExecution("7", "it died", "WorkflowCrashedError" if lost else "TypeError")
        standing = Standing(is_known=True, is_latest=True, resends=self.expected.sent_again)
        transition = judge_failed_execution(failed, self.request, standing).transition
        before = self.expected.version
        (self.expected.lose if lost else self.expected.break_down)(0)
        assert (transition is not None) == (self.expected.version > before)
        if transition:
            self.move(transition, to=self.expected.status)

    @rule()
    def it_is_cancelled(self) -> None:
        transition = Transition(
            request_id=request_id(self.number), before=frozenset(Status) - FINAL, after=Status.CANCELLED
        )
        ended = self.expected.status in ENDED
        self.move(transition, to=None if ended else "cancelled")
        if not ended:
            self.expected.move("cancelled", 0)

    @precondition(lambda self: self.expected.status == "failed")
    @rule(to=st.sampled_from(["queued", "received"]))
    def it_is_replayed(self, to: str) -> None:
        transition = Transition(request_id=request_id(self.number), before=frozenset({Status.FAILED}), after=Status(to))
        by_bridge = self.expected.failed_by == "bridge"
        if to == "queued" or self.expected.awaited:
            self.move(transition, to=to if by_bridge else None)
            if by_bridge:
                self.expected.move(to, 0)

    @rule(report=reports, correlated=st.sampled_from([True, True, True, False]))
    def n8n_reports(self, report: Report, correlated: bool) -> None:  # noqa: FBT001 - drawn by name
        report = replace(report, correlated=correlated)
        self.take(self.request, report)

    @rule(report=reports)
    def a_slow_callback_writes_by_what_it_read(self, report: Report) -> None:
        self.take(self.read, report)
        self.read = self.request

    def take(self, read: ImageRequest, report: Report) -> None:
        """Handles a report based on `read`; it takes effect only if the request has not changed since."""
        current = read.version == self.request.version
        before = self.expected.status
        verdict = self.expected.hear(report, 0) if current else None
        if verdict == "refused":
            with pytest.raises(ContradictionError):
                judge(self.request, result(self.number, report), marks=marks(self.number))
        elif verdict:
            judged = judge(self.request, result(self.number, report), marks=marks(self.number))
            assert type(judged) is {"taken": Take, "repeat": Repeat, "kept": Keep}[verdict], before
            if isinstance(judged, Take):
                self.move(judged.transition, to=self.expected.status)
            elif isinstance(judged, Keep):
                self._keep(report)
        else:
            self._take_too_late(read, report)

    def _take_too_late(self, read: ImageRequest, report: Report) -> None:
        try:
            judged = judge(read, result(self.number, report), marks=marks(self.number))
        except ContradictionError:
            return
        if isinstance(judged, Take):
            assert judged.transition.version == read.version, "it could overwrite what it has not seen"
            self.move(judged.transition, to=None)

    def _keep(self, report: Report) -> None:
        kept = result(self.number, report)
        if report.how == "image":
            picture = PICTURES[report.what]
            self.request = replace(self.request, image=picture.described, provenance=picture.provenance)
        else:
            self.request = replace(self.request, awaited=getattr(kept, "awaited", None))

    @invariant()
    def the_request_is_as_the_specification_says(self) -> None:
        request, wanted = self.request, self.expected
        assert (request.status, request.version) == (wanted.status, wanted.version)
        assert (request.failed_by, request.error_code) == (wanted.failed_by, wanted.reason)
        image, awaited = request.image, request.awaited
        assert (image and NAMES[image.sha256], awaited and NAMES[awaited.sha256]) == (wanted.image, wanted.awaited)
        assert (request.status is Status.COMPLETED) <= (image is not None)

    @invariant()
    def no_move_can_be_made_that_the_specification_does_not_know(self) -> None:
        for after in set(Status) - {Status(to) for to in LEADS_TO[self.expected.status]}:
            with pytest.raises(ValueError, match="no request moves"):
                Transition(request_id=request_id(self.number), before=frozenset({self.request.status}), after=after)


class MarkedRequestMachine(RequestMachine):
    """A request whose image is marked before it is delivered."""

    number = 1


TestRequest = RequestMachine.TestCase
TestMarkedRequest = MarkedRequestMachine.TestCase
TestRequest.settings = profile(examples=80, steps=25)
TestMarkedRequest.settings = profile(examples=80, steps=25)
