"""What workers do, two of them: claim, work, settle late or twice, hold on, give back, die."""

from datetime import timedelta

from hypothesis import strategies as st

from aigen_bridge.domain.outbox import Settlement
from aigen_bridge.domain.request import Step
from machine.base import Base, Hand, deeds, pick
from machine.expected import LEASE
from machine.ground import MINUTE
from machine.world import RETRY_IN, Answer, request_id

answers = st.sampled_from(["well", "well", "lost", "passing", "for good"])
DEEDS = (
    *("claims", "works", "settles", "settles all", "settles again", "holds on", "gives back", "dies"),
    *("settles", "stops", "is paused", "is paused", "does all"),
)
TOOK = timedelta(seconds=1)


WORK = deeds("a_worker", what=st.sampled_from(DEEDS), which=pick, answer=answers, owner=st.sampled_from(["one", "two"]))


class Working(Base):
    """Rules."""

    def a_worker(self, what: str, which: int, answer: Answer, owner: str) -> None:  # noqa: C901 - a list of deeds
        known = self.hands + self.settled[::-1]  # a worker cannot always know what was settled a moment ago
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
            case "is paused" if hand:  # for longer than its lease, and the other one is quick
                self.pass_time(LEASE + 1)
                self.claim(hand.claim.step, owner, 10)
            case _:
                steps = sorted(self.due_steps()) or list(Step)
                self.claim(Step(steps[which % len(steps)]), owner, 1 + 9 * (which % 2))

    def do_all_that_is_due(self, owner: str, answer: Answer) -> None:
        """Claim, work and settle, as a healthy worker does all day."""
        for step in sorted(self.due_steps()):
            hands = self.claim(Step(step), owner, 10)
            for hand in hands:
                self.work(hand, answer)
            self.settle(hands)

    def due_steps(self) -> set[str]:
        """The steps with something to claim."""
        return {owed.step for w in self.expected for owed in w.in_state("live") if owed.due <= self.now}

    def claim(self, step: Step, owner: str, limit: int) -> list[Hand]:
        """Take what is due, and only that, each once."""
        due = {
            request_id(number): (number, owed)
            for number, wanted in enumerate(self.expected)
            for owed in wanted.in_state("live")
            if owed.step == step and owed.due <= self.now
        }
        claims = self.do(self.ground.outbox.claim(step, limit=limit, lease=LEASE * MINUTE, owner=owner))
        assert len(claims) == min(limit, len(due))
        hands = []
        for claim in claims:
            number, owed = due.pop(claim.request.request_id)
            turn = self.expected[number].hand_out(owed, self.now)
            owed.entry_id = owed.entry_id or claim.entry_id
            assert (claim.entry_id, claim.attempt, claim.leases_lost) == (owed.entry_id, owed.tries, owed.lost)
            assert (claim.request.version, claim.request.status) == (
                self.expected[number].version,
                self.expected[number].status,
            )
            hands.append(Hand(number, owed, turn, claim))
        self.hands += hands
        return hands

    def work(self, hand: Hand, answer: Answer) -> None:
        """The world answers; nothing is written down yet."""
        if hand.outcome is None:
            hand.outcome = self.do(self.world.attempt(hand.claim, answer))

    def settle(self, hands: list[Hand]) -> None:
        """All in one commit, late and stale ones among them: those that are no longer ours change nothing."""
        settlements = [Settlement(hand.claim, hand.outcome, TOOK) for hand in hands if hand.outcome]
        held = [ended is not None for ended in self.do(self.ground.outbox.settle_all(settlements))]
        again_at = self.now + RETRY_IN  # a moment that a worker holds does not move when those in the database do
        assert held == [
            self.expected[hand.number].settle(hand.owed, hand.turn, hand.ending, self.now, again_at=again_at)
            for hand in hands
        ]
        self.hands = [hand for hand in self.hands if hand not in hands]
        self.settled = list(dict.fromkeys([*self.settled, *hands]))

    def hold_on(self, hand: Hand) -> None:
        """For another lease, if it is still ours."""
        self.do(self.ground.outbox.extend([hand.claim], LEASE * MINUTE))
        if hand.owed.turn == hand.turn and hand.owed.held:
            hand.owed.due = self.now + LEASE

    def give_back(self, hand: Hand) -> None:
        """At the end of a worker, if it is still ours."""
        self.do(self.ground.outbox.release([hand.claim]))
        self.expected[hand.number].give_back(hand.owed, hand.turn, self.now)
        self.hands = [each for each in self.hands if each is not hand]
