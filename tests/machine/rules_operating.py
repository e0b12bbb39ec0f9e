"""What operations do: put dead letters back, discard them, complete a request by hand."""

import pytest

from aigen_bridge.domain.dead_letter import DeadLetterFilter, OperatorAction
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.pipeline.replay import Replays
from machine.base import Base
from machine.expected import Owed, Said
from machine.ground import MINUTE
from machine.world import EXAMINE, PICTURES, request_id

BY = OperatorAction("ops", "because")


class Operating(Base):
    """Rules."""

    def dead(self) -> list[tuple[int, Owed]]:
        """The dead letters that there have to be."""
        return [(n, owed) for n, wanted in enumerate(self.expected) for owed in wanted.in_state("dead")]

    def look_at_the_dead_letters(self) -> None:
        """The list is what it has to be. N8N's reports of failed executions are not of the outbox."""
        letters = self.do(self.ground.dead_letters.page(DeadLetterFilter(), 100))
        listed = sorted((letter.request_id, letter.id) for letter in letters if letter.kind != "n8n")
        assert listed == sorted((request_id(number), f"entry-{owed.entry_id}") for number, owed in self.dead())

    def replay(self, number: int, owed: Owed, delay: int = 0) -> None:
        """It is owed again, with all its tries."""
        wanted = self.expected[number]
        wanted.replay(owed, self.now, delay)
        handled = self.do(self.ground.operations.replay_entry(owed.entry_id or 0, BY, delay=delay * MINUTE))
        assert handled is not None
        assert (handled.request_id, handled.status) == (request_id(number), wanted.status)
        self.deeds.append((number, "replay", BY.by))

    def discard(self, number: int, owed: Owed) -> None:
        """It leaves the list for good."""
        self.expected[number].discard(owed)
        handled = self.do(self.ground.operations.discard_entry(owed.entry_id or 0, BY))
        assert handled is not None
        assert handled.request_id == request_id(number)
        self.deeds.append((number, "discard", BY.by))

    def replay_what_is_not_dead(self, number: int) -> None:
        """It cannot be taken, whatever became of it."""
        for owed in self.expected[number].owed:
            if owed.entry_id and owed.state != "dead":
                assert self.do(self.ground.operations.replay_entry(owed.entry_id, BY)) is None
                assert self.do(self.ground.operations.discard_entry(owed.entry_id, BY)) is None

    def complete(self, number: int, name: str) -> None:
        """With this picture, as if N8N had reported it."""
        wanted, said = self.expected[number], Said("image", name)
        ground = self.ground
        replays = Replays(ground.operations, ground.quarantine, ground.dead_letters, ground.requests, EXAMINE)
        completing = replays.complete(request_id(number), PICTURES[name], BY)
        if wanted.judge(said) == "taken":
            wanted.hear(said, self.now)
            assert self.do(completing).version == wanted.version
            self.deeds.append((number, "complete", BY.by))
        else:
            with pytest.raises(ContradictionError):
                self.do(completing)
