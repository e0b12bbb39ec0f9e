"""A failure counts when it comes from the execution that holds the grant or polls the job."""

from datetime import UTC, datetime
from uuid import uuid4

import pytest

from aigen_bridge.domain.callback import Failed, Repeat, Take, judge
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.domain.generation import Generation, State
from aigen_bridge.domain.request import ImageRequest, Status

NOW = datetime(2026, 1, 1, tzinfo=UTC)
REQUEST = ImageRequest(
    request_id=uuid4(),
    correlation_id=uuid4(),
    event={},
    status=Status.DISPATCHED,
    version=2,
    created_at=NOW,
    updated_at=NOW,
)


def failed(execution_id: str | None) -> Failed:
    return Failed(REQUEST.request_id, REQUEST.correlation_id, "blocked", "No.", execution_id)


@pytest.mark.parametrize("state", [State.GRANTED, State.RUNNING])
def test_a_failure_from_another_execution_than_the_holder_changes_nothing(state: State) -> None:
    held = Generation(state=state, execution_id="1")
    verdict = judge(REQUEST, failed("2"), held)
    assert isinstance(verdict, Repeat)
    assert "execution 2 failed (blocked)" in (verdict.reason or "")
    assert isinstance(judge(REQUEST, failed("1"), held), Take)
    assert isinstance(judge(REQUEST, failed(None), held), Take)


@pytest.mark.parametrize("generation", [None, Generation(), Generation(state=State.DOUBTFUL)])
def test_a_failure_counts_while_nobody_is_the_holder(generation: Generation | None) -> None:
    assert isinstance(judge(REQUEST, failed("2"), generation), Take)


def test_a_failure_with_another_correlation_id_is_refused_whoever_sends_it() -> None:
    wrong = Failed(REQUEST.request_id, uuid4(), "blocked", "No.", "2")
    with pytest.raises(ContradictionError):
        judge(REQUEST, wrong, Generation(state=State.RUNNING, execution_id="1"))
