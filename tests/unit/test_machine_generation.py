"""Stateful test: in any order of events, the rules of a generation agree with the model of the protocol's table."""

from dataclasses import replace
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
from machine.base import Action, actions
from machine.expected import ENDED, Expected
from machine.generating import GRANT, NEXT, ExpectedGeneration, Rules
from machine.profile import profile
from machine.world import PICTURES, correlation_id, request_id

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SUBMITS_WITHIN = 60
JOBS = ("j1", "j2", "j3")
executions, jobs = st.sampled_from(["e1", "e2", "e3"]), st.sampled_from(JOBS)
quiet_times = st.sampled_from([0, 0, 0, 40, 400])
policies = st.builds(Rules, st.just(30), st.integers(0, 3), st.sampled_from(["again", "again", "stop"]))

ASKS = actions(
    "n8n_asks",
    execution=executions,
    key=st.sampled_from(["a", "b", "c", None]),
    quiet_for=quiet_times,
    with_what=st.sampled_from(["nothing", "nothing", "no job", "its ended job", "some ended job"]),
)
JOB = actions("n8n_names_a_job", execution=executions, job=jobs)
PROGRESS = actions("n8n_reports_progress", execution=executions, quiet_for=quiet_times)
ACKNOWLEDGED = actions("n8n_takes_the_request", speaks=st.sampled_from([True, True, False]))
LOST = actions("n8n_loses_an_execution", execution=executions)
CALLBACK = actions(
    "n8n_reports", what=st.sampled_from(["image", "refused", "failure"]), execution=st.one_of(st.none(), executions)
)
TIME = actions("time_passes", seconds=st.sampled_from([1, 10, 31, 61, 121, 151, 500]), swept=st.booleans())
PEOPLE = actions("people", what=st.sampled_from(["cancel", "deadline", "deadline", "replay", "replay", "restore"]))


class GenerationMachine(RuleBasedStateMachine):
    """One request with its generation, written as a store must, beside their models.

    `submitters` are the executions that may still submit a job, by the end of that time. `grants` counts the starts,
    and `free` the submissions that cost nothing, since the request was accepted or replayed.
    """

    @initialize(policy=policies)
    def it_is_accepted(self, policy: Rules) -> None:
        ids = {"request_id": request_id(0), "correlation_id": correlation_id(0), "event": {}}
        self.request = ImageRequest(**ids, status=Status.QUEUED, version=1, created_at=NOW, updated_at=NOW)
        self.generation = Generation()
        self.expected = ExpectedGeneration(policy, Expected(0))
        when = WhenMaybePaid(policy.when_maybe_paid)
        self.policy = GenerationPolicy(timedelta(seconds=policy.silence), policy.resumes, when)
        self.quiet_until: float | None = None
        self.ended_jobs: set[str] = set()
        self.now = self.grants = self.free = 0
        self.submitters: dict[str, int] = {}

    @rule(action=st.one_of(ASKS, ASKS, ASKS, JOB, JOB, PROGRESS, ACKNOWLEDGED, LOST, CALLBACK, TIME, TIME, PEOPLE))
    def happens(self, action: Action) -> None:
        """Performs one action of any actor."""
        getattr(self, action["who"])(**{name: drawn for name, drawn in action.items() if name != "who"})

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

    def n8n_asks(self, execution: str, key: str | None, quiet_for: int, with_what: str) -> None:
        known = self.expected.job or "j1"
        ended = {"its ended job": known, "some ended job": JOBS[self.now % len(JOBS)]}.get(with_what)
        how: dict[str, Any] = {"no_job": with_what == "no job", "ended_job": ended}
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

    def n8n_names_a_job(self, execution: str, job: str) -> None:
        before = self.generation.job
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

    def n8n_reports_progress(self, execution: str, quiet_for: int) -> None:
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

    def n8n_takes_the_request(self, speaks: bool) -> None:  # noqa: FBT001 - drawn by name
        if self.request.status is Status.QUEUED:
            taken = Transition(request_id=request_id(0), before=frozenset({Status.QUEUED}), after=Status.DISPATCHED)
            self.move(taken)
            self.write(rules.acknowledge(self.generation, self.policy, speaks=speaks))
            self.expected.request.move("dispatched", self.now)
            self.expected.acknowledged(self.now, speaks=speaks)

    def n8n_loses_an_execution(self, execution: str) -> None:
        held = self.generation.holder == execution
        if held:
            self.write(rules.lose_holder(self.generation))
            self._sweep()
        assert held == self.expected.lose(execution, self.now)
        self.submitters.pop(execution, None)

    def n8n_reports(self, what: str, execution: str | None) -> None:
        """An image that is taken or refused, or the failure that an execution reports."""
        model = self.expected.request
        is_taken = self.expected.wanted and (what != "failure" or self.expected.open)
        if what == "refused":
            self.generation = replace(self.generation, is_suspended=True)
            self.expected.refuse_image()
        elif what == "image" and is_taken:
            described = PICTURES["harbour"].described
            before = frozenset({self.request.status})
            self.move(Transition(request_id=request_id(0), before=before, after=Status.COMPLETED, image=described))
            model.move("completed", self.now, image="harbour")
        elif what == "failure":
            held = self.expected.state in {"granted", "running"} and execution not in {None, self.expected.holder}
            assert self.generation.is_held_by_another(execution) == held
            if is_taken and not held:
                self._fail(FailedBy.N8N, "content_policy")
                model.move("failed", self.now, failed_by="n8n", reason="content_policy")

    def _fail(self, by: FailedBy, code: str) -> None:
        before = frozenset({self.request.status})
        failed = {"before": before, "after": Status.FAILED, "failed_by": by, "error_code": code}
        self.move(Transition(request_id=request_id(0), **failed))

    def time_passes(self, seconds: int, swept: bool) -> None:  # noqa: FBT001 - drawn by name
        self.now += seconds
        if swept:
            self._sweep()
            self.expected.be_silent(self.now)

    def _sweep(self) -> None:
        if self.quiet_until is not None and self.quiet_until <= self.now:
            self.write(rules.fall_silent(self.generation, self.request, self.policy), at_an_end=True)

    def people(self, what: str) -> None:
        model = self.expected.request
        is_open = model.status in {"queued", "dispatched"}
        if what == "cancel" and is_open:
            before = frozenset({self.request.status})
            self.move(Transition(request_id=request_id(0), before=before, after=Status.CANCELLED))
            model.move("cancelled", self.now)
        elif what == "deadline" and model.status == "dispatched":
            self.move(timed_out(request_id(0), timedelta(minutes=10)))
            model.move("failed", self.now, failed_by="bridge", reason="timed_out")
        elif what == "replay" and model.failed_by == "bridge":
            self._replay()
        elif what == "restore" and is_open:
            self.write(rules.doubt_after_restore(self.generation), at_an_end=True)
            self.expected.restore(self.now)

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
TestGeneration.settings = profile(examples=60, steps=25)


def _seconds(seconds: int) -> timedelta | None:
    return timedelta(seconds=seconds) if seconds else None


def test_the_state_changes_are_those_of_the_table() -> None:
    changes = {state: {State(after) for (before, _), after in NEXT.items() if before == state} for state in State}
    assert changes == {state: set(after) for state, after in STATE_CHANGES.items()}
    assert rules.GRANT_QUIET.total_seconds() == GRANT
