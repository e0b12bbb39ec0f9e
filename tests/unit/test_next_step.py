"""The next step of a request that N8N has: what happens if N8N falls silent, and when."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from aigen_bridge.contracts.views import next_step
from aigen_bridge.domain.generation import Generation, GenerationPolicy, ProviderJob, State, WhenMaybePaid
from aigen_bridge.domain.request import FailedBy, ImageRequest, Status, Step
from aigen_bridge.domain.timeline import PendingEntry, PendingGeneration, PendingWork

NOW = datetime(2026, 1, 31, 18, tzinfo=UTC)
SILENT, DEADLINE = NOW + timedelta(seconds=30), NOW + timedelta(minutes=10)
REQUEST = ImageRequest(
    request_id=uuid4(),
    correlation_id=uuid4(),
    event={},
    status=Status.DISPATCHED,
    version=2,
    created_at=NOW,
    updated_at=NOW,
)
NONE = Generation()
GRANTED = Generation(state=State.GRANTED, execution_id="7")
RUNNING = Generation(state=State.RUNNING, execution_id="7", job=ProviderJob(provider="fal", job_id="job-1"))
DOUBTFUL = Generation(state=State.DOUBTFUL, doubts=1)
AGAIN, STOP = GenerationPolicy(), GenerationPolicy(when_maybe_paid=WhenMaybePaid.STOP)
SENT_AGAIN = "Without a word until then, the request is sent to N8N again."
FAILS = "Without a word until then, the request fails as maybe_paid."
TIMES_OUT = "Without a result, the request fails as timed_out at the deadline. A late result is still accepted."


def work(generation: Generation, policy: GenerationPolicy = AGAIN, at: datetime | None = SILENT) -> PendingWork:
    return PendingWork((), DEADLINE, PendingGeneration(generation, policy, at, is_n8n_out=False))


@pytest.mark.parametrize(
    ("generation", "policy", "what"),
    [
        (NONE, AGAIN, f"Waiting for N8N's result. {SENT_AGAIN}"),
        (GRANTED, AGAIN, f"N8N execution 7 may submit one job to the AI service, and names it. {SENT_AGAIN}"),
        (GRANTED, STOP, f"N8N execution 7 may submit one job to the AI service, and names it. {FAILS}"),
        (
            replace(GRANTED, doubts=1),
            AGAIN,
            f"N8N execution 7 may submit one job to the AI service, and names it. {FAILS}",
        ),
        (RUNNING, STOP, f"N8N polls job job-1 at fal. {SENT_AGAIN}"),
        (DOUBTFUL, AGAIN, f"The image may have been paid for, and no job is known. {SENT_AGAIN}"),
    ],
)
def test_it_is_what_happens_if_n8n_falls_silent(generation: Generation, policy: GenerationPolicy, what: str) -> None:
    step = next_step(REQUEST, work(generation, policy))

    assert (step.what, step.at) == (what, SILENT)


@pytest.mark.parametrize(
    ("pending", "what"),
    [
        (PendingWork((), DEADLINE), f"Waiting for N8N's result. {TIMES_OUT}"),
        (work(NONE, at=None), f"Waiting for N8N's result. {TIMES_OUT}"),
        (work(replace(RUNNING, resumes=3)), f"N8N polls job job-1 at fal. {TIMES_OUT}"),
        (work(RUNNING, at=DEADLINE + timedelta(seconds=1)), f"N8N polls job job-1 at fal. {TIMES_OUT}"),
        (
            work(replace(RUNNING, is_suspended=True)),
            "The request is not sent to N8N again, because an image was refused. " + TIMES_OUT,
        ),
    ],
)
def test_it_is_the_deadline_if_silence_has_no_effect_before(pending: PendingWork, what: str) -> None:
    step = next_step(REQUEST, pending)

    assert (step.what, step.at) == (what, DEADLINE)


def test_silence_has_no_time_while_n8n_is_away() -> None:
    away = PendingGeneration(RUNNING, AGAIN, SILENT, is_n8n_out=True)
    step = next_step(REQUEST, PendingWork((), DEADLINE, away))

    assert step.at is None
    assert "away, and its silence does not count" in step.what


def test_a_request_that_may_have_been_paid_for_waits_for_an_operator_who_knows_that() -> None:
    failed = replace(REQUEST, status=Status.FAILED, failed_by=FailedBy.BRIDGE, error_code="maybe_paid")

    assert "which may pay again" in next_step(failed, PendingWork((), None)).what


@pytest.mark.parametrize(
    ("status", "way_out"),
    [(Status.RECEIVED, "replays it, or cancels the request"), (Status.COMPLETED, "replays or discards it")],
)
def test_a_dead_mark_is_discarded_only_if_the_image_was_delivered(status: Status, way_out: str) -> None:
    letter = PendingEntry(7, Step.MARK, True, 1, "cannot_mark", False, NOW, False, None)  # noqa: FBT003 - a row
    step = next_step(replace(REQUEST, status=status), PendingWork((letter,), None))

    assert step.what == f"Nothing automatic: mark failed for good (cannot_mark). An operator {way_out}."
