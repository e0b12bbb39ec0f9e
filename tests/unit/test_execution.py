"""What a failed execution of N8N means for its request, as a table."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from aigen_bridge.domain.execution import RESENDS_MAX, FailedExecution, Standing, judge_failed_execution
from aigen_bridge.domain.image import StoredImage
from aigen_bridge.domain.request import FailedBy, ImageRequest, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
CRASH = "Workflow did not finish, possible out-of-memory issue"
STALLED = (
    "This execution failed to be processed too many times and will no longer retry. To allow this execution to "
    "complete, please break down your workflow or scale up your workers or adjust your worker settings."
)
LOST = FailedExecution("231", "whatever", "WorkflowCrashedError")
BUG = FailedExecution("231", "x is not a function [line 3]", "TypeError")
FORGOTTEN = FailedExecution("231", "The bridge does not know this request; no image was made. [line 3]")
LATEST = Standing(is_known=True, is_latest=True, resends=0)
OLDER = Standing(is_known=True, is_latest=False, resends=0)
UNKNOWN = Standing(is_known=False, is_latest=False, resends=0)


def request(status: Status, failed_by: FailedBy | None = None) -> ImageRequest:
    ids = {"request_id": UUID(int=1), "correlation_id": UUID(int=2)}
    image = StoredImage("png", 1, 1, 1, "0" * 64) if status is Status.COMPLETED else None
    moments = {"created_at": NOW, "updated_at": NOW}
    return ImageRequest(**ids, **moments, event={}, status=status, version=7, failed_by=failed_by, image=image)


@pytest.mark.parametrize(
    ("name", "message", "lost"),
    [
        ("WorkflowCrashedError", "", True),
        ("MaxStalledCountError", "", True),
        ("TaskRequestTimeoutError", "", True),
        (None, CRASH, True),
        (None, STALLED, True),
        (None, "Node crashed, possible out-of-memory issue", True),
        (None, "job stalled more than maxStalledCount", True),
        ("NodeOperationError", "Task request timed out", True),
        ("Error", "timeout exceeded when trying to connect", True),
        ("TypeError", "x is not a function", False),
        (None, "The execution failed without a word.", False),
        (None, "The event wants its result somewhere else than at the bridge of the settings.", False),
    ],
)
def test_a_lost_execution_is_known_by_the_class_or_the_words_of_the_error(
    name: str | None,
    message: str,
    lost: bool,  # noqa: FBT001 - a row of the table
) -> None:
    assert FailedExecution("231", message, name).is_lost is lost


@pytest.mark.parametrize(
    ("status", "failed_by", "failed", "standing", "expected"),
    [
        ("dispatched", None, LOST, LATEST, ("queued", None, False)),
        ("dispatched", None, LOST, replace(LATEST, resends=RESENDS_MAX - 1), ("queued", None, False)),
        ("dispatched", None, LOST, replace(LATEST, resends=RESENDS_MAX), ("failed", "execution_lost", True)),
        ("dispatched", None, BUG, LATEST, ("failed", "workflow_failed", True)),
        ("dispatched", None, LOST, OLDER, (None, None, False)),
        ("dispatched", None, BUG, OLDER, (None, None, False)),
        ("dispatched", None, LOST, UNKNOWN, (None, None, True)),
        ("dispatched", None, BUG, UNKNOWN, (None, None, True)),
        ("queued", None, LOST, LATEST, (None, None, False)),
        ("queued", None, BUG, LATEST, ("failed", "workflow_failed", True)),
        ("queued", None, BUG, OLDER, (None, None, False)),
        ("received", None, LOST, LATEST, (None, None, False)),
        ("completed", None, LOST, LATEST, (None, None, False)),
        ("completed", None, BUG, UNKNOWN, (None, None, False)),
        ("cancelled", None, BUG, LATEST, (None, None, False)),
        ("failed", "n8n", BUG, LATEST, (None, None, False)),
        ("queued", None, FORGOTTEN, LATEST, (None, None, False)),
        ("dispatched", None, FORGOTTEN, UNKNOWN, (None, None, False)),
        ("failed", "bridge", FORGOTTEN, LATEST, (None, None, False)),
        ("failed", "bridge", LOST, LATEST, (None, None, True)),
        ("failed", "bridge", BUG, OLDER, (None, None, True)),
    ],
)
def test_what_a_failed_execution_means(
    status: str, failed_by: str | None, failed: FailedExecution, standing: Standing, expected: tuple[object, ...]
) -> None:
    now = request(Status(status), FailedBy(failed_by) if failed_by else None)
    verdict = judge_failed_execution(failed, now, standing)
    made = verdict.transition
    assert (made and made.after, made and made.error_code, verdict.needs_person) == expected
    if made:
        assert made.before == frozenset({now.status})


def test_the_timeline_and_the_person_read_what_happened() -> None:
    again = judge_failed_execution(LOST, request(Status.DISPATCHED), LATEST).transition
    ended = judge_failed_execution(BUG, request(Status.DISPATCHED), LATEST).transition
    assert again is not None
    assert ended is not None
    assert again.note == "N8N lost execution 231; sent again"
    assert ended.error_message == "The image service failed: x is not a function [line 3]"
