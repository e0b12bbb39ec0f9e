"""Dead letters of every step can be asked for."""

from typing import get_args

from aigen_bridge.contracts.resources import DeadLetterKind
from aigen_bridge.domain.dead_letter import DEAD_LETTER_KINDS


def test_the_api_knows_every_kind_of_dead_letter() -> None:
    assert set(get_args(DeadLetterKind)) == set(DEAD_LETTER_KINDS)
