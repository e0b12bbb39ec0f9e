"""What all rules share: the store, the world around it, the model, and the comparison after every step."""

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant

from aigen_bridge.domain.outbox import Claim
from aigen_bridge.domain.outcome import Outcome
from aigen_bridge.pipeline.accept import accept
from machine.balance import Balance
from machine.expected import ENDED, Ending, Expected, Owed
from machine.ground import Ground
from machine.world import World, asked

T = TypeVar("T")
Deed = dict[str, Any]

pick = st.integers(0, 5)
"""Which of those that there are, counted round."""
ANY = 4
"""From here on it may be one that has ended, else one that has not: most of what happens, happens to those."""


def deeds(who: str, **drawn: st.SearchStrategy[Any]) -> st.SearchStrategy[Deed]:
    """Calls of the method `who`."""
    return st.fixed_dictionaries({"who": st.just(who), **drawn})


@dataclass(eq=False)
class Hand:
    """A claim as a worker holds it: for which request and obligation, and what came of it."""

    number: int
    owed: Owed
    turn: int
    claim: Claim
    outcome: Outcome | None = None

    @property
    def ending(self) -> Ending:
        """The outcome in the model's words."""
        endings: dict[str, Ending] = {"Done": "done", "Retry": "retry", "Dead": "dead"}
        return endings[type(self.outcome).__name__]


class Base(RuleBasedStateMachine):
    """`expected` are the requests by number, `hands` what workers hold, `now` the minutes since the beginning."""

    def __init__(self, ground: Ground) -> None:
        super().__init__()
        self.ground = ground
        self.world = World(ground.images)
        self.expected: list[Expected] = []
        self.hands: list[Hand] = []
        self.settled: list[Hand] = []
        self.deeds: list[tuple[int, str, str]] = []
        self.now = 0
        self._balance = Balance()
        self._balanced = False
        self.do(ground.clear())

    @initialize()
    def the_first_is_asked_for(self) -> None:
        """Nothing happens without a request."""
        self.ask()

    def do(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Everything that touches the store goes through here."""
        self._balanced = False
        return self.ground.run(coroutine)

    def ask(self) -> None:
        """One more request."""
        _, created = self.do(self.accept(len(self.expected)))
        assert created
        self.expected.append(Expected(self.now))

    async def accept(self, number: int, prompt: str = "a lighthouse") -> tuple[Any, bool]:
        """The step that takes a request."""
        return await accept(self.ground.requests, asked(number, prompt), client="odoo")

    def chosen(self, which: int) -> int:
        """The number of a request."""
        living = [number for number, wanted in enumerate(self.expected) if wanted.status not in ENDED]
        numbers = living if living and which < ANY else range(len(self.expected))
        return numbers[which % len(numbers)]

    def pass_time(self, minutes: int) -> None:
        """Minutes pass for everybody."""
        self.do(self.ground.pass_time(minutes))
        self.now += minutes

    @invariant()
    def the_store_is_as_the_specification_says(self) -> None:
        """After every step, and for every request."""
        self._balance.check(self.ground.run(self.ground.found()), self.expected, self.deeds)
        self._balanced = True

    def teardown(self) -> None:
        """Once everybody is well again, everything ends, and Odoo knows. Not after a step that failed already."""
        if self._balanced:
            self.come_to_rest()

    def come_to_rest(self) -> None:
        """See `Ending`."""
        raise NotImplementedError
