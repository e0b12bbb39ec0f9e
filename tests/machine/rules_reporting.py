"""Reports of N8N: early, late, repeated and contradicting results, and callbacks that are overtaken."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from aigen_bridge.contracts.messages import Callback
from aigen_bridge.domain.callback import Available, Completed, Failed, Result, Take, judge
from aigen_bridge.domain.dead_letter import EXECUTION_FAILED, N8N_REPORT, RefusedCallback
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.execution import FailedExecution
from aigen_bridge.domain.request import AwaitedImage, ImageRequest
from aigen_bridge.pipeline.callback import take_callback
from aigen_bridge.pipeline.execution import note_execution, take_failed_execution
from machine.base import Base, actions, pick
from machine.expected import Report
from machine.ground import Ground
from machine.world import PICTURES, REASONS, correlation_id, examine, marks, reported, request_id

reports = st.one_of(
    st.builds(Report, st.sampled_from(["image", "url"]), st.sampled_from(sorted(PICTURES))),
    st.builds(Report, st.just("failure"), st.sampled_from(REASONS)),
)


CALLBACKS = actions(
    "a_callback", what=st.sampled_from(["comes", "comes", "is written late"]), which=pick, report=reports
)
CRASHES = actions("an_execution_fails", which=pick, lost=st.sampled_from([True, True, False]))


class Reporting(Base):
    """Rules for N8N's reports."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.crashes = 0
        self.crashed: set[str] = set()
        self.read: dict[tuple[int, int], ImageRequest] = {}

    def a_callback(self, what: str, which: int, report: Report) -> None:
        """Handles a callback at once, or in a slow process that read the request before others changed it."""
        number = self.chosen(which)
        if what == "comes":
            self.report(number, report)
            return
        versions = [request for (n, _), request in self.read.items() if n == number]
        here = [request for request in versions if request.status == self.expected[number].status]
        request = (here or versions)[0 if which % 2 else -1]  # the same status in an older version is a special case
        self.write_by_what_was_read(number, request, report)

    def report(self, number: int, report: Report) -> None:
        """Handles a callback and checks that the response agrees with the model."""
        wanted = self.expected[number]
        taking = take_callback(self.ground.requests, examine(number), Callback(reported(number, report)))
        verdict = wanted.hear(report, self.now)
        if verdict == "refused":
            with pytest.raises(ContradictionError):
                self.do(taking)
        else:
            receipt = self.do(taking)
            assert (receipt.status, receipt.duplicate) == (wanted.status, verdict == "repeat")

    def an_execution_fails(self, which: int, lost: bool) -> None:  # noqa: FBT001 - drawn by name
        """Reports the latest execution of a request as failed, twice."""
        number = self.chosen(which)
        self.crashes += 1
        wanted, generation = self.expected[number], self.generations[number]
        execution_id = f"crash {self.crashes}"
        if generation.is_held and which % 2 and generation.holder not in self.crashed:
            execution_id = generation.holder or ""
        self.crashed.add(execution_id)
        self.do(note_execution(self.ground.executions, request_id(number), execution_id))
        if generation.is_held and lost:
            generation.lose(execution_id, self.now)
        elif execution_id == generation.holder or not generation.is_held:  # others only wait
            (wanted.lose if lost else wanted.break_down)(self.now)
        failed = FailedExecution(execution_id, "it died", "WorkflowCrashedError" if lost else "TypeError")
        for _ in range(2):
            self.do(take_failed_execution(self.ground.executions, failed, crash_report(execution_id)))

    @invariant()
    def there_is_always_a_slow_callback_that_has_just_read(self) -> None:
        """Reads every version of every request, for later slow callbacks."""
        for number, wanted in enumerate(self.expected):
            if (number, wanted.version) not in self.read:
                request = self.ground.run(self.ground.requests.get(request_id(number)))
                assert request is not None
                self.read[number, wanted.version] = request

    def write_by_what_was_read(self, number: int, request: ImageRequest, report: Report) -> None:
        """Checks that a callback based on an old read changes only an unchanged request."""
        try:
            verdict = judge(request, result(number, report), marks=marks(number))
        except ContradictionError:
            return
        if isinstance(verdict, Take):
            wanted = self.expected[number]
            image = PICTURES[report.what] if report.how == "image" else None
            overtaken = wanted.version != request.version
            moved = self.do(self.ground.requests.apply_versioned(verdict.transition, image))
            if not overtaken:
                wanted.hear(report, self.now)
            assert moved is not overtaken


def crash_report(execution_id: str) -> RefusedCallback:
    """Returns the report of N8N's error workflow, which knows only the execution's id."""
    return RefusedCallback(
        client="n8n",
        version=N8N_REPORT,
        request_id=None,
        error_code=EXECUTION_FAILED,
        error_detail="it died",
        headers={},
        payload=execution_id.encode(),
    )


def result(number: int, report: Report) -> Result:
    """Returns N8N's report as a domain object."""
    ids = request_id(number), correlation_id(number, right=report.correlated)
    if report.how == "failure":
        return Failed(*ids, report.what, "no")
    described, provenance = PICTURES[report.what].described, PICTURES[report.what].provenance
    if report.how == "image":
        return Completed(*ids, described, provenance)
    sides = {"format": "png", "size": described.size, "width": 64, "height": 64, "sha256": described.sha256}
    return Available(*ids, AwaitedImage(**sides, url=f"https://images.test/{report.what}"))
