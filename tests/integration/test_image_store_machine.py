"""In any order of writers, purges, sweeps and moves, no image is lost and no object is left."""

from collections.abc import Iterator
from functools import partial

import pytest
from hypothesis.stateful import run_state_machine_as_test

from aigen_bridge.store import images
from machine.objects import ObjectsMachine, Yard
from machine.profile import LONG, profile


@pytest.fixture
def yard(database_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Yard]:
    monkeypatch.setattr(images, "AWAY_SECONDS", 0.0)
    opened = Yard(database_url)
    yield opened
    opened.close()


@pytest.mark.timeout(7200 if LONG else 900)  # time to shrink what fails
def test_no_interleaving_loses_an_image_or_leaves_an_object(yard: Yard) -> None:
    run_state_machine_as_test(partial(ObjectsMachine, yard), settings=profile(examples=25, steps=50))
