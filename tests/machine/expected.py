"""A model of one request: which result wins, which entries are pending, and what must be delivered to Odoo.

It is written from the specification and the design (states, "who wins", outbox, leases) and has its own terms on
purpose: a model that shares code with its subject proves nothing. Times are minutes since the start.
"""

from dataclasses import dataclass, field
from typing import Literal

NEXT_STEP = {
    "queued": "dispatch",
    "received": "fetch",  # or `mark`, if the image is there: see `Expected.next_step`
    "completed": "deliver",
    "failed": "deliver",
    "cancelled": "deliver",
}
ENDED = frozenset({"completed", "failed", "cancelled"})
LEADS_TO = {
    "queued": {"dispatched", "received", "completed", "failed", "cancelled"},
    "dispatched": {"queued", "received", "completed", "failed", "cancelled"},
    "received": {"received", "completed", "failed", "cancelled"},
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
class Report:
    """N8N's report of an `image`, the `url` of one, or a `failure`. `what` is the image's name or the reason."""

    how: Literal["image", "url", "failure"]
    what: str
    correlated: bool = True


@dataclass(eq=False)
class PendingEntry:
    """An outbox entry. `turn` counts its claims: only the latest claimant may end it."""

    step: str
    due: int
    state: Literal["live", "dead", "over"] = "live"
    turn: int = 0
    held: bool = False
    attempts: int = 0
    lost: int = 0
    recorded: int = 0
    """The last turn whose outcome was recorded."""
    entry_id: int | None = None


@dataclass(eq=False)
class Expected:
    """The request. `entries` holds all entries that it ever had, `attempts` every attempt in the timeline's form.

    `marks`: its image is marked before it is delivered. `holds`: if that fails, the image is kept.
    """

    now: int
    marks: bool = False
    holds: bool = False
    status: str = "queued"
    version: int = 1
    failed_by: str | None = None
    reason: str | None = None
    image: str | None = None
    awaited: str | None = None
    marked: bool = False
    deadline: int | None = None
    delivered: bool = False
    waived: bool = False
    """A person decided that the result need not be delivered to Odoo."""
    forgotten: bool = False
    """A bug lost the next step: the reconciliation must restore it."""
    sent_again: int = 0
    """Number of repeated dispatches after N8N lost the execution, since the request was accepted or replayed."""
    history: list[tuple[int, str]] = field(default_factory=list)
    entries: list[PendingEntry] = field(default_factory=list)
    attempts: list[tuple[str, int, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.enqueue("dispatch", self.now)

    def enqueue(self, step: str, due: int) -> None:
        """Adds an entry with all its attempts left."""
        self.entries.append(PendingEntry(step, due))

    def in_state(self, state: str) -> list[PendingEntry]:
        """Returns the entries in this state."""
        return [entry for entry in self.entries if entry.state == state]

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
        """Changes the state: ends the entries of the old state and enqueues the next step of the new one."""
        assert to in LEADS_TO[self.status]
        self.status, self.version = to, self.version + 1
        self.history.append((self.version, to))
        self.failed_by, self.reason = failed_by, reason
        self.sent_again = 0 if to == "failed" else self.sent_again
        self.image = image or self.image
        self.awaited = None if to == "completed" or image else awaited or self.awaited
        self.deadline = now + CALLBACK_DEADLINE if to == "dispatched" else None
        self.delivered = self.waived = self.forgotten = False
        for entry in self.in_state("live") + (self.in_state("dead") if to != "failed" else []):
            entry.state, entry.held = "over", False
        if step := self.next_step:
            self.enqueue(step, now + delay)

    @property
    def next_step(self) -> str | None:
        """The step that carries the request on from its state."""
        return "mark" if self.status == "received" and self.image else NEXT_STEP.get(self.status)

    def judge(self, report: Report) -> Verdict:
        """Judges a report: repeats change nothing, contradictions are refused, an image wins over a bridge failure."""
        if not report.correlated:
            return "refused"
        return self._judge_failure(report) if report.how == "failure" else self._judge_image(report)

    def _judge_image(self, report: Report) -> Verdict:
        coming = (
            self.awaited if self.status in {"received", "cancelled"} else None
        )  # after a failure by the bridge, another image may arrive
        if (self.image or coming or report.what) != report.what or self.failed_by == "n8n":
            return "refused"
        if self.image or (coming and report.how == "url"):
            return "repeat"
        return "kept" if self.status == "cancelled" else "taken"

    def _judge_failure(self, report: Report) -> Verdict:
        if self.status in {"completed", "received"} or (self.failed_by == "n8n" and self.reason != report.what):
            return "refused"
        return "repeat" if self.status in ENDED else "taken"  # an ended request does not wait for a failure

    def hear(self, report: Report, now: int) -> Verdict:
        """Applies N8N's report."""
        verdict = self.judge(report)
        if verdict == "kept":
            self.image = report.what if report.how == "image" else self.image
            self.awaited = report.what if report.how == "url" else self.awaited
        elif verdict == "taken" and report.how == "failure":
            self.move("failed", now, failed_by="n8n", reason=report.what)
        elif verdict == "taken" and report.how == "image":
            self.move("received" if self.marks else "completed", now, image=report.what)
        elif verdict == "taken":
            self.move("received", now, awaited=report.what)
        return verdict

    def lose(self, now: int) -> None:
        """Handles a lost execution: dispatches again at once, up to `SENT_AGAIN_AT_MOST` times."""
        if self.status == "dispatched" and self.sent_again < SENT_AGAIN_AT_MOST:
            self.sent_again += 1
            self.move("queued", now)
        elif self.status == "dispatched":
            self.move("failed", now, failed_by="bridge", reason="execution_lost")

    def break_down(self, now: int) -> None:
        """Handles a failure of the workflow itself: the request fails at once."""
        if self.status in {"queued", "dispatched"}:
            self.move("failed", now, failed_by="bridge", reason="workflow_failed")

    def hand_out(self, entry: PendingEntry, now: int) -> int:
        """Claims an entry for the duration of a lease. The previous claimant loses it, which counts as an attempt."""
        if entry.held:
            self.attempts.append((entry.step, entry.attempts, "lost"))
        entry.lost = entry.lost + 1 if entry.held else 0
        entry.turn, entry.attempts, entry.held, entry.due = entry.turn + 1, entry.attempts + 1, True, now + LEASE
        return entry.turn

    def give_back(self, entry: PendingEntry, turn: int, now: int) -> None:
        """Releases an entry without an attempt; it is due at once. Only the current claimant can do this."""
        if entry.turn == turn and entry.held:
            entry.due, entry.attempts, entry.held = now, entry.attempts - 1, False

    def settle(self, entry: PendingEntry, turn: int, ending: Ending, now: int, *, again_at: int) -> bool:
        """Ends an attempt. Its outcome is recorded once, and has an effect only while the entry is live."""
        if entry.turn != turn or entry.recorded == turn:
            return False
        entry.recorded = turn
        self.attempts.append((entry.step, entry.attempts, ending))
        if entry.state != "live":
            return False
        entry.held = False
        if ending == "retry":
            entry.due = again_at
        else:
            entry.state = "over" if ending == "done" else "dead"
            self._follow(entry.step, ending, now)
        return True

    def _follow(self, step: str, ending: Ending, now: int) -> None:
        if step == "deliver":
            self.delivered = ending == "done"
        elif step == "mark":
            self._follow_mark(ending, now)
        elif ending == "dead":
            self.move("failed", now, failed_by="bridge", reason=GAVE_UP[step])
        elif step == "dispatch":
            self.move("dispatched", now)
        else:
            self.move("received" if self.marks else "completed", now, image=self.awaited)

    def _follow_mark(self, ending: Ending, now: int) -> None:
        self.marked = ending == "done"
        if self.marked or not self.holds:
            self.move("completed", now)

    def replay(self, entry: PendingEntry, now: int, delay: int) -> None:
        """Replays a dead letter."""
        entry.state = "over"
        if entry.step in {"deliver", "mark"}:
            self.enqueue(entry.step, now + delay)
        else:
            self.move("queued" if entry.step == "dispatch" else "received", now, delay=delay)

    def discard(self, entry: PendingEntry) -> None:
        """Discards a dead letter."""
        entry.state = "over"
        self.waived = self.waived or entry.step == "deliver"

    def expire(self, now: int) -> bool:
        """Fails the request when no callback has arrived before the deadline."""
        if self.deadline is None or self.deadline > now:
            return False
        self.move("failed", now, failed_by="bridge", reason="timed_out")
        return True

    def forget(self) -> str:
        """Simulates a bug that loses the next step. Returns what is missing."""
        self.forgotten, self.deadline = True, None
        for entry in self.in_state("live"):
            entry.state, entry.held = "over", False
        return self.missing

    @property
    def missing(self) -> str:
        """The step or deadline that the reconciliation must restore."""
        return self.next_step or "deadline"

    def remember(self, now: int) -> None:
        """Restores the next step, as the reconciliation does."""
        self.forgotten = False
        if self.status == "dispatched":
            self.deadline = now + CALLBACK_DEADLINE
        else:
            self.enqueue(self.missing, now)
