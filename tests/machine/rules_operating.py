"""Actions of operators: replay dead letters, discard them, complete a request by hand."""

import pytest

from aigen_bridge.domain.dead_letter import DeadLetterFilter, OperatorAction
from aigen_bridge.domain.errors import ContradictionError
from aigen_bridge.pipeline.replay import Replays
from machine.base import Base
from machine.expected import PendingEntry, Report
from machine.ground import MINUTE
from machine.world import PICTURES, examine, request_id

BY = OperatorAction("ops", "because")


class Operating(Base):
    """Rules for operators."""

    def dead(self) -> list[tuple[int, PendingEntry]]:
        """Returns the expected dead letters with their request numbers."""
        return [(n, entry) for n, wanted in enumerate(self.expected) for entry in wanted.in_state("dead")]

    def look_at_the_dead_letters(self) -> None:
        """Checks the list of dead letters, without N8N's reports of failed executions, which are not in the outbox."""
        letters = self.do(self.ground.dead_letters.page(DeadLetterFilter(), 100))
        listed = sorted((letter.request_id, letter.id) for letter in letters if letter.kind != "n8n")
        assert listed == sorted((request_id(number), f"entry-{entry.entry_id}") for number, entry in self.dead())

    def replay(self, number: int, entry: PendingEntry, delay: int = 0) -> None:
        """Replays a dead letter, which enqueues its step with all attempts."""
        wanted = self.expected[number]
        wanted.replay(entry, self.now, delay)
        if wanted.status == "queued":
            self.generations[number].replay(self.now)
        handled = self.do(self.ground.operations.replay_entry(entry.entry_id or 0, BY, delay=delay * MINUTE))
        assert handled is not None
        assert (handled.request_id, handled.status) == (request_id(number), wanted.status)
        self.operations.append((number, "replay", BY.by))

    def replay_request(self, number: int) -> None:
        """Sends a request again that the bridge failed, dead letter or not. An awaited image has tests of its own."""
        wanted = self.expected[number]
        if wanted.failed_by == "bridge" and not wanted.awaited:
            wanted.move("queued", self.now)
            self.generations[number].replay(self.now)
            assert self.do(self.ground.operations.replay_request(request_id(number), BY)).version == wanted.version
            self.operations.append((number, "replay", BY.by))

    def discard(self, number: int, entry: PendingEntry) -> None:
        """Discards a dead letter, which removes it from the list for good, unless an image waits for its mark."""
        if entry.step == "mark" and self.expected[number].status == "received":
            with pytest.raises(ContradictionError):
                self.do(self.ground.operations.discard_entry(entry.entry_id or 0, BY))
            return
        self.expected[number].discard(entry)
        handled = self.do(self.ground.operations.discard_entry(entry.entry_id or 0, BY))
        assert handled is not None
        assert handled.request_id == request_id(number)
        self.operations.append((number, "discard", BY.by))

    def replay_what_is_not_dead(self, number: int) -> None:
        """Checks that entries that are not dead can be neither replayed nor discarded."""
        for entry in self.expected[number].entries:
            if entry.entry_id and entry.state != "dead":
                assert self.do(self.ground.operations.replay_entry(entry.entry_id, BY)) is None
                assert self.do(self.ground.operations.discard_entry(entry.entry_id, BY)) is None

    def complete(self, number: int, name: str) -> None:
        """Completes a request with this image, as if N8N had reported it."""
        wanted, report = self.expected[number], Report("image", name)
        ground = self.ground
        replays = Replays(ground.operations, ground.quarantine, ground.dead_letters, ground.requests, examine(number))
        completing = replays.complete(request_id(number), PICTURES[name], BY)
        if wanted.judge(report) == "taken":
            wanted.hear(report, self.now)
            assert self.do(completing).version == wanted.version
            self.operations.append((number, "complete", BY.by))
        else:
            with pytest.raises(ContradictionError):
                self.do(completing)
