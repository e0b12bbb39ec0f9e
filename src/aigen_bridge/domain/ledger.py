"""The ledger: what each request reserved and cost, in entries that are only ever added.

The sums of a request's entries are its account. `settle` compares the account with what is known of the request, and
returns the entries that are missing. Doing it again adds nothing, whatever was missed before, so it may run late.

A charge is one payment at the AI provider: each job that was named and did not end unbilled, and, for each time that a
request was sent (again, by an operator) and ended, one that nobody named, if it may have been made. A charge is booked
as estimated until N8N reports its cost.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from aigen_bridge.domain.money import Money

ABSURD_FACTOR = 100
"""A reported cost of more than so many times the estimate is booked, marked, and told to operators."""
ABSURD = "absurd"
"""The note of such an entry."""


class EntryKind(StrEnum):
    """What an entry records."""

    RESERVE = "reserve"
    """The estimate is set aside."""

    RELEASE = "release"
    """It is not set aside any more."""

    CHARGE = "charge"
    """A charge is booked for the first time."""

    CORRECTION = "correction"
    """A charge that was booked costs something else."""

    END = "end"
    """The request ended with or without an image; no money."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A change of the sums. `charge` is the name of the charge that it books or corrects."""

    kind: EntryKind
    reserved: Decimal = Decimal(0)
    spent: Decimal = Decimal(0)
    currency: str | None = None
    charge: str | None = None
    basis: str | None = None
    images: int = 0
    failures: int = 0
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A job of the AI provider. `is_unbilled`: N8N reported that it ended without being charged."""

    provider: str
    job_id: str
    is_unbilled: bool = False

    @property
    def charge(self) -> str:
        """The name of its charge."""
        return f"job:{self.provider}/{self.job_id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a request when it is settled.

    `may_be_paid`: a generation was permitted, or the workflow does not ask for permission and the end does not tell.
    `reported` and `basis` are the cost that the last result named, `reported_job` the job that made it, if it said so.
    """

    is_final: bool
    has_image: bool
    is_failed: bool
    may_be_paid: bool
    estimate: Money | None
    jobs: Sequence[Job] = ()
    reported: Money | None = None
    basis: str | None = None
    reported_job: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """The sums of a request's entries. `charges` are what is booked, by charge and currency."""

    reserved: Mapping[str, Decimal] = field(default_factory=dict)
    charges: Mapping[tuple[str, str], Decimal] = field(default_factory=dict)
    sendings: int = 0
    images: int = 0
    failures: int = 0


def account(entries: Sequence[Entry]) -> Account:
    """Returns the sums of these entries. `sendings` counts the reservations."""
    raise NotImplementedError


def settle(booked: Account, known: Known) -> list[Entry]:
    """Returns the entries that make the account agree with what is known; none if it does."""
    raise NotImplementedError
