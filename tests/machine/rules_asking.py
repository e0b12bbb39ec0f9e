"""What people and time do: ask, ask again, cancel; minutes pass, deadlines run out, a bug loses something."""

import pytest
from hypothesis import strategies as st

from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.pipeline.cancel import cancel
from aigen_bridge.pipeline.expire import timed_out
from machine.base import Base, deeds
from machine.expected import ENDED, LEASE
from machine.ground import DEADLINES
from machine.world import request_id

TIME = deeds(
    "time_passes",
    minutes=st.sampled_from([1, LEASE + 1, 90]),
    then=st.sampled_from(["nothing", "nothing", "expire", "forget", "reconcile"]),
)


class Asking(Base):
    """Rules."""

    def ask_again(self, number: int) -> None:
        """The same is known, with other content it is refused."""
        request, created = self.do(self.accept(number))
        assert (request.version, created) == (self.expected[number].version, False)
        with pytest.raises(ContradictionError):
            self.do(self.accept(number, "a harbour"))

    def cancel(self, number: int) -> None:
        """Possible until it has ended."""
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
            case "forget":
                self.forget(minutes)
            case "reconcile":
                self.reconcile()

    def expire(self) -> None:
        """The sweep finds what is overdue, and nothing else."""
        overdue = [request_id(number) for number, wanted in enumerate(self.expected) if wanted.expire(self.now)]
        failed = self.do(self.ground.sweeps.expire(lambda each: timed_out(each, DEADLINES.callback)))
        assert sorted(failed) == overdue

    def forget(self, which: int) -> None:
        """A bug of ours drops what has to happen next."""
        owing = [n for n, wanted in enumerate(self.expected) if wanted.in_state("live") or wanted.deadline]
        if owing:
            number = owing[which % len(owing)]
            self.do(self.ground.forget(request_id(number)))
            self.expected[number].forget()

    def reconcile(self) -> None:
        """What was forgotten is owed again, nothing else is touched. It leaves the last minute alone."""
        self.pass_time(2)
        forgotten = [(n, wanted) for n, wanted in enumerate(self.expected) if wanted.forgotten]
        repairs = self.do(self.ground.sweeps.reconcile())
        assert sorted((r.request_id, r.what) for r in repairs) == [(request_id(n), w.missing) for n, w in forgotten]
        for _, wanted in forgotten:
            wanted.remember(self.now)
