"""What N8N reports: results early, late, twice, against each other; and callbacks that others overtake."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import invariant

from aigen_bridge.domain.callback import Available, Completed, Failed, Result, Take, judge
from aigen_bridge.domain.dead_letter import EXECUTION_FAILED, N8N_REPORT, RefusedCallback
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.execution import FailedExecution
from aigen_bridge.domain.request import AwaitedImage, ImageRequest
from aigen_bridge.pipeline.callback import take_callback
from aigen_bridge.pipeline.execution import note_execution, take_failed_execution
from machine.base import Base, deeds, pick
from machine.expected import Said
from machine.ground import Ground
from machine.world import EXAMINE, PICTURES, REASONS, correlation_id, reported, request_id

sayings = st.one_of(
    st.builds(Said, st.sampled_from(["image", "url"]), st.sampled_from(sorted(PICTURES))),
    st.builds(Said, st.just("failure"), st.sampled_from(REASONS)),
)


CALLBACKS = deeds("a_callback", what=st.sampled_from(["comes", "comes", "is written late"]), which=pick, said=sayings)
CRASHES = deeds("an_execution_fails", which=pick, lost=st.sampled_from([True, True, False]))


class Reporting(Base):
    """Rules."""

    def __init__(self, ground: Ground) -> None:
        super().__init__(ground)
        self.crashes = 0
        self.read: dict[tuple[int, int], ImageRequest] = {}

    def a_callback(self, what: str, which: int, said: Said) -> None:
        """Taken at once, or by a slow process: read long ago, written when others may have moved the request."""
        number = self.chosen(which)
        if what == "comes":
            self.report(number, said)
            return
        versions = [request for (n, _), request in self.read.items() if n == number]
        here = [request for request in versions if request.status == self.expected[number].status]
        request = (here or versions)[0 if which % 2 else -1]  # what is where it was, but has been elsewhere, is tricky
        self.write_by_what_was_read(number, request, said)

    def report(self, number: int, said: Said) -> None:
        """A callback, answered as the model says."""
        wanted = self.expected[number]
        taking = take_callback(self.ground.requests, EXAMINE, reported(number, said))
        verdict = wanted.hear(said, self.now)
        if verdict == "refused":
            with pytest.raises(ContradictionError):
                self.do(taking)
        else:
            receipt = self.do(taking)
            assert (receipt.status, receipt.duplicate) == (wanted.status, verdict == "repeat")

    def an_execution_fails(self, which: int, lost: bool) -> None:  # noqa: FBT001 - drawn by name
        """The latest one of a request, reported twice."""
        number = self.chosen(which)
        self.crashes += 1
        execution_id, wanted = f"execution {self.crashes}", self.expected[number]
        self.do(note_execution(self.ground.executions, request_id(number), execution_id))
        (wanted.lose if lost else wanted.break_down)(self.now)
        failed = FailedExecution(execution_id, "it died", "WorkflowCrashedError" if lost else "TypeError")
        for _ in range(2):
            self.do(take_failed_execution(self.ground.executions, failed, crash_report(execution_id)))

    @invariant()
    def there_is_always_a_slow_callback_that_has_just_read(self) -> None:
        """Every version of every request."""
        for number, wanted in enumerate(self.expected):
            if (number, wanted.version) not in self.read:
                request = self.ground.run(self.ground.requests.get(request_id(number)))
                assert request is not None
                self.read[number, wanted.version] = request

    def write_by_what_was_read(self, number: int, request: ImageRequest, said: Said) -> None:
        """It moves the request only if nobody else did in the meantime."""
        try:
            verdict = judge(request, result(number, said))
        except ContradictionError:
            return
        if isinstance(verdict, Take):
            wanted = self.expected[number]
            image = PICTURES[said.what] if said.how == "image" else None
            overtaken = wanted.version != request.version
            moved = self.do(self.ground.requests.apply_versioned(verdict.transition, image))
            if not overtaken:
                wanted.hear(said, self.now)
            assert moved is not overtaken


def crash_report(execution_id: str) -> RefusedCallback:
    """What N8N's error workflow tells, by the execution's id only."""
    return RefusedCallback(
        client="n8n",
        version=N8N_REPORT,
        request_id=None,
        error_code=EXECUTION_FAILED,
        error_detail="it died",
        headers={},
        payload=execution_id.encode(),
    )


def result(number: int, said: Said) -> Result:
    """What N8N says in the words of the domain."""
    ids = request_id(number), correlation_id(number, right=said.correlated)
    if said.how == "failure":
        return Failed(*ids, said.what, "no")
    described = PICTURES[said.what].described
    if said.how == "image":
        return Completed(*ids, described)
    sides = {"format": "png", "size": described.size, "width": 64, "height": 64, "sha256": described.sha256}
    return Available(*ids, AwaitedImage(**sides, url=f"https://images.test/{said.what}"))
