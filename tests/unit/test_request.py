"""The states of a request."""

import inspect
from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aigen_bridge.domain import request
from aigen_bridge.domain.request import FINAL, NEXT_STEPS, TRANSITIONS, Status, Transition

states = st.sampled_from(Status)


def test_every_state_says_in_a_sentence_what_is_true_and_what_moves_it_on() -> None:
    source = inspect.getsource(request.Status)
    for status in Status:
        after_member = source.split(f'{status.name} = "{status.value}"')[1]
        assert after_member.strip().startswith('"""'), status


@given(before=states, after=states)
def test_only_moves_of_the_table_can_be_made(before: Status, after: Status) -> None:
    def transition() -> Transition:
        return Transition(request_id=uuid4(), before=frozenset({before}), after=after)

    if after in TRANSITIONS[before]:
        assert transition().next_step == NEXT_STEPS.get(after)
    else:
        with pytest.raises(ValueError, match="no request moves"):
            transition()


def test_a_move_from_nowhere_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="nowhere"):
        Transition(request_id=uuid4(), before=frozenset(), after=Status.COMPLETED)


@given(path=st.lists(states, min_size=2, max_size=8))
def test_no_way_leads_out_of_completed_or_cancelled(path: list[Status]) -> None:
    legal = all(after in TRANSITIONS[before] for before, after in pairwise(path))
    if legal:
        assert not {Status.COMPLETED, Status.CANCELLED} & set(path[:-1])


def test_every_ending_owes_odoo_the_news() -> None:
    assert {NEXT_STEPS[status] for status in FINAL} == {request.Step.DELIVER}
