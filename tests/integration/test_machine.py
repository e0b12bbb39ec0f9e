"""Whatever happens to requests, in whatever order, the store does as the specification says."""

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis.stateful import run_state_machine_as_test

from machine.ground import Ground
from machine.profile import LONG, profile
from machine.rest import Machine


@pytest.fixture
def ground(database_url: str) -> Iterator[Ground]:
    opened = Ground(database_url)
    yield opened
    opened.close()


@pytest.mark.timeout(7200 if LONG else 900)  # time to shrink what fails
def test_every_interleaving_ends_as_the_specification_says(ground: Ground) -> None:
    run_state_machine_as_test(partial(Machine, ground), settings=profile(examples=50, steps=50))
