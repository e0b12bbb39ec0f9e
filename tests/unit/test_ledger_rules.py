"""The ledger of one request: whatever happens to it, and however late it is settled, the sums are right."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aigen_bridge.domain.ledger import (
    ABSURD,
    Account,
    Entry,
    EntryKind,
    Job,
    Known,
    account,
    contribution,
    settle,
)
from aigen_bridge.domain.money import Money, Rates

COMMON = settings(max_examples=150, deadline=None, derandomize=True, database=None)
PRICE = Money(Decimal("0.035"), "USD")
DOLLARS_OR_EUROS: Rates = {("EUR", "USD"): Decimal("1.08")}
LATER: Rates = {("EUR", "USD"): Decimal("1.17"), ("USD", "JPY"): Decimal("151.3")}
OPEN = Known(is_over=False, estimate=PRICE)
OVER = replace(OPEN, is_over=True)
FAILED = replace(OVER, is_failed=True)
JOB, OTHER = Job(provider="fal", job_id="7f"), Job(provider="fal", job_id="8a", is_other=True)


def usd(amount: str) -> Money:
    return Money(Decimal(amount), "USD")


def settled(*known: Known, entries: Sequence[Entry] = (), rates: Rates = DOLLARS_OR_EUROS) -> list[Entry]:
    """Returns all entries after the request was settled with each of these."""
    found = list(entries)
    for each in known:
        found += settle(account(found), each, rates)
    return found


def sums(entries: Sequence[Entry]) -> dict[str, Any]:
    """Returns what counts: money by charge, currency and basis, and the numbers of images and failures."""
    booked = account(entries)
    return {
        "reserved": _not_zero((currency, amount) for (currency, _), amount in booked.reserved.items()),
        "spent": _not_zero(
            ((charge, currency, basis), amount)
            for charge, groups in booked.charges.items()
            for (currency, basis, _), amount in groups.items()
        ),
        "images": sum(booked.images.values()),
        "failures": sum(booked.failures.values()),
    }


def _not_zero(amounts: Any) -> dict[Any, Decimal]:
    found: dict[Any, Decimal] = {}
    for key, amount in amounts:
        found[key] = found.get(key, Decimal(0)) + amount
    return {key: amount for key, amount in found.items() if amount}


def spent(entries: Sequence[Entry]) -> dict[str, str]:
    """Returns what is spent by charge."""
    found = sums(entries)["spent"]
    return {charge: f"{amount.normalize():f} {currency} {basis}" for (charge, currency, basis), amount in found.items()}


def test_an_accepted_request_reserves_its_estimate_once() -> None:
    entries = settled(OPEN, OPEN)
    assert [(each.kind, each.reserved, each.currency) for each in entries] == [("reserve", PRICE.amount, "USD")]
    assert dict(entries[0].rates)["EUR"].startswith("0.9259")


@pytest.mark.parametrize(
    ("known", "expected"),
    {
        "nothing may be paid": (FAILED, {}),
        "something may be paid": (replace(FAILED, may_be_paid=True), {"unnamed:1": "0.035 USD estimated"}),
        "cancelled, may be paid": (replace(OVER, may_be_paid=True), {"unnamed:1": "0.035 USD estimated"}),
        "a job": (replace(FAILED, jobs=[JOB]), {"job:fal/7f": "0.035 USD estimated"}),
        "a job and a doubt": (replace(FAILED, jobs=[JOB], may_be_paid=True), {"job:fal/7f": "0.035 USD estimated"}),
        "an unbilled job": (replace(FAILED, jobs=[replace(JOB, is_unbilled=True)]), {}),
        "an unbilled job, then a grant": (
            replace(FAILED, jobs=[replace(JOB, is_unbilled=True)], may_be_paid=True),
            {"unnamed:1": "0.035 USD estimated"},
        ),
        "two jobs, one cost": (
            replace(OVER, has_image=True, jobs=[JOB, OTHER], reported=usd("0.04"), basis="billed"),
            {"job:fal/7f": "0.04 USD billed", "job:fal/8a": "0.035 USD estimated"},
        ),
        "two jobs, the cost of the second": (
            replace(OVER, has_image=True, jobs=[JOB, OTHER], reported=usd("0.04"), reported_job=("fal", "8a")),
            {"job:fal/7f": "0.035 USD estimated", "job:fal/8a": "0.04 USD estimated"},
        ),
        "a job under another provider's name": (
            replace(OVER, has_image=True, jobs=[JOB], reported=usd("0.04"), reported_job=("fal.ai", "7f")),
            {"job:fal/7f": "0.04 USD estimated"},
        ),
        "a job that was never named": (
            replace(OVER, has_image=True, may_be_paid=True, reported=usd("0.04"), reported_job=("fal", "9c")),
            {"job:fal/9c": "0.04 USD estimated"},
        ),
        "a cost without a job": (
            replace(OVER, has_image=True, may_be_paid=True, reported=usd("0.04"), basis="billed"),
            {"unnamed:1": "0.04 USD billed"},
        ),
        "nothing is billed": (replace(FAILED, may_be_paid=True, reported=usd("0")), {}),
        "nothing is billed, but an earlier grant may be": (
            replace(FAILED, may_be_paid=True, is_doubtful=True, reported=usd("0.00"), basis="billed"),
            {"unnamed:1": "0.035 USD estimated"},
        ),
        "a job costs nothing, but an earlier grant may": (
            replace(FAILED, jobs=[JOB], may_be_paid=True, is_doubtful=True, reported=usd("0"), basis="billed"),
            {"unnamed:1": "0.035 USD estimated"},
        ),
        "a cost after an earlier grant": (
            replace(FAILED, may_be_paid=True, is_doubtful=True, reported=usd("0.03"), basis="billed"),
            {"unnamed:1": "0.03 USD billed"},
        ),
        "a job costs nothing": (replace(FAILED, jobs=[JOB], reported=usd("0"), basis="billed"), {}),
        "the provider bills a failure": (
            replace(FAILED, may_be_paid=True, reported=usd("0.03"), basis="billed"),
            {"unnamed:1": "0.03 USD billed"},
        ),
        "another currency": (
            replace(OVER, has_image=True, jobs=[JOB], reported=Money(Decimal("0.03"), "EUR"), basis="billed"),
            {"job:fal/7f": "0.03 EUR billed"},
        ),
        "no price": (replace(OVER, estimate=None, has_image=True, jobs=[JOB]), {}),
        "no price, but a cost": (
            replace(OVER, estimate=None, has_image=True, jobs=[JOB], reported=usd("0.04")),
            {"job:fal/7f": "0.04 USD estimated"},
        ),
    }.values(),
    ids=str,
)
def test_what_is_booked_at_the_end(known: Known, expected: dict[str, str]) -> None:
    for before in ((), (replace(FAILED, estimate=known.estimate, may_be_paid=True),)):
        entries = settled(replace(OPEN, estimate=known.estimate), *before, known)
        assert spent(entries) == expected
        assert sums(entries)["reserved"] == {}
        assert (sums(entries)["images"], sums(entries)["failures"]) == (known.has_image, known.is_failed)


def test_a_second_job_of_an_open_request_is_booked_at_once_and_taken_back_if_it_ends_unbilled() -> None:
    entries = settled(OPEN, replace(OPEN, jobs=[JOB, OTHER]))
    assert sums(entries)["reserved"] == {"USD": PRICE.amount}
    assert spent(entries) == {"job:fal/8a": "0.035 USD estimated"}

    entries = settled(replace(OPEN, jobs=[JOB, replace(OTHER, is_unbilled=True)]), entries=entries)
    assert spent(entries) == {}


def test_a_replay_keeps_what_the_first_sending_cost_and_reserves_again() -> None:
    first = settled(OPEN, replace(FAILED, jobs=[JOB]))
    again = replace(OPEN, sending=2, jobs=[replace(JOB, is_current=False)])
    entries = settled(again, again, entries=first)
    assert sums(entries) == {
        "reserved": {"USD": PRICE.amount},
        "spent": {("job:fal/7f", "USD", "estimated"): PRICE.amount},
        "images": 0,
        "failures": 0,
    }
    entries = settled(replace(again, is_over=True, has_image=True, may_be_paid=True), entries=entries)
    assert spent(entries) == {"job:fal/7f": "0.035 USD estimated", "unnamed:2": "0.035 USD estimated"}


def test_a_job_that_goes_on_after_a_replay_is_one_charge() -> None:
    first = settled(OPEN, replace(FAILED, jobs=[JOB]))
    again = replace(OPEN, sending=2, jobs=[JOB])
    done = replace(again, is_over=True, has_image=True, may_be_paid=True, reported=usd("0.04"), basis="billed")
    assert spent(settled(again, done, entries=first)) == {"job:fal/7f": "0.04 USD billed"}


def test_a_job_that_is_named_after_the_end_takes_the_place_of_the_charge_that_nobody_named() -> None:
    ended = replace(FAILED, may_be_paid=True)
    assert spent(settled(OPEN, ended, replace(ended, jobs=[JOB]))) == {"job:fal/7f": "0.035 USD estimated"}


def test_what_a_later_report_corrects_is_estimated_or_billed_as_a_whole() -> None:
    entries = settled(
        OPEN, replace(FAILED, jobs=[JOB]), replace(OVER, has_image=True, jobs=[JOB], reported=PRICE, basis="billed")
    )
    corrections = [(each.spent, each.basis) for each in entries if each.kind is EntryKind.CORRECTION]
    assert corrections == [(-PRICE.amount, "estimated"), (PRICE.amount, "billed")]
    assert spent(entries) == {"job:fal/7f": "0.035 USD billed"}


@pytest.mark.parametrize(
    ("reported", "is_absurd"),
    [
        (usd("3.50"), False),
        (usd("3.500000001"), True),
        (usd("999999999999"), True),
        (Money(Decimal("3.3"), "EUR"), True),
        (Money(Decimal("3.2"), "EUR"), False),
        (Money(Decimal(500), "JPY"), False),
    ],
    ids=str,
)
def test_a_cost_of_more_than_a_hundred_times_the_estimate_is_booked_and_marked_once(
    reported: Money,
    is_absurd: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    known = replace(OVER, has_image=True, jobs=[JOB], reported=reported, basis="billed")
    entries = settled(OPEN, known, known)
    assert [each.note for each in entries if each.spent] == [ABSURD if is_absurd else None]
    assert sums(entries)["spent"] == {("job:fal/7f", reported.currency, "billed"): reported.amount}


def test_an_image_counts_in_the_currency_of_its_cost() -> None:
    ended = replace(OVER, has_image=True, jobs=[JOB])
    entries = settled(OPEN, ended, replace(ended, reported=Money(Decimal("0.03"), "EUR")))
    assert account(entries).images == {"USD": 0, "EUR": 1}


# Any story.


@dataclass
class Story:
    """A request to which things happen, as the store would describe it at any time."""

    sending: int = 1
    status: str = "open"
    granted: bool = False
    doubtful: bool = False
    jobs: list[Job] = field(default_factory=list)
    reported: Money | None = None
    basis: str | None = None
    reported_job: tuple[str | None, str] | None = None

    def known(self) -> Known:
        return Known(
            sending=self.sending,
            is_over=self.status != "open",
            has_image=self.status == "completed",
            is_failed=self.status == "failed",
            may_be_paid=self.granted or self.doubtful or self.status == "completed",
            is_doubtful=self.doubtful,
            estimate=PRICE,
            jobs=tuple(self.jobs),
            reported=self.reported,
            basis=self.basis,
            reported_job=self.reported_job,
        )

    def grant(self, _: int) -> None:
        self.granted = self.granted or self.status == "open"

    def doubt(self, _: int) -> None:
        self.doubtful, self.granted = self.doubtful or self.granted, False

    def refuse(self, _: int) -> None:
        self.granted = False

    def name(self, number: int) -> None:
        job = Job(provider="fal", job_id=str(number), is_other=any(not each.is_unbilled for each in self.jobs))
        if not any(each.job_id == job.job_id for each in self.jobs):
            self.jobs.append(job)
            self.granted = False

    def end_unbilled(self, number: int) -> None:
        if self.reported_job is None or self.reported_job[1] != str(number):
            self.jobs = [replace(job, is_unbilled=job.is_unbilled or job.job_id == str(number)) for job in self.jobs]

    def fail(self, _: int) -> None:
        if self.status == "open":
            self.status = "failed"

    def cancel(self, _: int) -> None:
        if self.status == "open":
            self.status = "cancelled"

    def complete(self, number: int) -> None:
        if self.status in {"open", "failed"}:
            self.status = "completed"
            if number % 2 and self.jobs:
                self.reported_job = ("fal", self.jobs[number % len(self.jobs)].job_id)

    def report(self, number: int) -> None:
        """The cost that comes with the end, or after it. A later one is of the same job."""
        if self.status != "open":
            costs = (usd("0"), PRICE, usd("0.04"), usd("900"), Money(Decimal("0.03"), "EUR"), Money(Decimal(5), "JPY"))
            self.reported, self.basis = costs[number % len(costs)], ("billed", "estimated")[number % 2]
            if self.reported_job is None and (live := [job for job in self.jobs if not job.is_unbilled]):
                self.reported_job = ("fal", live[0].job_id)

    def replay(self, _: int) -> None:
        self.sending, self.status, self.granted = self.sending + 1, "open", False
        self.doubtful = False
        self.reported = self.basis = self.reported_job = None
        live = [job for job in self.jobs if not job.is_unbilled and not job.is_other]
        self.jobs = [replace(job, is_current=job in live[-1:] and job.is_current) for job in self.jobs]


EVENTS = ("grant", "doubt", "refuse", "name", "end_unbilled", "fail", "cancel", "complete", "report", "replay")
stories = st.lists(st.tuples(st.sampled_from(EVENTS), st.integers(0, 5), st.booleans(), st.booleans()), max_size=14)


def told(story: Sequence[tuple[str, int, bool, bool]], *, is_settled_between: bool) -> tuple[list[Entry], Story]:
    """Returns the entries after a story. A replay settles before and after it; the rates change now and then."""
    request, entries = Story(), settled(OPEN)
    for event, number, is_settled, is_later in story:
        rates = LATER if is_later else DOLLARS_OR_EUROS
        if event == "replay":
            if request.status != "failed":
                continue
            entries = settled(request.known(), entries=entries, rates=rates)
        getattr(request, event)(number)
        if event == "replay" or (is_settled and is_settled_between):
            entries = settled(request.known(), entries=entries, rates=rates)
    return settled(request.known(), entries=entries), request


@COMMON
@given(stories)
def test_settling_again_adds_nothing(story: list[tuple[str, int, bool, bool]]) -> None:
    entries, request = told(story, is_settled_between=True)
    assert settle(account(entries), request.known(), LATER) == []


@COMMON
@given(stories)
def test_however_late_and_seldom_a_request_is_settled_its_account_is_the_same(
    story: list[tuple[str, int, bool, bool]],
) -> None:
    often, _ = told(story, is_settled_between=True)
    seldom, _ = told(story, is_settled_between=False)
    assert sums(often) == sums(seldom)


@COMMON
@given(stories)
def test_no_sum_is_ever_negative_and_an_ended_request_reserves_nothing_in_any_currency(
    story: list[tuple[str, int, bool, bool]],
) -> None:
    entries, request = told(story, is_settled_between=True)
    for currency in ("USD", "EUR", "JPY"):
        reserved = Decimal(0)
        for each in entries:
            reserved += contribution(each, currency)[0]
            assert reserved >= 0
        assert reserved == 0 or request.status == "open"
        assert sum(contribution(each, currency)[1] for each in entries) >= 0
    counted = account(entries)
    assert all(sum(groups.values()) >= 0 for groups in counted.charges.values())
    assert isinstance(counted, Account)
