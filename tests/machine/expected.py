"""One request as the specification wants it: who wins, what is owed, what Odoo has to hear.

Written from the specification and the design (its states, "who wins", outbox, leases), in plain words on purpose: a
model that shares code with what it judges proves nothing. Times are minutes since the beginning.
"""

from dataclasses import dataclass, field
from typing import Literal

OWES = {"queued": "dispatch", "received": "fetch", "completed": "deliver", "failed": "deliver", "cancelled": "deliver"}
ENDED = frozenset({"completed", "failed", "cancelled"})
LEADS_TO = {
    "queued": {"dispatched", "received", "completed", "failed", "cancelled"},
    "dispatched": {"queued", "received", "completed", "failed", "cancelled"},
    "received": {"completed", "failed", "cancelled"},
    "failed": {"queued", "received", "completed"},
    "completed": set(),
    "cancelled": set(),
}
GAVE_UP = {"dispatch": "dispatch_failed", "fetch": "image_fetch_failed"}
LEASE, CALLBACK_DEADLINE = 5, 10
SENT_AGAIN_AT_MOST = 2

Verdict = Literal["taken", "repeat", "kept", "refused"]
Ending = Literal["done", "retry", "dead"]


@dataclass(frozen=True)
class Said:
    """What N8N reports: an `image`, the `url` of one, or a `failure`; `what` is the picture or the reason."""

    how: Literal["image", "url", "failure"]
    what: str
    correlated: bool = True


@dataclass(eq=False)
class Owed:
    """An obligation. `turn` counts how often it was handed out: only the last one who got it may end it."""

    step: str
    due: int
    state: Literal["live", "dead", "over"] = "live"
    turn: int = 0
    held: bool = False
    tries: int = 0
    lost: int = 0
    told: int = 0
    """The last turn whose outcome was written down."""
    entry_id: int | None = None


