"""What settled entries, replays and given-up requests mean, as tables."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import product
from uuid import UUID, uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain.dead_letter import OperatorAction, repeated_step, replayed
from aigen_bridge.domain.errors import ContradictionError, PermanentError, TransientError
from aigen_bridge.domain.image import CheckedImage, StoredImage
from aigen_bridge.domain.incident import Cause, failures_of
from aigen_bridge.domain.outbox import (
    Advance,
    Claim,
    Complete,
    Dead,
    Delivered,
    Done,
    Effect,
    EndedInOdoo,
    Fail,
    Held,
    Notified,
    Outcome,
    Retry,
    SetBack,
    Settlement,
    delivery_failures,
    transitions_of,
)
from aigen_bridge.domain.request import (
    TRANSITIONS,
    AwaitedImage,
    FailedBy,
    FailureCode,
    ImageRequest,
    Status,
    Step,
    Transition,
    VersionedTransition,
)
from aigen_bridge.worker.lanes import image_store_pause

NOW = datetime(2026, 1, 1, tzinfo=UTC)
IMAGE = StoredImage("png", 3, 1, 1, "0" * 64)
CHECKED = CheckedImage(b"png", IMAGE)
AWAITED = AwaitedImage(
    format="png", size=3, width=1, height=1, sha256="0" * 64, url="https://images.example.com/1.png", expires_at=NOW
)
NO = PermanentError("http_400", "No.")
BUSY = TransientError("http_503", "Busy.")
BY = OperatorAction("ops")
DELAY = timedelta(seconds=7)


def request(status: Status = Status.QUEUED, failed_by: FailedBy | None = None, number: int = 1) -> ImageRequest:
    return ImageRequest(
        request_id=UUID(int=number),
        correlation_id=UUID(int=100 + number),
        event={},
        status=status,
        version=3,
        created_at=NOW,
        updated_at=NOW,
        failed_by=failed_by,
        awaited=AWAITED,
    )


def settlement(outcome: Outcome, step: Step = Step.DISPATCH, number: int = 1) -> Settlement[Claim]:
    claim = Claim(
        entry_id=number,
        step=step,
        attempt=1,
        fence=1,
        began_at=NOW,
        claimed_at=NOW,
        give_up_at=None,
        leases_lost=0,
        request=request(number=number),
    )
    return Settlement(claim, outcome, timedelta(seconds=1))


@pytest.mark.parametrize(
    ("outcome", "before", "after"),
    [
        (Done(Advance(Status.DISPATCHED)), {"queued"}, "dispatched"),
        (Done(Complete(CHECKED)), {"received"}, "completed"),
        (Done(EndedInOdoo("it is completed in Odoo already")), {"queued", "dispatched", "received"}, "cancelled"),
        (Dead(NO, Fail(FailureCode.DISPATCH_FAILED, "No.")), {"queued", "received"}, "failed"),
        (Dead(NO, Fail(FailureCode.IMAGE_FETCH_FAILED, "No.")), {"queued", "received"}, "failed"),
    ],
)
def test_an_effect_on_the_request_is_one_transition(outcome: Outcome, before: set[str], after: str) -> None:
    [transition] = transitions_of([settlement(outcome)])
    assert (transition.request_id, set(transition.before), transition.after) == (UUID(int=1), before, after)
    assert transition.image == (IMAGE if after == "completed" else None)


@pytest.mark.parametrize(
    "outcome",
    [
        Done(None),
        Done(Delivered(3)),
        Done(SetBack(3, 7, "Odoo has version 7")),
        Done(Notified(1, recovered=False)),
        Dead(NO, None),
        Retry(NOW, BUSY),
        Held(BUSY),
        Held(BUSY, NOW),
    ],
)
def test_whatever_else_happened_leaves_the_request_as_it_is(outcome: Outcome) -> None:
    assert transitions_of([settlement(outcome)]) == []


def test_a_failure_of_a_step_is_one_of_the_bridge_with_its_code_and_words() -> None:
    [transition] = transitions_of([settlement(Dead(NO, Fail(FailureCode.IMAGE_REJECTED, "Not a picture.")))])
    assert transition.failed_by is FailedBy.BRIDGE
    assert (transition.error_code, transition.error_message) == ("image_rejected", "Not a picture.")


def test_transitions_come_in_the_order_of_their_settlements() -> None:
    outcomes: list[Outcome] = [
        Done(Advance(Status.DISPATCHED)),
        Retry(NOW, BUSY),
        Dead(NO, Fail(FailureCode.DISPATCH_FAILED, "")),
    ]
    made = transitions_of([settlement(outcome, number=number) for number, outcome in enumerate(outcomes)])
    assert [transition.request_id.int for transition in made] == [0, 2]


EFFECTS: st.SearchStrategy[Effect] = st.one_of(
    st.just(Advance(Status.DISPATCHED)),
    st.just(Complete(CHECKED)),
    st.builds(Fail, st.sampled_from(FailureCode), st.text(max_size=5)),
    st.builds(Delivered, st.integers(1, 9)),
    st.just(Notified(1, recovered=True)),
    st.none(),
)
OUTCOMES: st.SearchStrategy[Outcome] = st.one_of(
    st.builds(Done, EFFECTS),
    st.builds(Dead, st.just(NO), EFFECTS),
    st.just(Retry(NOW, BUSY)),
    st.just(Held(BUSY)),
)
SETTLED = st.lists(st.builds(settlement, OUTCOMES, st.sampled_from(Step), st.integers(1, 5)), max_size=8)


@given(settled=SETTLED)
def test_settlements_never_make_an_illegal_transition_and_never_one_of_another_request(
    settled: list[Settlement[Claim]],
) -> None:
    made = transitions_of(settled)
    assert all(transition.after in TRANSITIONS[before] for transition in made for before in transition.before)
    assert {transition.request_id for transition in made} <= {s.claim.request.request_id for s in settled}
    assert len(made) == sum(isinstance(s.effect, Advance | Complete | Fail) for s in settled)
    assert not any(isinstance(transition, VersionedTransition) for transition in made)


@given(settled=SETTLED)
def test_every_failure_of_a_settled_entry_is_one_occurrence(settled: list[Settlement[Claim]]) -> None:
    failed = [s.claim.request.request_id for s in settled if isinstance(s.effect, Fail)]
    assert [occurrence.request_id for occurrence in failures_of(transitions_of(settled))] == failed


@pytest.mark.parametrize(
    ("step", "outcome", "expected"),
    [
        (Step.DELIVER, Dead(NO, None), ["No."]),
        (Step.DELIVER, Done(Delivered(3)), []),
        (Step.DELIVER, Retry(NOW, BUSY), []),
        (Step.DELIVER, Held(BUSY), []),
        (Step.DISPATCH, Dead(NO, Fail(FailureCode.DISPATCH_FAILED, "x")), []),
        (Step.FETCH, Dead(NO, Fail(FailureCode.IMAGE_FETCH_FAILED, "x")), []),
    ],
)
def test_only_a_delivery_that_is_given_up_is_a_delivery_failure(
    step: Step, outcome: Outcome, expected: list[str]
) -> None:
    found = delivery_failures([settlement(outcome, step)])
    assert [occurrence.detail for occurrence in found] == expected
    assert all((o.cause, o.request_id) == (Cause.DELIVERY_FAILED, UUID(int=1)) for o in found)


@pytest.mark.parametrize(("status", "failed_by"), list(product(Status, [None, *FailedBy])))
def test_a_replayed_delivery_leaves_every_request_as_it_is(status: Status, failed_by: FailedBy | None) -> None:
    assert replayed(Step.DELIVER, request(status, failed_by), BY, DELAY) is None


@pytest.mark.parametrize(("step", "after"), [(Step.DISPATCH, Status.QUEUED), (Step.FETCH, Status.RECEIVED)])
def test_a_request_that_the_bridge_failed_goes_back_to_the_state_of_its_step(step: Step, after: Status) -> None:
    transition = replayed(step, request(Status.FAILED, FailedBy.BRIDGE), BY, DELAY)
    assert transition is not None
    assert (transition.before, transition.after) == (frozenset({Status.FAILED}), after)
    assert (transition.next_step, transition.delay, transition.note) == (step, DELAY, "replayed by ops")
    assert (transition.failed_by, transition.error_code) == (None, None)


@pytest.mark.parametrize("step", [Step.DISPATCH, Step.FETCH])
@pytest.mark.parametrize(
    ("status", "failed_by"),
    [(Status.FAILED, FailedBy.N8N), *((status, None) for status in Status if status is not Status.FAILED)],
)
def test_a_request_that_has_moved_on_is_not_replayed(step: Step, status: Status, failed_by: FailedBy | None) -> None:
    with pytest.raises(ContradictionError, match=f"is {status}; there is nothing to replay") as refused:
        replayed(step, request(status, failed_by), BY, DELAY)
    assert refused.value.code == "request_moved_on"


def test_a_replayed_fetch_has_its_whole_time_again() -> None:
    """The expiry that N8N declared has passed by then; the URL may still work."""
    transition = replayed(Step.FETCH, request(Status.FAILED, FailedBy.BRIDGE), BY, DELAY)
    assert transition is not None
    assert transition.awaited == replace(AWAITED, expires_at=None)


def test_a_replayed_request_without_a_url_gets_none() -> None:
    without = replace(request(Status.FAILED, FailedBy.BRIDGE), awaited=None)
    transition = replayed(Step.DISPATCH, without, BY, DELAY)
    assert transition is not None
    assert transition.awaited is None


@pytest.mark.parametrize(
    ("code", "awaited", "ended", "step"),
    [
        (FailureCode.TIMED_OUT, None, 0, Step.DISPATCH),
        (FailureCode.IMAGE_REJECTED, AWAITED, 0, Step.DISPATCH),
        (FailureCode.IMAGE_FETCH_FAILED, None, 0, Step.DISPATCH),
        (FailureCode.IMAGE_FETCH_FAILED, replace(AWAITED, expires_at=NOW + DELAY), 0, Step.FETCH),
        (FailureCode.IMAGE_FETCH_FAILED, AWAITED, 0, Step.DISPATCH),
        (FailureCode.IMAGE_FETCH_FAILED, replace(AWAITED, expires_at=None), 6, Step.FETCH),
        (FailureCode.IMAGE_FETCH_FAILED, replace(AWAITED, expires_at=None), 7, Step.DISPATCH),
    ],
)
def test_an_image_that_is_paid_for_is_fetched_again_while_its_url_may_work(
    code: FailureCode, awaited: AwaitedImage | None, ended: int, step: Step
) -> None:
    failed = request(Status.FAILED, FailedBy.BRIDGE)
    failed = replace(failed, error_code=code, awaited=awaited, finished_at=NOW - timedelta(seconds=ended))
    assert repeated_step(failed, NOW, url_lifetime=DELAY) is step


def failure(failed_by: FailedBy | None, code: str | None, message: str | None = "Why.") -> Transition:
    return Transition(
        request_id=UUID(int=1),
        before=frozenset({Status.DISPATCHED}),
        after=Status.FAILED,
        failed_by=failed_by,
        error_code=code,
        error_message=message,
    )


@pytest.mark.parametrize("code", FailureCode)
def test_each_failure_of_the_bridge_is_an_occurrence_of_the_cause_of_its_code(code: FailureCode) -> None:
    [occurrence] = failures_of([failure(FailedBy.BRIDGE, code)])
    assert (occurrence.cause.value, occurrence.detail, occurrence.request_id) == (code.value, "Why.", UUID(int=1))


def test_a_failure_without_words_is_an_occurrence_all_the_same() -> None:
    assert [occurrence.detail for occurrence in failures_of([failure(FailedBy.BRIDGE, "timed_out", None)])] == [""]


def test_failures_of_n8n_and_other_transitions_are_no_occurrences() -> None:
    cancelled = Transition(request_id=uuid4(), before=frozenset({Status.QUEUED}), after=Status.CANCELLED)
    assert failures_of([failure(FailedBy.N8N, "timed_out"), cancelled]) == []


def test_a_failure_of_the_bridge_cannot_be_versioned() -> None:
    with pytest.raises(ValueError, match="with the request locked"):
        VersionedTransition(
            request_id=uuid4(),
            version=1,
            before=frozenset({Status.QUEUED}),
            after=Status.FAILED,
            failed_by=FailedBy.BRIDGE,
        )


def test_an_old_entry_waits_longer_for_the_image_store() -> None:
    minutes = [image_store_pause(timedelta(minutes=age)) / timedelta(minutes=1) for age in (0, 5, 20, 50, 600)]
    assert minutes == [0.5, 0.5, 2, 5, 5]
