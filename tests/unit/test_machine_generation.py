"""Stateful test: in any order of events, the rules of a generation agree with the model of the protocol's table."""

from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from aigen_bridge.domain import generation as rules
from aigen_bridge.domain.generation import (
    STATE_CHANGES,
    Ask,
    Generation,
    GenerationPolicy,
    NamedJob,
    Outcome,
    Progress,
    ProgressReport,
    ProviderJob,
    Stage,
    State,
    WhenMaybePaid,
)
from aigen_bridge.domain.request import FailedBy, ImageRequest, Status, Transition
from aigen_bridge.pipeline.expire import timed_out
from machine.applying import made
from machine.expected import ENDED, Expected
from machine.generating import GRANT, NEXT, ExpectedGeneration, Rules
from machine.profile import profile
from machine.world import PICTURES, correlation_id, request_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUBMITS_WITHIN = 60
EVENTS = (
    *("asks",) * 10,
    *("time passes",) * 8,
    *("names a job", "takes the request") * 5,
    *("reports progress",) * 3,
    *("is lost", "deadline", "replay", "replay", "restore", "image", "refused", "failure", "cancel"),
)
"""By weight."""
AFTER_THE_END = 4
"""Events after the end of a request, before the next one is accepted."""
policies = st.builds(Rules, st.just(30), st.sampled_from([1, 3]), st.sampled_from(["again", "again", "stop"]))
keys = st.sampled_from(["new", "new", "the same", None])
costs = st.sampled_from(["nothing", "no job", "its ended job", "another ended job"])


