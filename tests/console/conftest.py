"""An operator at a browser, in front of the real service on loopback."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from playwright.sync_api import Browser

from browser import chromium
from console.operator import Operator
from loop_thread import LoopThread, loop_thread
from stage import Stage, staged, working


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def loop() -> Iterator[LoopThread]:
    with loop_thread() as loop:
        yield loop


@pytest.fixture
def staging(loop: LoopThread, database_url: str) -> Iterator[Callable[..., Stage]]:
    """A function that runs the API with the console, and the simulators; with `worker=True`, a worker, too.

    Its other arguments are sections of the settings.
    """
    with ExitStack() as running:

        def start(*, worker: bool = False, **sections: Any) -> Stage:
            stage = running.enter_context(loop.open(staged(database_url, **sections)))
            if worker:
                running.enter_context(loop.open(working(stage.settings)))
            return stage

        yield start


@pytest.fixture
def visiting(browser: Browser) -> Iterator[Callable[..., Operator]]:
    """A function that opens a browser window before a stage. Its arguments are those of `Operator.visit`.

    At the end, no page may have violated the content security policy or raised an error.
    """
    operators: list[Operator] = []

    def visit(stage: Stage, **options: Any) -> Operator:
        operators.append(Operator.visit(browser, str(stage.api.base_url), **options))
        return operators[-1]

    yield visit
    for operator in operators:
        operator.page.context.close()
    assert [line for operator in operators for line in operator.errors] == []


@pytest.fixture
def run(loop: LoopThread) -> Callable[..., Any]:
    """A function that runs a coroutine in the loop of the stage."""
    return loop.run
