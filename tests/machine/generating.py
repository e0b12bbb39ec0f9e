"""A model of one generation, written from the protocol's table (interface, "Generation"), independent of the code.

Times are seconds, unless the rules have another unit. The model moves the model of the request along with it: a word
sends a queued request on its way, and a silence queues it again.
"""

from dataclasses import dataclass, field
from typing import Literal

from machine.expected import Expected

NEXT = {
    ("none", "start"): "granted",
    ("none", "job"): "running",
    ("none", "restored"): "doubtful",
    ("granted", "no job"): "none",
    ("granted", "job"): "running",
    ("granted", "silent"): "doubtful",
    ("granted", "restored"): "doubtful",
    ("running", "ended job"): "none",
    ("doubtful", "again"): "none",
    ("doubtful", "job"): "running",
    ("doubtful", "replayed"): "none",
}
"""The table's changes of state. Whatever is not here leaves the state as it is."""
GRANT, FIRST_WORD = 150, 120
SUBMISSIONS_AGAIN, MAYBE_PAID = 2, 2
"""The submissions after refusals, as after ended jobs, and the grants that may have been paid for."""

Decision = Literal["start", "resume", "wait", "stop"]


@dataclass(frozen=True)
class Rules:
    """The settings: the silence, the resumes, and what happens when the image may have been paid for. And two times."""

    silence: float = 30
    resumes: int = 3
    when_maybe_paid: Literal["again", "stop"] = "again"
    grant: float = GRANT
    first_word: float = FIRST_WORD


