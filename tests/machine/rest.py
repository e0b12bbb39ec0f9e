"""The required end: once all systems work again, no entry is pending and Odoo has the last version."""

from hypothesis import strategies as st
from hypothesis.stateful import rule

from machine.base import Action, actions, pick
from machine.expected import ENDED, LEASE, Report
from machine.rules_asking import TIME, Asking
from machine.rules_generating import GENERATION
from machine.rules_operating import Operating
from machine.rules_reporting import CALLBACKS, CRASHES, Reporting
from machine.rules_working import WORK, Working
from machine.world import ARE_MARKED, NAMES, PICTURES, REQUESTS_MAX, request_id

ROUNDS = 16
"""Enough for dispatch, doubts, resumes, a deadline, fetch and deliver, each with a lease or a wait before it."""


PEOPLE = actions(
    "people",
    what=st.sampled_from(
        ["ask", "cancel", "complete", "replay", "replay", "discard", "outage", "try", "send again", "restore"]
    ),
    which=pick,
)


class Machine(Asking, Working, Reporting, Operating):
    """All events, in any order."""

    @rule(action=st.one_of(WORK, GENERATION, CALLBACKS, CRASHES, TIME, PEOPLE))
    def happens(self, action: Action) -> None:
        """Performs one action of any actor.

        With a rule for each actor, most examples would omit whole actors and combine little.
        """
        getattr(self, action["who"])(**{name: drawn for name, drawn in action.items() if name != "who"})

    def people(self, what: str, which: int) -> None:
        number, dead = self.chosen(which), self.dead()
        match what:
            case "ask" if len(self.expected) < REQUESTS_MAX:
                self.ask()
            case "cancel":
                self.cancel(number)
            case "complete":
                self.complete(number, sorted(PICTURES)[which % 2])
            case "replay" if dead:
                self.replay(*dead[which % len(dead)], which % 2)
            case "discard" if dead:
                self.discard(*dead[which % len(dead)])
            case "send again":
                self.replay_request(number)
            case "restore":
                self.restore()
            case "outage":  # and the morning after
                self.do_all_that_is_due("one", "for good")
                self.replay_all()
            case _:
                self.try_what_changes_nothing(number)

    def try_what_changes_nothing(self, number: int) -> None:
        """Performs a repeat, an uncorrelated report, replays of entries that are not dead, and a listing."""
        self.ask_again(number)
        self.report(number, Report("image", "harbour", correlated=False))
        self.replay_what_is_not_dead(number)
        self.look_at_the_dead_letters()

    def replay_all(self) -> None:
        """Replays every dead letter. A replay may end others."""
        while dead := self.dead():
            self.replay(*dead[0])

    def come_to_rest(self) -> None:
        """Lets everything end twice: with the workers alone, and after a replay of every dead letter."""
        self.reconcile()
        self._drain()
        self._check_that_odoo_knows()
        self.replay_all()
        self._drain()
        assert not self.dead()
        self._check_that_odoo_knows()

    def _drain(self) -> None:
        """Works until no entry is live. Dead entries stay dead, and N8N reports only every second request."""
        self.hands.clear()
        for _ in range(ROUNDS):
            if not any(wanted.in_state("live") or wanted.deadline for wanted in self.expected):
                break
            self.pass_time(LEASE + 1)
            self.do_all_that_is_due("one", "well")
            for number, wanted in enumerate(self.expected):
                if wanted.status == "dispatched" and number % 2 == 0:
                    self.report(number, Report("url" if number else "image", "harbour"))
            self.end_quiet()
            self.expire()
        self.the_store_is_as_the_specification_says()
        assert all(w.status in ENDED or w.holds for w in self.expected)
        assert not any(w.in_state("live") for w in self.expected)

    def _check_that_odoo_knows(self) -> None:
        """Checks that Odoo applied the last version last, each version once, and has the image."""
        for number, wanted in enumerate(self.expected):
            if wanted.delivered:
                record = self.world.odoo[str(request_id(number))]
                assert (record.version, record.status) == (wanted.version, wanted.status)
                assert record.versions == tuple(sorted(set(record.versions)))
                assert NAMES.get(record.sha256 or "") == (wanted.image if wanted.status == "completed" else None)
                assert (record.sha256 in ARE_MARKED) == (wanted.marked and wanted.status == "completed")
            else:
                assert wanted.waived or wanted.in_state("dead"), "not delivered to Odoo, and no dead letter"
