"""However an entry fails, its tries keep to the schedule of its step and come to an end."""

from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from aigen_bridge.domain.errors import PermanentError, StepError, TransientError
from aigen_bridge.domain.retry import GiveUp, decide
from aigen_bridge.pipeline.deliver import POLICY as DELIVER
from aigen_bridge.pipeline.dispatch import POLICY as DISPATCH
from aigen_bridge.pipeline.fetch import POLICY as FETCH
from machine.profile import profile

START = datetime(2026, 1, 1, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)
POLICIES = {"dispatch": DISPATCH, "fetch": FETCH, "deliver": DELIVER}
DISPATCH_GAPS = (1 * SECOND, 2 * SECOND, 4 * SECOND)
"""Specified: three more tries after the first, 1, 2 and 4 seconds apart (REQ-IL-009)."""
LIVES = {"dispatch": None, "fetch": HOUR, "deliver": 24 * HOUR}
LONGEST_GAP = {"dispatch": 4 * SECOND, "fetch": 15 * SECOND, "deliver": 360 * SECOND}
steps, minutes = st.sampled_from(sorted(POLICIES)), st.sampled_from([None, 6, 60, 600])


class RetryMachine(RuleBasedStateMachine):
    """Entries that only ever fail, one after the other; `tries` counts lost leases, too."""

    def __init__(self) -> None:
        super().__init__()
        self.now = START
        self.tries = 0
        self.ended = False
        self.step = ""
        self.url_ends_at: datetime | None = None

    @initialize(step=steps, url_lives=minutes)
    def it_is_owed(self, step: str, url_lives: int | None) -> None:
        self.step, self.now, self.tries, self.ended = step, START, 0, False
        self.url_ends_at = START + timedelta(minutes=url_lives) if step == "fetch" and url_lives else None

    @precondition(lambda self: self.ended)
    @rule(step=steps, url_lives=minutes)
    def it_has_ended_and_another_is_owed(self, step: str, url_lives: int | None) -> None:
        self.it_is_owed(step, url_lives)

    def fails(self, error: StepError, seed: int) -> timedelta | None:
        """The wait until the next try, or None when there is none."""
        self.tries += 1
        policy = POLICIES[self.step]
        until = policy.until(START, self.url_ends_at)
        verdict = decide(policy, self.tries, error, self.now, until, Random(seed))
        self.ended = isinstance(verdict, GiveUp)
        if isinstance(verdict, GiveUp):
            return None
        assert verdict.at > self.now
        assert all(verdict.at <= end for end in self.ends())
        wait, self.now = verdict.at - self.now, verdict.at
        return wait

    def ends(self) -> list[datetime]:
        """After which nothing may be tried any more."""
        life = LIVES[self.step]
        return [end for end in (START + life if life else None, self.url_ends_at) if end]

    @precondition(lambda self: not self.ended)
    @rule(seed=st.integers(0, 3), asked_for=st.sampled_from([None, None, None, 0, 3, 600]))
    def it_fails_for_now(self, seed: int, asked_for: int | None) -> None:
        at_least = (asked_for or 0) * SECOND
        late = self.now
        wait = self.fails(TransientError("http_503", "busy", retry_after=at_least if asked_for else None), seed)
        if any(late + at_least > end for end in self.ends()):
            at_least = 0 * SECOND  # no time is left for it, so the schedule of the step counts
        longest = max(LONGEST_GAP[self.step], at_least)
        if wait is None:
            over = any(late + longest > end for end in self.ends())
            assert over or (self.step == "dispatch" and self.tries > len(DISPATCH_GAPS)), "given up too early"
        else:
            assert at_least <= wait <= longest
            if self.step == "dispatch":
                assert wait == max(DISPATCH_GAPS[self.tries - 1], at_least)

    @precondition(lambda self: not self.ended)
    @rule(seed=st.integers(0, 3))
    def it_fails_for_good(self, seed: int) -> None:
        assert self.fails(PermanentError("http_404", "no"), seed) is None

    @precondition(lambda self: not self.ended)
    @rule(tries=st.integers(1, 3))
    def a_bug_of_ours_may_pass_only_so_often(self, tries: int) -> None:
        before = self.tries
        wait = self.fails(TransientError("unexpected", "?", tries=tries), 0)
        assert wait is None or before + 1 < tries

    @precondition(lambda self: not self.ended)
    @rule(seconds=st.sampled_from([1, 60, 3600]))
    def a_lease_is_lost(self, seconds: int) -> None:
        self.tries += 1
        self.now += seconds * SECOND

    def teardown(self) -> None:
        """Left alone with an error that passes, it ends all the same: dead, or tried until its time is over."""
        for _ in range(2000):
            if self.ended or not self.step:
                return
            self.fails(TransientError("http_503", "busy"), 0)
        raise AssertionError("it would be tried for ever")


TestRetry = RetryMachine.TestCase
TestRetry.settings = profile(examples=80, steps=15)