@dataclass(eq=False)
class ExpectedGeneration:
    """The generation. `unheard`: a resend after a silence that nobody has acknowledged yet."""

    rules: Rules
    request: Expected
    state: str = "none"
    holder: str | None = None
    key: str | None = None
    job: str | None = None
    quiet_until: float | None = None
    refused: int = 0
    ended: int = 0
    doubts: int = 0
    resumes: int = 0
    unheard: bool = False
    in_a_persons_hands: bool = False
    named: set[str] = field(default_factory=set)
    ended_jobs: set[str] = field(default_factory=set)

    def to(self, event: str) -> None:
        """Changes the state. Only a grant and a job have a holder, and only a running generation has a job."""
        self.state = NEXT[self.state, event]
        if self.state in {"none", "doubtful"}:
            self.holder = self.key = self.job = None

    @property
    def wanted(self) -> bool:
        """Whether an image would still be taken. A failure of the bridge leaves it open."""
        request = self.request
        has_one = request.image is not None or (request.awaited and request.status in {"received", "cancelled"})
        return not (has_one or request.status == "cancelled" or request.failed_by == "n8n")

    @property
    def open(self) -> bool:
        """Whether the request still waits for its image."""
        return self.request.status in {"queued", "dispatched"}

    def ask(
        self,
        execution: str,
        key: str | None,
        now: float,
        *,
        quiet_for: float = 0,
        no_job: bool = False,
        ended_job: str | None = None,
    ) -> Decision:
        """May this execution start the paid work?"""
        again = key is not None and (execution, key) == (self.holder, self.key)
        if not self.wanted or (self.state == "doubtful" and not self.open):
            return "stop"
        if self.state == "granted" and again:
            self._word(now + max(self.rules.grant, quiet_for), now)
            return "start"
        if not again:
            self._give_up_what_cost_nothing(execution, ended_job, no_job=no_job)
        return self._decide(execution, key, quiet_for, now)

    def _give_up_what_cost_nothing(self, execution: str, ended_job: str | None, *, no_job: bool) -> None:
        if no_job and self.state == "granted" and execution == self.holder:
            self.refused += 1
            self.to("no job")
        elif ended_job and ended_job == self.job:
            self.ended += 1
            self.ended_jobs.add(ended_job)
            self.to("ended job")

    def _decide(self, execution: str, key: str | None, quiet_for: float, now: float) -> Decision:
        if self.state == "running":
            self.holder, self.key = execution, key
            self._heard_by_the_resend()
            self._word(now + max(self._silence(), quiet_for), now)
            return "resume"
        if self.has_no_submission_left:
            return "stop"
        if self.state != "none":
            return "wait"
        self.to("start")
        self.holder, self.key = execution, key
        self._heard_by_the_resend()
        self._word(now + max(self.rules.grant, quiet_for), now)
        return "start"

    @property
    def has_no_submission_left(self) -> bool:
        """Whether the provider refused, or ended, more than the specified retries."""
        return self.job is None and max(self.refused, self.ended) > SUBMISSIONS_AGAIN

    def name_job(self, execution: str, job: str, now: float) -> Literal["known", "other"]:
        """Names the job that was submitted. The first one wins."""
        self.named.add(job)
        if job in self.ended_jobs:
            return "known"
        if self.job not in {None, job}:
            return "other"
        if self.job is None:
            self.to("job")
            self.holder, self.key, self.job = execution, None, job
        self.unheard = False
        self._word(now + self._silence(), now)
        return "known"

    def progress(self, quiet_for: float, now: float) -> None:
        """Hears how far the job is."""
        if self.wanted:
            self.unheard = False
            self._word(now + max(self._silence(), quiet_for), now)

    def acknowledged(self, now: float, *, speaks: bool) -> None:
        """Hears that N8N took the request. The request has moved already."""
        resent = self.unheard
        self._heard_by_the_resend()
        if self.state in {"none", "running"} and (speaks or (resent and self.state == "running")):
            first = self.rules.first_word if self.state == "none" else 0
            self.quiet_until = now + max(self._silence(), first)

    def be_silent(self, now: float) -> None:
        """The sweep found the quiet time over."""
        if self.quiet_until is None or self.quiet_until > now:
            return
        self.quiet_until = None
        if self.in_a_persons_hands or not self.wanted or self.has_no_submission_left:
            return
        if self.state in {"granted", "doubtful"}:
            self._doubt(now)
        elif self.request.status == "dispatched" and self.resumes < self.rules.resumes:
            self._send_again(now)
            self.unheard = True

    def _doubt(self, now: float) -> None:
        if self.state == "granted":
            self.doubts += 1
            self.to("silent")
        if not self.open:
            return
        if self.rules.when_maybe_paid == "again" and self.doubts < MAYBE_PAID:
            self.to("again")
            if self.request.status == "dispatched":
                self._send_again(now)
                self.unheard = False
        else:
            self.request.move("failed", now, failed_by="bridge", reason="maybe_paid")

    def _send_again(self, now: float) -> None:
        self.request.sent_again += 1
        self.request.move("queued", now)

    def lose(self, execution: str, now: float) -> bool:
        """N8N reports that it lost this execution. Returns whether it held the grant or the job."""
        held = self.is_held and execution == self.holder
        if held and self.open:
            self.quiet_until = now
        return held

    @property
    def is_held(self) -> bool:
        """Whether an execution holds the grant or the job."""
        return self.state in {"granted", "running"}

    def refuse_image(self) -> None:
        """An image did not pass its checks."""
        self.in_a_persons_hands = True

    def restore(self, now: float) -> None:
        """The database was restored from a backup. What happened since is unknown, and grants may still be used."""
        if self.state in {"none", "granted"}:
            self.doubts = self.doubts + 1 if self.state == "granted" else max(1, self.doubts)
            self.to("restored")
        self.quiet_until = now + self.rules.grant

    def replay(self, now: float) -> None:
        """A person sends the request again. The request has moved already."""
        if self.state == "doubtful":
            self.to("replayed")
        if self.state == "granted":
            self.quiet_until = max(now + self.rules.grant, self.quiet_until or 0)
        else:
            self.key = None
        self.refused = self.ended = self.doubts = self.resumes = 0
        self.unheard = self.in_a_persons_hands = False

    def _silence(self) -> float:
        return self.rules.silence * 2.0**self.resumes

    def _heard_by_the_resend(self) -> None:
        self.resumes += self.unheard
        self.unheard = False

    def _word(self, quiet_until: float, now: float) -> None:
        is_grant = self.state == "granted"  # is only extended: its holder may still submit
        self.quiet_until = max(quiet_until, self.quiet_until or 0) if is_grant else quiet_until
        if self.request.status == "queued":
            self.request.move("dispatched", now)