@dataclass(eq=False)
class Expected:
    """The request. `owed` holds everything it ever owed, `tries` every try as the timeline must show it."""

    now: int
    status: str = "queued"
    version: int = 1
    failed_by: str | None = None
    reason: str | None = None
    image: str | None = None
    awaited: str | None = None
    deadline: int | None = None
    delivered: bool = False
    waived: bool = False
    """A person said that Odoo need not be told."""
    forgotten: bool = False
    """A bug made what is owed disappear: the reconciliation has to bring it back."""
    sent_again: int = 0
    """Since it was accepted or a person put it back, because N8N lost its execution."""
    history: list[tuple[int, str]] = field(default_factory=list)
    owed: list[Owed] = field(default_factory=list)
    tries: list[tuple[str, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.owe("dispatch", self.now)

    def owe(self, step: str, due: int) -> None:
        """A new obligation, with all its tries."""
        self.owed.append(Owed(step, due))

    def in_state(self, state: str) -> list[Owed]:
        """What is owed and `live`, or `dead`."""
        return [owed for owed in self.owed if owed.state == state]

    def move(
        self,
        to: str,
        now: int,
        *,
        failed_by: str | None = None,
        reason: str | None = None,
        image: str | None = None,
        awaited: str | None = None,
        delay: int = 0,
    ) -> None:
        """A new state: what the old one owed is moot, what the new one owes is owed."""
        assert to in LEADS_TO[self.status]
        self.status, self.version = to, self.version + 1
        self.history.append((self.version, to))
        self.failed_by, self.reason = failed_by, reason
        self.sent_again = 0 if to == "failed" else self.sent_again
        self.image = image or self.image
        self.awaited = None if to == "completed" else awaited or self.awaited
        self.deadline = now + CALLBACK_DEADLINE if to == "dispatched" else None
        self.delivered = self.waived = self.forgotten = False
        for owed in self.in_state("live") + (self.in_state("dead") if to != "failed" else []):
            owed.state, owed.held = "over", False
        if step := OWES.get(to):
            self.owe(step, now + delay)

    def judge(self, said: Said) -> Verdict:
        """Repeats change nothing, contradictions are refused, an image wins over a failure of ours."""
        if not said.correlated:
            return "refused"
        return self._judge_failure(said) if said.how == "failure" else self._judge_image(said)

    def _judge_image(self, said: Said) -> Verdict:
        coming = (
            self.awaited if self.status in {"received", "cancelled"} else None
        )  # after our failure another may come
        if (self.image or coming or said.what) != said.what or self.failed_by == "n8n":
            return "refused"
        if self.image or (coming and said.how == "url"):
            return "repeat"
        return "kept" if self.status == "cancelled" else "taken"

    def _judge_failure(self, said: Said) -> Verdict:
        if self.status in {"completed", "received"} or (self.failed_by == "n8n" and self.reason != said.what):
            return "refused"
        return "repeat" if self.status in ENDED else "taken"  # nobody waits for it any more

    def hear(self, said: Said, now: int) -> Verdict:
        """Take what N8N says."""
        verdict = self.judge(said)
        if verdict == "kept":
            self.image = said.what if said.how == "image" else self.image
            self.awaited = said.what if said.how == "url" else self.awaited
        elif verdict == "taken" and said.how == "failure":
            self.move("failed", now, failed_by="n8n", reason=said.what)
        elif verdict == "taken" and said.how == "image":
            self.move("completed", now, image=said.what)
        elif verdict == "taken":
            self.move("received", now, awaited=said.what)
        return verdict

    def lose(self, now: int) -> None:
        """N8N found its execution dead: sent again at once, but not for ever."""
        if self.status == "dispatched" and self.sent_again < SENT_AGAIN_AT_MOST:
            self.sent_again += 1
            self.move("queued", now)
        elif self.status == "dispatched":
            self.move("failed", now, failed_by="bridge", reason="execution_lost")

    def break_down(self, now: int) -> None:
        """The workflow itself failed: there is nothing to wait for."""
        if self.status in {"queued", "dispatched"}:
            self.move("failed", now, failed_by="bridge", reason="workflow_failed")

    def hand_out(self, owed: Owed, now: int) -> int:
        """A worker takes it for the time of a lease; who had it before lost it, and that was a try."""
        if owed.held:
            self.tries.append((owed.step, owed.tries, "lost"))
        owed.lost = owed.lost + 1 if owed.held else 0
        owed.turn, owed.tries, owed.held, owed.due = owed.turn + 1, owed.tries + 1, True, now + LEASE
        return owed.turn

    def give_back(self, owed: Owed, turn: int, now: int) -> None:
        """Untried: due at once, not counted. Only who has it can."""
        if owed.turn == turn and owed.held:
            owed.due, owed.tries, owed.held = now, owed.tries - 1, False

    def settle(self, owed: Owed, turn: int, ending: Ending, now: int, *, again_at: int) -> bool:
        """A try has ended; written down once, and with effect only while it is owed."""
        if owed.turn != turn or owed.told == turn:
            return False
        owed.told = turn
        self.tries.append((owed.step, owed.tries, ending))
        if owed.state != "live":
            return False
        owed.held = False
        if ending == "retry":
            owed.due = again_at
        else:
            owed.state = "over" if ending == "done" else "dead"
            self._follow(owed.step, ending, now)
        return True

    def _follow(self, step: str, ending: Ending, now: int) -> None:
        if step == "deliver":
            self.delivered = ending == "done"
        elif ending == "dead":
            self.move("failed", now, failed_by="bridge", reason=GAVE_UP[step])
        elif step == "dispatch":
            self.move("dispatched", now)
        else:
            self.move("completed", now, image=self.awaited)

    def replay(self, owed: Owed, now: int, delay: int) -> None:
        """A person puts a dead letter back."""
        owed.state = "over"
        if owed.step == "deliver":
            self.owe("deliver", now + delay)
        else:
            self.move("queued" if owed.step == "dispatch" else "received", now, delay=delay)

    def discard(self, owed: Owed) -> None:
        """A person says that nothing needs to be done."""
        owed.state = "over"
        self.waived = self.waived or owed.step == "deliver"

    def expire(self, now: int) -> bool:
        """No callback before the deadline: a failure of ours."""
        if self.deadline is None or self.deadline > now:
            return False
        self.move("failed", now, failed_by="bridge", reason="timed_out")
        return True

    def forget(self) -> str:
        """A bug: what has to happen next is nowhere written any more. Returns what is missing."""
        self.forgotten, self.deadline = True, None
        for owed in self.in_state("live"):
            owed.state, owed.held = "over", False
        return self.missing

    @property
    def missing(self) -> str:
        """What the reconciliation has to bring back."""
        return OWES.get(self.status, "deadline")

    def remember(self, now: int) -> None:
        """The reconciliation brings it back."""
        self.forgotten = False
        if self.status == "dispatched":
            self.deadline = now + CALLBACK_DEADLINE
        else:
            self.owe(self.missing, now)
