"""The table of the protocol (interface, "Generation"), one row a test."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from aigen_bridge.domain import generation as rules
from aigen_bridge.domain.generation import (
    Ask,
    Decision,
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
from aigen_bridge.domain.image import StoredImage
from aigen_bridge.domain.request import FailedBy, ImageRequest, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CORRELATION = UUID(int=2, version=4)
QUEUED = ImageRequest(
    request_id=UUID(int=1, version=4),
    correlation_id=CORRELATION,
    event={},
    status=Status.QUEUED,
    version=1,
    created_at=NOW,
    updated_at=NOW,
)
DISPATCHED = replace(QUEUED, status=Status.DISPATCHED)
CANCELLED = replace(QUEUED, status=Status.CANCELLED)
COMPLETED = replace(QUEUED, status=Status.COMPLETED, image=StoredImage("png", 1, 64, 64, "a" * 64))
REFUSED = replace(QUEUED, status=Status.FAILED, failed_by=FailedBy.N8N)
TIMED_OUT = replace(QUEUED, status=Status.FAILED, failed_by=FailedBy.BRIDGE)

JOB, OTHER = (ProviderJob(provider="fal", job_id=job_id) for job_id in ("j1", "j2"))
NONE = Generation()
GRANTED = Generation(state=State.GRANTED, execution_id="e1", ask_key="a")
RUNNING = Generation(state=State.RUNNING, execution_id="e1", job=JOB)
DOUBTFUL = Generation(state=State.DOUBTFUL, doubts=1)
AGAIN, STOP = GenerationPolicy(), GenerationPolicy(when_maybe_paid=WhenMaybePaid.STOP)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def ask(
    generation: Generation,
    request: ImageRequest = DISPATCHED,
    execution: str = "e1",
    key: str | None = "b",
    **how: object,
) -> Outcome:
    asked = Ask(correlation_id=CORRELATION, execution_id=execution, key=key, **how)  # type: ignore[arg-type]
    return rules.ask(generation, request, asked, AGAIN)


def name(
    generation: Generation,
    request: ImageRequest = DISPATCHED,
    execution: str = "e1",
    job: ProviderJob = JOB,
    *,
    has_ended: bool = False,
) -> Outcome:
    named = NamedJob(correlation_id=CORRELATION, execution_id=execution, job=job)
    return rules.name_job(generation, request, named, AGAIN, has_ended=has_ended)


def progress(generation: Generation, request: ImageRequest = DISPATCHED, quiet_for: timedelta | None = None) -> Outcome:
    report = ProgressReport(
        correlation_id=CORRELATION, execution_id="e1", progress=Progress(stage=Stage.QUEUED), quiet_for=quiet_for
    )
    return rules.report_progress(generation, request, report, AGAIN)


@pytest.mark.parametrize("request_", [QUEUED, DISPATCHED, TIMED_OUT], ids=["queued", "dispatched", "timed out"])
def test_none_and_an_ask_is_granted_for_150_s(request_: ImageRequest) -> None:
    outcome = ask(NONE, request_)
    assert (outcome.decision, outcome.quiet) == (Decision.START, seconds(150))
    assert outcome.generation == replace(GRANTED, ask_key="b")


def test_granted_and_the_same_ask_starts_again_for_another_150_s() -> None:
    outcome = ask(GRANTED, key="a")
    assert (outcome.decision, outcome.quiet, outcome.generation) == (Decision.START, seconds(150), GRANTED)


@pytest.mark.parametrize(("execution", "key"), [("e1", "b"), ("e1", None), ("e2", "a")])
def test_granted_and_any_other_ask_waits(execution: str, key: str | None) -> None:
    outcome = ask(GRANTED, execution=execution, key=key)
    assert (outcome.decision, outcome.quiet, outcome.generation) == (Decision.WAIT, None, GRANTED)


def test_an_ask_without_a_key_is_never_the_same() -> None:
    assert ask(replace(GRANTED, ask_key=None), key=None).decision is Decision.WAIT


def test_granted_and_no_job_starts_again_twice_and_then_stops() -> None:
    generation, decisions = GRANTED, []
    for key in ("b", "c", "d", "e"):
        outcome = ask(generation, key=key, no_job=True)
        generation = outcome.generation
        decisions.append(outcome.decision)
    assert decisions == [Decision.START, Decision.START, Decision.STOP, Decision.STOP]
    assert (generation.state, generation.refusals) == (State.NONE, 3)


def test_no_job_counts_once_however_often_the_ask_is_repeated() -> None:
    first = ask(GRANTED, key="b", no_job=True)
    again = ask(first.generation, key="b", no_job=True)
    assert (again.decision, again.generation.refusals) == (Decision.START, 1)


def test_no_job_of_another_execution_than_the_holder_waits() -> None:
    assert ask(GRANTED, execution="e2", no_job=True) == Outcome(generation=GRANTED, decision=Decision.WAIT)


def test_granted_and_the_quiet_time_over_is_doubtful_and_with_again_sent_again_from_none() -> None:
    outcome = rules.fall_silent(GRANTED, DISPATCHED, AGAIN)
    assert outcome.generation == Generation(doubts=1)
    assert outcome.transition
    assert outcome.transition.after is Status.QUEUED
    assert "resumed" in (outcome.transition.note or "")


@pytest.mark.parametrize(
    ("generation", "policy"), [(GRANTED, STOP), (replace(GRANTED, doubts=1), AGAIN)], ids=["stop", "no grant left"]
)
@pytest.mark.parametrize("request_", [QUEUED, DISPATCHED], ids=["queued", "dispatched"])
def test_doubtful_and_no_other_grant_fails_as_maybe_paid(
    generation: Generation, policy: GenerationPolicy, request_: ImageRequest
) -> None:
    outcome = rules.fall_silent(generation, request_, policy)
    assert (outcome.generation.state, outcome.generation.doubts) == (State.DOUBTFUL, generation.doubts + 1)
    assert outcome.transition
    failed = (outcome.transition.after, outcome.transition.failed_by, outcome.transition.error_code)
    assert failed == (Status.FAILED, FailedBy.BRIDGE, "maybe_paid")


@pytest.mark.parametrize("policy", [AGAIN, STOP], ids=["again", "stop"])
@pytest.mark.parametrize("generation", [GRANTED, DOUBTFUL, replace(DOUBTFUL, doubts=2)])
def test_a_grant_that_is_silent_after_the_bridge_failed_the_request_stays_doubtful(
    generation: Generation, policy: GenerationPolicy
) -> None:
    outcome = rules.fall_silent(generation, TIMED_OUT, policy)
    assert outcome.generation.state is State.DOUBTFUL
    assert (outcome.transition, outcome.quiet) == (None, None)
    assert ask(outcome.generation, TIMED_OUT).decision is Decision.STOP


def test_doubtful_and_an_ask_waits_until_it_is_decided() -> None:
    assert ask(DOUBTFUL) == Outcome(generation=DOUBTFUL, decision=Decision.WAIT)


@pytest.mark.parametrize("request_", [QUEUED, DISPATCHED, TIMED_OUT, CANCELLED, COMPLETED, REFUSED])
@pytest.mark.parametrize("generation", [NONE, GRANTED, DOUBTFUL], ids=["none", "granted", "doubtful"])
def test_any_and_the_first_job_named_is_running_with_its_sender_as_the_holder(
    generation: Generation, request_: ImageRequest
) -> None:
    outcome = name(generation, request_, execution="e2")
    assert (outcome.generation.state, outcome.generation.job) == (State.RUNNING, JOB)
    assert (outcome.generation.execution_id, outcome.is_other_job) == ("e2", False)


def test_running_and_another_job_named_changes_nothing_and_is_told() -> None:
    outcome = name(RUNNING, execution="e2", job=OTHER)
    assert (outcome.generation, outcome.is_other_job, outcome.quiet) == (RUNNING, True, None)


def test_running_and_the_same_job_named_changes_nothing() -> None:
    outcome = name(RUNNING, execution="e2")
    assert (outcome.generation, outcome.is_other_job) == (RUNNING, False)


def test_a_job_that_ended_is_not_the_first_again() -> None:
    assert name(NONE, has_ended=True) == Outcome(generation=NONE)


def test_running_and_an_ask_resumes_and_the_asker_is_the_holder() -> None:
    outcome = ask(RUNNING, execution="e2")
    assert (outcome.decision, outcome.generation.execution_id, outcome.generation.job) == (Decision.RESUME, "e2", JOB)


def test_a_known_job_is_resumed_although_no_further_submission_is_permitted() -> None:
    late = name(replace(NONE, refusals=3), execution="e0").generation
    assert ask(late).decision is Decision.RESUME
    assert rules.fall_silent(late, DISPATCHED, AGAIN).transition


@pytest.mark.parametrize(("resumes", "quiet"), [(0, 30), (1, 60), (2, 120), (3, 240)])
def test_the_silence_doubles_with_each_acknowledged_resume(resumes: int, quiet: int) -> None:
    running = replace(RUNNING, resumes=resumes)
    assert {o.quiet for o in (ask(running), name(running), progress(running))} == {seconds(quiet)}


def test_running_and_the_quiet_time_over_is_sent_again_with_the_job() -> None:
    outcome = rules.fall_silent(RUNNING, DISPATCHED, AGAIN)
    assert outcome.generation == replace(RUNNING, is_resuming=True)
    assert outcome.transition
    assert outcome.transition.after is Status.QUEUED


def test_a_resume_counts_once_it_is_acknowledged() -> None:
    resuming = replace(RUNNING, is_resuming=True)
    acknowledged = rules.acknowledge(resuming, AGAIN, speaks=False)
    assert (acknowledged.generation, acknowledged.quiet) == (replace(RUNNING, resumes=1), seconds(60))
    asked = ask(resuming, QUEUED, execution="e2").generation
    assert (asked.resumes, asked.is_resuming) == (1, False)
    assert progress(resuming, QUEUED).generation == RUNNING


def test_after_the_permitted_resumes_the_request_is_left_to_its_deadline() -> None:
    running = replace(RUNNING, resumes=3)
    assert rules.fall_silent(running, DISPATCHED, AGAIN) == Outcome(generation=running)


def test_running_and_an_ended_job_starts_again_twice_and_then_stops() -> None:
    generation, decisions = RUNNING, []
    for number in range(1, 4):
        outcome = ask(generation, ended_job=f"j{number}", key=f"k{number}")
        assert outcome.ended_job == generation.job
        decisions.append(outcome.decision)
        if outcome.decision is Decision.START:
            generation = name(outcome.generation, job=ProviderJob(provider="fal", job_id=f"j{number + 1}")).generation
    assert decisions == [Decision.START, Decision.START, Decision.STOP]
    assert (outcome.generation.state, outcome.generation.job) == (State.NONE, None)


def test_an_ended_job_that_is_not_the_known_one_resumes_the_known_one() -> None:
    assert ask(RUNNING, ended_job="j0").decision is Decision.RESUME


@pytest.mark.parametrize("generation", [GRANTED, RUNNING], ids=["granted", "running"])
def test_a_failure_counts_from_the_holder_and_from_who_has_no_id(generation: Generation) -> None:
    held = [generation.is_held_by_another(execution) for execution in ("e1", None, "e2")]
    assert held == [False, False, True]


@pytest.mark.parametrize("generation", [NONE, DOUBTFUL], ids=["none", "doubtful"])
def test_a_failure_counts_from_anybody_while_nobody_holds_the_generation(generation: Generation) -> None:
    assert not generation.is_held_by_another("e2")


@pytest.mark.parametrize("request_", [CANCELLED, COMPLETED, REFUSED], ids=["cancelled", "completed", "refused"])
@pytest.mark.parametrize(
    "generation", [NONE, GRANTED, RUNNING, DOUBTFUL], ids=["none", "granted", "running", "doubtful"]
)
def test_done_and_an_ask_stops_and_a_silence_has_no_effect(generation: Generation, request_: ImageRequest) -> None:
    stopped = Outcome(generation=generation, decision=Decision.STOP)
    assert [ask(generation, request_, key=key) for key in ("a", "b")] == [stopped, stopped]
    assert ask(generation, request_, no_job=True, ended_job="j1") == stopped
    assert rules.fall_silent(generation, request_, AGAIN) == Outcome(generation=generation)
    assert progress(generation, request_) == Outcome(generation=generation)


def test_a_refused_image_is_never_sent_for_again() -> None:
    for generation in (GRANTED, RUNNING):
        suspended = rules.suspend(generation)
        assert rules.fall_silent(suspended, DISPATCHED, AGAIN) == Outcome(generation=suspended)


@pytest.mark.parametrize(
    ("before", "after"),
    [(GRANTED, GRANTED), (RUNNING, RUNNING), (DOUBTFUL, NONE), (NONE, NONE)],
    ids=["granted", "running", "doubtful", "none"],
)
def test_a_replay_keeps_a_job_and_a_live_grant_and_begins_again_otherwise(
    before: Generation, after: Generation
) -> None:
    counted = replace(before, refusals=3, ended_jobs=1, doubts=1, resumes=2, is_suspended=True)
    assert rules.replay(counted).generation == after


@pytest.mark.parametrize("generation", [NONE, GRANTED, DOUBTFUL], ids=["none", "granted", "doubtful"])
def test_after_a_restore_nothing_is_granted_until_all_earlier_grants_are_over(generation: Generation) -> None:
    restored = rules.doubt_after_restore(generation)
    assert (restored.generation.state, restored.quiet) == (State.DOUBTFUL, seconds(150))
    assert ask(restored.generation).decision is Decision.WAIT
    assert rules.doubt_after_restore(restored.generation).generation.doubts == 1


def test_after_a_restore_a_known_job_stays() -> None:
    assert rules.doubt_after_restore(RUNNING).generation == RUNNING


@pytest.mark.parametrize("asked_for", [None, 20, 400])
def test_who_asks_for_more_quiet_gets_it(asked_for: int | None) -> None:
    quiet_for = seconds(asked_for) if asked_for else None
    longer = asked_for or 0
    assert ask(NONE, quiet_for=quiet_for).quiet == seconds(max(150, longer))
    assert ask(RUNNING, quiet_for=quiet_for).quiet == seconds(max(30, longer))
    assert progress(RUNNING, quiet_for=quiet_for).quiet == seconds(max(30, longer))


def test_a_word_never_shortens_the_time_of_a_grant() -> None:
    words = (ask(NONE), ask(GRANTED, key="a"), progress(GRANTED), rules.replay(GRANTED))
    assert all(outcome.extends_only for outcome in words)
    assert not any(outcome.extends_only for outcome in (name(GRANTED), ask(RUNNING), progress(RUNNING)))


@pytest.mark.parametrize("word", [ask, name, progress])
def test_a_word_moves_a_queued_request_on(word: object) -> None:
    moved = word(RUNNING, QUEUED).transition  # type: ignore[operator]
    assert moved
    assert moved.after is Status.DISPATCHED
    assert word(RUNNING, DISPATCHED).transition is None  # type: ignore[operator]


@pytest.mark.parametrize(
    ("generation", "speaks", "quiet"),
    [
        (NONE, True, 120),
        (NONE, False, None),
        (RUNNING, True, 30),
        (RUNNING, False, None),
        (GRANTED, True, None),
        (DOUBTFUL, True, None),
        (replace(NONE, resumes=3), True, 240),
        (replace(RUNNING, is_resuming=True), False, 60),
        (replace(NONE, is_resuming=True), False, None),  # it may pay without a word
    ],
)
def test_only_an_execution_that_speaks_the_protocol_is_silent_from_the_start(
    generation: Generation, *, speaks: bool, quiet: int | None
) -> None:
    outcome = rules.acknowledge(generation, AGAIN, speaks=speaks)
    assert outcome.quiet == (seconds(quiet) if quiet else None)
