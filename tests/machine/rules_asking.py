"""Actions of people and time: request, repeat, cancel; time passes, deadlines expire, a bug loses a step."""

import pytest
from hypothesis import strategies as st

from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.pipeline.expire import timed_out
from machine.base import actions
from machine.expected import ENDED, LEASE
from machine.ground import DEADLINES
from machine.rules_generating import Generating
from machine.world import request_id

TIME = actions(
    "time_passes",
    minutes=st.sampled_from([1, 3, LEASE + 1, 90]),
    then=st.sampled_from(["nothing", "sweep", "sweep", "expire", "forget", "reconcile"]),
)


class Asking(Generating):
    """Rules for requests and time."""

    def ask_again(self, number: int) -> None:
        """Repeats a request: the same content is known, different content is refused."""
        request, created = self.do(self.accept(number))
        assert (request.version, created) == (self.expected[number].version, False)
        with pytest.raises(ContradictionError):
            self.do(self.accept(number, "a harbour"))

    def cancel(self, number: int) -> None:
        """Cancels a request, which is possible until it has ended."""
        wanted = self.expected[number]
        cancelling = cancel(self.ground.requests, request_id(number), by="odoo")
        if wanted.status in ENDED:
            with pytest.raises(ContradictionError):
                self.do(cancelling)
        else:
            wanted.move("cancelled", self.now)
            assert self.do(cancelling).version == wanted.version

    def time_passes(self, minutes: int, then: str) -> None:
        self.pass_time(minutes)
        match then:
            case "expire":
                self.expire()
                self.expire()  # another worker's sweep has nothing left to do
            case "sweep":
                self.end_quiet()
            case "forget":
                self.forget(minutes)
            case "reconcile":
                self.reconcile()

    def expire(self) -> None:
        """Checks that the sweep fails the overdue requests and no others."""
        overdue = [request_id(number) for number, wanted in enumerate(self.expected) if wanted.expire(self.now)]
        failed = self.do(self.ground.sweeps.expire(lambda each: timed_out(each, DEADLINES.callback)))
        assert sorted(failed) == overdue

    def forget(self, which: int) -> None:
        """Simulates a bug that loses the next step of a request."""
        pending = [n for n, wanted in enumerate(self.expected) if wanted.in_state("live") or wanted.deadline]
        if pending:
            number = pending[which % len(pending)]
            self.do(self.ground.forget(request_id(number)))
            self.expected[number].forget()

    def reconcile(self) -> None:
        """Checks that the reconciliation restores lost steps and nothing else. It skips changes of the last minute."""
        self.pass_time(2)
        forgotten = [(n, wanted) for n, wanted in enumerate(self.expected) if wanted.forgotten]
        repairs = self.do(self.ground.sweeps.reconcile())
        assert sorted((r.request_id, r.what) for r in repairs) == [(request_id(n), w.missing) for n, w in forgotten]
        for _, wanted in forgotten:
            wanted.remember(self.now)
