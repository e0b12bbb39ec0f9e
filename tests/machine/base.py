"""Base of all rules: the store, the world around it, the model, and the comparison after every step."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from aigen_bridge.domain.outbox import Claim, Outcome
from aigen_bridge.pipeline.accept import accept
from machine.balance import Balance
from machine.expected import ENDED, Ending, Expected, PendingEntry
from machine.generating import ExpectedGeneration
from machine.ground import RULES, Ground
from machine.world import World, asked, holds, marks

T = TypeVar("T")
Action = dict[str, Any]

pick = st.integers(0, 5)
"""Selects one of the existing things, modulo their number."""
ANY = 4
"""A `pick` from this value on may select an ended request. Smaller values select one that has not ended, because most
events concern those."""


def actions(who: str, **drawn: st.SearchStrategy[Any]) -> st.SearchStrategy[Action]:
    """Draws calls of the method `who`."""
    return st.fixed_dictionaries({"who": st.just(who), **drawn})


@dataclass(eq=False)
class Hand:
    """A claim that a worker holds, with its request, its entry and its outcome."""

    number: int
    entry: PendingEntry
    turn: int
    claim: Claim
    outcome: Outcome | None = None

    @property
    def ending(self) -> Ending:
        """The outcome in the model's terms."""
        endings: dict[str, Ending] = {"Done": "done", "Retry": "retry", "Dead": "dead"}
        return endings[type(self.outcome).__name__]


class Base(RuleBasedStateMachine):
    """Shared state: `expected` are the requests by number, `generations` theirs, `hands` the held claims.

    `now` are the minutes so far.
    """

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground = ground
        self.world = World(ground.images)
        self.expected: list[Expected] = []
        self.generations: list[ExpectedGeneration] = []
        self.hands: list[Hand] = []
        self.settled: list[Hand] = []
        self.operations: list[tuple[int, str, str]] = []
        self.now = 0
        self._balance = Balance()
        self._balanced = False
        self.do(ground.clear())

    @initialize()
    def the_first_is_asked_for(self) -> None:
        """Makes the first request; without one, nothing can happen."""
        self.ask()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine that changes the store. All changes use this method."""
        self._balanced = False
        return self.ground.run(coroutine)

    def ask(self) -> None:
        """Makes one more request."""
        _, created = self.do(self.accept(len(self.expected)))
        assert created
        number = len(self.expected)
        self.expected.append(Expected(self.now, marks(number), holds(number)))
        self.generations.append(ExpectedGeneration(RULES, self.expected[-1]))

    async def accept(self, number: int, prompt: str = "a lighthouse") -> tuple[Any, bool]:
        """Runs the accept step."""
        return await accept(
            self.ground.requests, self.ground.models, asked(number, prompt), client="odoo", odoo="default"
        )

    def chosen(self, which: int) -> int:
        """Returns the number of the selected request."""
        living = [number for number, wanted in enumerate(self.expected) if wanted.status not in ENDED]
        numbers = living if living and which < ANY else range(len(self.expected))
        return numbers[which % len(numbers)]

    def pass_time(self, minutes: int) -> None:
        """Moves the store's and the model's clock forward."""
        self.do(self.ground.pass_time(minutes))
        self.now += minutes

    @invariant()
    def the_store_is_as_the_specification_says(self) -> None:
        """Checks every request after every step."""
        self._balance.check(self.ground.run(self.ground.found()), self.expected, self.generations, self.operations)
        self._balanced = True

    def teardown(self) -> None:
        """Checks that everything ends and is delivered once all systems work again. Skipped after a failed step."""
        if self._balanced:
            self.come_to_rest()

    def come_to_rest(self) -> None:
        """Lets everything end; see `Machine`."""
        raise NotImplementedError
