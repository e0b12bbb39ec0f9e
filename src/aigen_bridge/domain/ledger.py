"""The ledger: what each request reserved and cost, in entries that are only ever added.

The sums of a request's entries are its account. `settle` compares the account with what is known of the request, and
returns the entries that are missing. Doing it again adds nothing, whatever was missed before, so it may run late.

A charge is one payment at the AI provider: each job that was named and did not end unbilled, and, for each time that a
request was sent (again, by an operator) and ended, one that nobody named, if it may have been made. A charge is booked
as estimated until N8N reports its cost.
"""

from collections.abc import Hashable, Iterator, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeVar

from aigen_bridge.domain.facts import CostBasis
from aigen_bridge.domain.generation import Generation, State
from aigen_bridge.domain.money import Money, Rates, rate, rates_from, times

ABSURD_FACTOR = 100
"""A reported cost of more than so many times the estimate is booked, marked, and told to operators."""
ABSURD = "absurd"
"""The note of such an entry."""

K = TypeVar("K", bound=Hashable)
N = TypeVar("N", int, Decimal)

RecordedRates = tuple[tuple[str, str], ...]
"""The price of one unit of an entry's currency in other currencies, sorted, as decimals in texts."""


class EntryKind(StrEnum):
    """What an entry records."""

    RESERVE = "reserve"
    """The estimate is set aside."""

    RELEASE = "release"
    """It is not set aside any more."""

    CHARGE = "charge"
    """A charge is booked for the first time."""

    CORRECTION = "correction"
    """A charge that was booked costs something else: one entry takes it back, another books it anew."""

    END = "end"
    """The request ended with or without an image, or did so in another way; no money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change of the sums. `charge` is the name of the charge that it books or corrects.

    `rates` are those of the time when it was written. An entry that takes another one back has the rates of that one,
    so that the sum of both is zero in every currency.
    """

    kind: EntryKind
    reserved: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    currency: str | None = None
    rates: RecordedRates = ()
    charge: str | None = None
    basis: str | None = None
    images: int = 0
    failures: int = 0
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job of the AI provider.

    `is_unbilled`: N8N reported that it ended without being charged. `is_other`: another job was known when it was
    named. `is_current`: it belongs to the last time that the request was sent.
    """

    provider: str
    job_id: str
    is_unbilled: bool = False
    is_other: bool = False
    is_current: bool = True

    @property
    def charge(self) -> str:
        """The name of its charge."""
        return f"job:{self.provider}/{self.job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a request when it is settled.

    `sending` counts how often the request was sent to N8N: once, and again for each replay by an operator; resends
    after a silence do not count. `is_over`: nothing more will be paid for this sending. `may_be_paid`: something may
    have been paid for it that nobody named; `is_doubtful`: by an execution that fell silent, and not by the one that
    reported last. `reported` and `basis` are the cost that its result named, `reported_job`
    the job that made it: provider (None if it is not known) and id.
    """

    sending: int = 1
    is_over: bool
    has_image: bool = False
    is_failed: bool = False
    may_be_paid: bool = False
    is_doubtful: bool = False
    estimate: Money | None = None
    jobs: Sequence[Job] = ()
    reported: Money | None = None
    basis: str | None = None
    reported_job: tuple[str | None, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a charge costs, and how that is known. `note` is that of its entry."""

    money: Money
    basis: str
    note: str | None = None


Reserved = tuple[str, RecordedRates]
Spent = tuple[str, str | None, RecordedRates]
"""Currency, basis and rates of entries that can be taken back together."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sums of a request's entries. `charges` are by the name of the charge, `images` and `failures` by currency."""

    reserved: Mapping[Reserved, Decimal] = field(default_factory=dict)
    charges: Mapping[str, Mapping[Spent, Decimal]] = field(default_factory=dict)
    images: Mapping[str | None, int] = field(default_factory=dict)
    failures: Mapping[str | None, int] = field(default_factory=dict)


def may_be_paid(generation: Generation | None, *, was_dispatched: bool, is_made: bool) -> bool:
    """Returns whether something may have been paid for a request, beside its jobs.

    `generation` is None if N8N's workflow did not ask before it paid; then whatever N8N took may be paid.
    `was_dispatched`: N8N took the request. `is_made`: N8N made an image.
    """
    if is_made or generation is None:
        return is_made or was_dispatched
    return generation.doubts > 0 or generation.state in {State.GRANTED, State.DOUBTFUL}


def account(entries: Sequence[Entry]) -> Account:
    """Returns the sums of these entries."""
    reserved: dict[Reserved, Decimal] = {}
    charges: dict[str, dict[Spent, Decimal]] = {}
    images: dict[str | None, int] = {}
    failures: dict[str | None, int] = {}
    for entry in entries:
        if entry.currency is not None and entry.reserved:
            _add(reserved, (entry.currency, entry.rates), entry.reserved)
        if entry.currency is not None and entry.charge is not None:
            _add(charges.setdefault(entry.charge, {}), (entry.currency, entry.basis, entry.rates), entry.spent)
        _add(images, entry.currency, entry.images)
        _add(failures, entry.currency, entry.failures)
    return Account(reserved=reserved, charges=charges, images=images, failures=failures)


def settle(booked: Account, known: Known, rates: Rates) -> list[Entry]:
    """Returns the entries that make the account agree with what is known; none if it does.

    While a request is open, its estimate is reserved. When it is over, its charges are booked and nothing is reserved.
    The charges of earlier sendings stay.
    """
    entries = list(_settle_reservation(booked, None if known.is_over else known.estimate, rates))
    for charge, price in _prices(booked, known, rates).items():
        entries += _settle_charge(charge, booked.charges.get(charge, {}), price, rates)
    return entries + list(_settle_end(booked, known))


def _settle_reservation(booked: Account, wanted: Money | None, rates: Rates) -> Iterator[Entry]:
    outstanding = {key: amount for key, amount in booked.reserved.items() if amount}
    if _sums(outstanding) == ({(wanted.currency,): wanted.amount} if wanted and wanted.amount else {}):
        return
    for (currency, recorded), amount in outstanding.items():
        yield Entry(kind=EntryKind.RELEASE, reserved=-amount, currency=currency, rates=recorded)
    if wanted and wanted.amount:
        recorded = recorded_rates(rates, wanted.currency)
        yield Entry(kind=EntryKind.RESERVE, reserved=wanted.amount, currency=wanted.currency, rates=recorded)


def _settle_charge(name: str, booked: Mapping[Spent, Decimal], price: Price | None, rates: Rates) -> Iterator[Entry]:
    wanted = price if price and price.money.amount else None
    outstanding = {key: amount for key, amount in booked.items() if amount}
    if _sums(outstanding) == ({(wanted.money.currency, wanted.basis): wanted.money.amount} if wanted else {}):
        return
    for (currency, basis, recorded), amount in outstanding.items():
        back = {"currency": currency, "basis": basis, "rates": recorded}
        yield Entry(kind=EntryKind.CORRECTION, charge=name, spent=-amount, **back)  # type: ignore[arg-type]
    if wanted:
        yield Entry(
            kind=EntryKind.CORRECTION if booked else EntryKind.CHARGE,
            charge=name,
            spent=wanted.money.amount,
            currency=wanted.money.currency,
            rates=recorded_rates(rates, wanted.money.currency),
            basis=wanted.basis,
            note=wanted.note,
        )


def _settle_end(booked: Account, known: Known) -> Iterator[Entry]:
    money = known.reported or known.estimate
    currency = money.currency if money else None
    images, failures = {currency: int(known.has_image)}, {currency: int(known.is_failed)}
    for each in sorted({currency, *booked.images, *booked.failures}, key=str):
        missing_images = images.get(each, 0) - booked.images.get(each, 0)
        missing_failures = failures.get(each, 0) - booked.failures.get(each, 0)
        if missing_images or missing_failures:
            yield Entry(kind=EntryKind.END, currency=each, images=missing_images, failures=missing_failures)


def _prices(booked: Account, known: Known, rates: Rates) -> dict[str, Price | None]:
    """Returns the prices of the charges about which anything is known. All others stay as they are booked."""
    estimate = Price(money=known.estimate, basis=CostBasis.ESTIMATED) if known.estimate else None
    paying = _reported_job(known)
    jobs = {job.charge: job for job in [*known.jobs, *([paying] if paying else [])]}
    unnamed = f"unnamed:{known.sending}"
    prices: dict[str, Price | None] = {
        name: None if job.is_unbilled else _booked(booked, name) or estimate
        for name, job in jobs.items()
        if known.is_over or not _is_reserved_for(job) or job.is_unbilled or _booked(booked, name)
    }
    if not known.is_over:
        return prices
    prices[unnamed] = estimate if _is_unnamed_owed(known, paying, list(jobs.values())) else None
    if known.reported and (paying or known.reported.amount):
        prices[paying.charge if paying else unnamed] = _reported_price(known.reported, known, rates)
    return prices


def _is_unnamed_owed(known: Known, paying: Job | None, jobs: Sequence[Job]) -> bool:
    """Returns whether the last sending has a charge that nobody named. `paying` is the job that made the result.

    A result that cost nothing says so of its own execution only.
    """
    is_free = known.reported is not None and not known.reported.amount
    charged = [job for job in jobs if not (is_free and job == paying)]
    is_named = any(job == paying or (job.is_current and not job.is_unbilled) for job in charged)
    return (known.is_doubtful if is_free else known.may_be_paid) and not is_named


def _is_reserved_for(job: Job) -> bool:
    """Returns whether the reservation of an open request is for this job."""
    return job.is_current and not job.is_other


def _reported_job(known: Known) -> Job | None:
    """Returns the job that made the result, as far as it is known."""
    if known.reported_job:
        provider, job_id = known.reported_job
        same = [job for job in known.jobs if job.job_id == job_id]
        exact = [job for job in same if provider in {None, job.provider}]
        return (exact or same or [Job(provider=provider or "", job_id=job_id)])[0]
    if not known.reported:
        return None
    return next((job for job in known.jobs if job.is_current and not job.is_unbilled and not job.is_other), None)


def _reported_price(money: Money, known: Known, rates: Rates) -> Price:
    basis = known.basis or CostBasis.ESTIMATED
    return Price(money=money, basis=basis, note=ABSURD if _is_absurd(money, known.estimate, rates) else None)


def _is_absurd(reported: Money, estimate: Money | None, rates: Rates) -> bool:
    price = rate(rates, reported.currency, estimate.currency) if estimate else None
    return bool(estimate and price and reported.amount * price > estimate.amount * ABSURD_FACTOR)


def _booked(booked: Account, charge: str) -> Price | None:
    """Returns what is booked for a charge; None for nothing."""
    sums = _sums(booked.charges.get(charge, {}))
    return next((Price(money=Money(amount, key[0]), basis=key[1]) for key, amount in sums.items()), None)


def _add(sums: MutableMapping[K, N], key: K, amount: N) -> None:
    sums[key] = sums[key] + amount if key in sums else amount


def _sums(booked: Mapping[tuple[Any, ...], Decimal]) -> dict[tuple[Any, ...], Decimal]:
    """Returns the sums that are not zero, whatever the rates of their entries."""
    sums: dict[tuple[Any, ...], Decimal] = {}
    for key, amount in booked.items():
        _add(sums, key[:-1], amount)
    return {key: amount for key, amount in sums.items() if amount}


def recorded_rates(rates: Rates, currency: str) -> RecordedRates:
    """Returns the rates from this currency to all that are known, as an entry records them."""
    return tuple(sorted(rates_from(rates, currency).items()))


def contribution(entry: Entry, currency: str) -> tuple[Decimal, Decimal]:
    """Returns what an entry adds to the reserved and the spent sum of a budget in this currency.

    Nothing if the entry records no rate to this currency.
    """
    price = Decimal(1) if entry.currency == currency else Decimal(dict(entry.rates).get(currency, 0))
    return times(entry.reserved, price), times(entry.spent, price)