class GenerationMachine(RuleBasedStateMachine):
    """One request with its generation, written as a store must, beside their models.

    `submitters` are the executions that may still submit a job, by the end of that time. `grants` counts the starts,
    and `free` the submissions that cost nothing, since the request was accepted or replayed.
    """

    @initialize(policy=policies)
    def a_policy_is_chosen(self, policy: Rules) -> None:
        self.rules = policy
        when = WhenMaybePaid(policy.when_maybe_paid)
        self.policy = GenerationPolicy(timedelta(seconds=policy.silence), policy.resumes, when)
        self.now: float = 0
        self.keys = self.jobs = 0
        self._accept()

    def _accept(self) -> None:
        ids = {"request_id": request_id(0), "correlation_id": correlation_id(0), "event": {}}
        self.request = ImageRequest(**ids, status=Status.QUEUED, version=1, created_at=NOW, updated_at=NOW)
        self.generation = Generation()
        self.expected = ExpectedGeneration(self.rules, Expected(0))
        self.quiet_until: float | None = None
        self.ended_jobs: set[str] = set()
        self.grants = self.free = self.after_the_end = 0
        self.submitters: dict[str, float] = {}

    @rule(
        event=st.sampled_from(EVENTS),
        execution=st.sampled_from(["the holder", "the holder", "e1", "e2"]),
        key=keys,
        cost=costs,
        quiet_for=st.sampled_from([0, 0, 400]),
        often=st.sampled_from([True, True, False]),
    )
    def happens(self, event: str, execution: str, key: str | None, cost: str, quiet_for: int, often: bool) -> None:  # noqa: FBT001 - drawn by name
        """Performs one event. With a rule for each, most examples would omit whole events and combine little."""
        execution = (self.expected.holder or "e1") if execution == "the holder" else execution
        match event:
            case "asks":
                self.ask(execution, key, cost, quiet_for)
            case "names a job":
                self.name_job(execution, is_new=often)
            case "reports progress":
                self.report_progress(execution, quiet_for)
            case "takes the request":
                self.acknowledge(speaks=often)
            case "time passes":
                self.pass_time(61 if not often else 1 if cost == "no job" else None)
            case "is lost":
                self.lose(execution)
            case _:
                self.end_or_begin_again(event, execution if often else None)
        self.after_the_end += not self.expected.wanted
        if self.after_the_end > AFTER_THE_END:
            self._accept()

    def write(self, outcome: Outcome, *, at_an_end: bool = False) -> None:
        """Writes an outcome as the store must. `at_an_end`: the quiet time is over."""
        if outcome.quiet is not None:
            before = (self.quiet_until or 0) if outcome.extends_only else 0
            self.quiet_until = max(self.now + outcome.quiet.total_seconds(), before)
        elif at_an_end:
            self.quiet_until = None
        if outcome.ended_job:
            self.ended_jobs.add(outcome.ended_job.job_id)
        self.generation = outcome.generation
        if outcome.transition:
            self.move(outcome.transition)

    def move(self, transition: Transition) -> None:
        moved = made(self.request, transition)
        assert moved, f"{transition.before} but it is {self.request.status}"
        self.request = moved

    def ask(self, execution: str, key: str | None, cost: str, quiet_for: int) -> None:
        self.keys += key == "new"
        key = {"new": f"key {self.keys}", "the same": self.expected.key}.get(key or "")
        ended = {"its ended job": self.expected.job, "another ended job": "j0"}.get(cost)
        how: dict[str, Any] = {"no_job": cost == "no job", "ended_job": ended}
        asked = Ask(
            correlation_id=correlation_id(0), execution_id=execution, key=key, **how, quiet_for=_seconds(quiet_for)
        )
        is_known, is_done = self.generation.job is not None, not self.expected.wanted
        is_repeat = key is not None and (execution, key) == (self.generation.execution_id, self.generation.ask_key)
        before = self.expected.refused, self.expected.ended
        outcome = rules.ask(self.generation, self.request, asked, self.policy)
        decision = self.expected.ask(execution, key, self.now, **how, quiet_for=quiet_for)
        assert outcome.decision == decision
        gave_up = (self.expected.refused, self.expected.ended) != before
        self.free += gave_up
        if gave_up:
            self.submitters.clear()
        assert decision == "stop" or not is_done, "after the end, N8N is told to stop"
        assert decision != "start" or not is_known or gave_up, "started while a job is known"
        if decision == "start" and not is_repeat:
            self._grant(execution)
        self.write(outcome)

    def _grant(self, execution: str) -> None:
        live = [other for other, until in self.submitters.items() if until > self.now]
        assert not live, f"{execution} may start while {live} may still submit a job"
        self.submitters[execution] = self.now + SUBMITS_WITHIN
        self.grants += 1
        second = self.policy.when_maybe_paid is WhenMaybePaid.AGAIN
        assert self.grants <= 1 + self.free + second
        assert self.grants <= 1 + 2 + 2 + second

    def name_job(self, execution: str, *, is_new: bool) -> None:
        before = self.generation.job
        self.jobs += is_new
        job = f"j{self.jobs if is_new else self.jobs // 2}"
        named = NamedJob(
            correlation_id=correlation_id(0),
            execution_id=execution,
            job=ProviderJob(provider="fal", job_id=job),
        )
        has_ended = job in self.ended_jobs
        outcome = rules.name_job(self.generation, self.request, named, self.policy, has_ended=has_ended)
        assert outcome.is_other_job == (self.expected.name_job(execution, job, self.now) == "other")
        self.write(outcome)
        assert before is None or self.generation.job is before, "the first job was replaced"
        if self.generation.job is not before:
            self.submitters.clear()  # a grant that a late job overtakes is the documented hole

    def report_progress(self, execution: str, quiet_for: int) -> None:
        before = self.request
        report = ProgressReport(
            correlation_id=correlation_id(0),
            execution_id=execution,
            progress=Progress(stage=Stage.GENERATING),
            quiet_for=_seconds(quiet_for),
        )
        self.write(rules.report_progress(self.generation, self.request, report, self.policy))
        self.expected.progress(quiet_for, self.now)
        assert before.status not in ENDED or self.request == before, "progress changed a final request"

    def acknowledge(self, *, speaks: bool) -> None:
        if self.request.status is Status.QUEUED:
            taken = Transition(request_id=request_id(0), before=frozenset({Status.QUEUED}), after=Status.DISPATCHED)
            self.move(taken)
            self.write(rules.acknowledge(self.generation, self.policy, speaks=speaks))
            self.expected.request.move("dispatched", self.now)
            self.expected.acknowledged(self.now, speaks=speaks)

    def lose(self, execution: str) -> None:
        """N8N reports a lost execution, and the sweep comes by."""
        held = self.generation.holder == execution
        if held and self.expected.open:
            self.write(rules.lose_holder(self.generation))
        assert held == self.expected.lose(execution, self.now)
        self.submitters.pop(execution, None)
        self.pass_time(0)

    def end_or_begin_again(self, event: str, execution: str | None) -> None:
        """An image that is taken or refused, the failure that an execution reports, a deadline, or a person."""
        model = self.expected.request
        match event:
            case "refused":
                self.write(Outcome(generation=rules.suspend(self.generation)))
                self.expected.refuse_image()
            case "image" if self.expected.wanted:
                self._end(Status.COMPLETED, image=PICTURES["harbour"].described)
                model.move("completed", self.now, image="harbour")
            case "cancel" if self.expected.open:
                self._end(Status.CANCELLED)
                model.move("cancelled", self.now)
            case "failure" if self.expected.open:
                self._fail(execution)
            case "deadline" if model.status == "dispatched":
                self.move(timed_out(request_id(0), timedelta(minutes=10)))
                model.move("failed", self.now, failed_by="bridge", reason="timed_out")
            case "replay" if model.failed_by == "bridge":
                self._replay()
            case "restore" if self.expected.open:
                self.write(rules.doubt_after_restore(self.generation), at_an_end=True)
                self.expected.restore(self.now)

    def _fail(self, execution: str | None) -> None:
        is_other = self.expected.is_held and execution not in {None, self.expected.holder}
        assert self.generation.is_held_by_another(execution) == is_other
        if not is_other:
            self._end(Status.FAILED, failed_by=FailedBy.N8N, error_code="content_policy")
            self.expected.request.move("failed", self.now, failed_by="n8n", reason="content_policy")

    def _end(self, after: Status, **how: Any) -> None:
        before = frozenset({self.request.status})
        self.move(Transition(request_id=request_id(0), before=before, after=after, **how))

    def pass_time(self, seconds: float | None) -> None:
        """Passes time and sweeps. None: until the quiet time is over."""
        rest = max(0, (self.quiet_until or self.now) - self.now)
        self.now += rest if seconds is None else seconds
        self._sweep()
        self.expected.be_silent(self.now)

    def _sweep(self) -> None:
        if self.quiet_until is not None and self.quiet_until <= self.now:
            self.write(rules.fall_silent(self.generation, self.request, self.policy), at_an_end=True)

    def _replay(self) -> None:
        again = Transition(request_id=request_id(0), before=frozenset({Status.FAILED}), after=Status.QUEUED)
        self.move(again)
        self.write(rules.replay(self.generation))
        self.expected.request.move("queued", self.now)
        self.expected.replay(self.now)
        self.grants, self.free = int(self.generation.state is State.GRANTED), 0

    @invariant()
    def the_generation_is_as_the_table_says(self) -> None:
        found, wanted = self.generation, self.expected
        assert (found.state, found.execution_id, found.ask_key) == (wanted.state, wanted.holder, wanted.key)
        assert (found.job and found.job.job_id) == wanted.job
        counted = (found.refusals, found.ended_jobs, found.doubts, found.resumes, found.is_resuming)
        assert counted == (wanted.refused, wanted.ended, wanted.doubts, wanted.resumes, wanted.unheard)
        assert (self.quiet_until, self.ended_jobs) == (wanted.quiet_until, wanted.ended_jobs)
        assert found.resumes <= self.policy.resumes

    @invariant()
    def the_request_is_as_the_table_says(self) -> None:
        request, wanted = self.request, self.expected.request
        assert (request.status, request.version) == (wanted.status, wanted.version)
        assert (request.failed_by, request.error_code) == (wanted.failed_by, wanted.reason)
        assert (rules.effective_state(self.generation, request) is State.DONE) == (not self.expected.wanted)


TestGeneration = GenerationMachine.TestCase
TestGeneration.settings = profile(examples=100, steps=40)


def _seconds(seconds: int) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def test_the_state_changes_are_those_of_the_table() -> None:
    changes = {state: {State(after) for (before, _), after in NEXT.items() if before == state} for state in State}
    assert changes == {state: set(after) for state, after in STATE_CHANGES.items()}
    assert rules.GRANT_QUIET.total_seconds() == GRANT
