"""Actions of two workers: claim, work, settle late or twice, extend a lease, release, die."""

from datetime import timedelta

from hypothesis import strategies as st

from aigen_bridge.domain.outbox import Settlement
from aigen_bridge.domain.request import Step
from machine.base import Base, Hand, actions, pick
from machine.expected import LEASE
from machine.ground import MINUTE
from machine.world import RETRY_IN, Answer, request_id, speaks

answers = st.sampled_from(["well", "well", "lost", "passing", "for good"])
ACTIONS = (
    *("claims", "works", "settles", "settles all", "settles again", "holds on", "gives back", "dies"),
    *("settles", "stops", "is paused", "is paused", "does all"),
)
TOOK = timedelta(seconds=1)


WORK = actions(
    "a_worker", what=st.sampled_from(ACTIONS), which=pick, answer=answers, owner=st.sampled_from(["one", "two"])
)


class Working(Base):
    """Rules for workers."""

    def a_worker(self, what: str, which: int, answer: Answer, owner: str) -> None:  # noqa: C901 - a list of actions
        known = self.hands + self.settled[::-1]  # a worker may not know yet that a claim was settled
        hand = self.hands[which % len(self.hands)] if self.hands else None
        match what:
            case "does all":
                self.do_all_that_is_due(owner, answer)
            case "works" if hand:
                self.work(hand, answer)
            case "settles" if hand:
                self.work(hand, answer)
                self.settle([hand])
            case "settles all" if hand:
                for each in self.hands:
                    self.work(each, answer)
                self.settle(self.hands[:: -1 if which % 2 else 1])
            case "settles again" if self.settled:
                self.settle([self.settled[-1 - which % len(self.settled)]])  # the answer to a commit was lost
            case "holds on" if known:
                self.hold_on(known[which % len(known)])
            case "gives back" if known:
                self.give_back(known[which % len(known)])
            case "stops" if hand:  # while it settles
                self.work(hand, answer)
                self.settle([hand])
                self.give_back(hand)
            case "dies" if hand:
                self.hands.remove(hand)
            case "is paused" if hand:  # for longer than its lease, while the other worker claims
                self.pass_time(LEASE + 1)
                self.claim(hand.claim.step, owner, 10)
            case _:
                steps = sorted(self.due_steps()) or list(Step)
                self.claim(Step(steps[which % len(steps)]), owner, 1 + 9 * (which % 2))

    def do_all_that_is_due(self, owner: str, answer: Answer) -> None:
        """Claims, works and settles, as a healthy worker does."""
        for step in sorted(self.due_steps()):
            hands = self.claim(Step(step), owner, 10)
            for hand in hands:
                self.work(hand, answer)
            self.settle(hands)

    def due_steps(self) -> set[str]:
        """Returns the steps with due entries."""
        return {entry.step for w in self.expected for entry in w.in_state("live") if entry.due <= self.now}

    def claim(self, step: Step, owner: str, limit: int) -> list[Hand]:
        """Claims entries and checks that each due entry, and no other, is claimed once."""
        due = {
            request_id(number): (number, entry)
            for number, wanted in enumerate(self.expected)
            for entry in wanted.in_state("live")
            if entry.step == step and entry.due <= self.now
        }
        claims = self.do(self.ground.outbox.claim(step, limit=limit, lease=LEASE * MINUTE, owner=owner))
        assert len(claims) == min(limit, len(due))
        hands = []
        for claim in claims:
            number, entry = due.pop(claim.request.request_id)
            turn = self.expected[number].hand_out(entry, self.now)
            entry.entry_id = entry.entry_id or claim.entry_id
            assert (claim.entry_id, claim.attempt, claim.leases_lost) == (entry.entry_id, entry.attempts, entry.lost)
            assert (claim.request.version, claim.request.status) == (
                self.expected[number].version,
                self.expected[number].status,
            )
            hands.append(Hand(number, entry, turn, claim))
        self.hands += hands
        return hands

    def work(self, hand: Hand, answer: Answer) -> None:
        """Runs the step against the world. Records nothing in the store yet."""
        if hand.outcome is None:
            hand.outcome = self.do(self.world.attempt(hand.claim, answer))

    def settle(self, hands: list[Hand]) -> None:
        """Settles claims in one commit, including late and stale ones. Claims that were lost change nothing."""
        settlements = [Settlement(hand.claim, hand.outcome, TOOK) for hand in hands if hand.outcome]
        held = [ended is not None for ended in self.do(self.ground.outbox.settle_all(settlements))]
        again_at = self.now + RETRY_IN  # a worker's timestamp does not move with those in the database
        assert held == [self._ends(hand, again_at) for hand in hands]
        self.hands = [hand for hand in self.hands if hand not in hands]
        self.settled = list(dict.fromkeys([*self.settled, *hands]))

    def _ends(self, hand: Hand, again_at: int) -> bool:
        """Ends an attempt in the model. N8N's acknowledgement says whether its workflow speaks of generations."""
        wanted = self.expected[hand.number]
        has_ended = wanted.settle(hand.entry, hand.turn, hand.ending, self.now, again_at=again_at)
        if has_ended and hand.entry.step == "dispatch" and hand.ending == "done":
            self.generations[hand.number].acknowledged(self.now, speaks=speaks(request_id(hand.number)))
        return has_ended

    def hold_on(self, hand: Hand) -> None:
        """Extends the lease of a claim, if it is still held."""
        self.do(self.ground.outbox.extend([hand.claim], LEASE * MINUTE))
        if hand.entry.turn == hand.turn and hand.entry.held:
            hand.entry.due = self.now + LEASE

    def give_back(self, hand: Hand) -> None:
        """Releases a claim, if it is still held, as a stopping worker does."""
        self.do(self.ground.outbox.release([hand.claim]))
        self.expected[hand.number].give_back(hand.entry, hand.turn, self.now)
        self.hands = [each for each in self.hands if each is not hand]
