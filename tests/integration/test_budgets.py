"""Budgets: what is accepted never reserves more than a hard budget has, and what is refused leaves no trace."""

from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from sqlalchemy import text

from aigen_bridge.domain.budget import Budget, Exceeded, Period, Purpose, Unconvertible
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.money import Rates
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store.budgets import Budgets
from aigen_bridge.store.database import Database
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines
from stage import make_event

DEADLINES = Deadlines(timedelta(minutes=10), timedelta(minutes=5))
ACTION = OperatorAction("test", None)
CAMPAIGN, OTHER = uuid4(), uuid4()


def budget(name: str = "marketing", limit: str = "1.00", **changes: Any) -> Budget:
    values: dict[str, Any] = {
        "id": 0,
        "name": name,
        "limit": Decimal(limit),
        "currency": "USD",
        "period": Period.MONTH,
        "time_zone": "UTC",
        "is_hard": True,
        "purpose": Purpose(),
    }
    return Budget(**values | changes)


def new(price: str | None = "0.035", currency: str = "USD", **event: Any) -> NewRequest:
    made = make_event() | event
    model = {"price": {"amount": price, "currency": currency, "per": "image"}} if price else None
    return NewRequest(UUID(made["requestId"]), UUID(made["correlationId"]), made, model=model)


def requests_of(database: Database, rates: Rates | None = None) -> Requests:
    return Requests(database, DEADLINES, PostgresImages(database), rates or {})


@pytest.fixture
def requests(database: Database) -> Requests:
    return requests_of(database)


@pytest.fixture
def budgets(database: Database) -> Budgets:
    return Budgets(database, timedelta(minutes=15))


def is_accepted(found: Any) -> bool:
    return not isinstance(found, Exceeded | Unconvertible)


async def reserved(database: Database, name: str = "marketing") -> tuple[Decimal, Decimal]:
    """Returns what a budget has reserved, and what the ledger has."""
    async with database.reading() as connection:
        usage = await connection.scalar(
            text(
                "SELECT coalesce(sum(reserved), 0) FROM budget_usage JOIN budgets ON id = budget_id WHERE name = :name"
            ),
            {"name": name},
        )
        return usage, await connection.scalar(text("SELECT coalesce(sum(reserved), 0) FROM ledger"))


async def count(database: Database, table: str) -> int:
    async with database.reading() as connection:
        return int(await connection.scalar(text(f"SELECT count(*) FROM {table}")) or 0)  # noqa: S608 - a test's table


async def test_what_a_hard_budget_cannot_take_is_refused_and_leaves_no_trace(
    database: Database, requests: Requests, budgets: Budgets
) -> None:
    await budgets.put(budget(limit="0.10"), ACTION)
    found = await requests.accept_all([new() for _ in range(4)])

    assert [is_accepted(each) for each in found] == [True, True, False, False]
    refusal = found[2]
    assert isinstance(refusal, Exceeded)
    assert (refusal.budget.name, refusal.spent, refusal.reserved, refusal.price) == (
        "marketing",
        0,
        Decimal("0.07"),
        Decimal("0.035"),
    )
    assert await reserved(database) == (Decimal("0.07"), Decimal("0.07"))
    assert (await count(database, "requests"), await count(database, "outbox")) == (2, 2)


async def test_the_same_request_again_is_known_although_the_budget_is_spent(
    database: Database, requests: Requests, budgets: Budgets
) -> None:
    await budgets.put(budget(limit="0.035"), ACTION)
    first, other = new(), new()
    assert is_accepted(await requests.accept(first))
    again = await requests.accept_all([first, other, first])

    assert [is_accepted(each) for each in again] == [True, False, True]
    assert [created for _, created in (again[0], again[2])] == [False, False]
    assert await reserved(database) == (Decimal("0.035"), Decimal("0.035"))


async def test_a_repeat_inside_one_batch_reserves_once(
    database: Database, requests: Requests, budgets: Budgets
) -> None:
    await budgets.put(budget(limit="0.07"), ACTION)
    first = new()
    found = await requests.accept_all([first, first, new(), first])

    assert all(map(is_accepted, found))
    assert await reserved(database) == (Decimal("0.07"), Decimal("0.07"))


async def test_of_two_requests_with_one_id_in_a_batch_the_second_is_not_refused_for_the_first_ones_price(
    database: Database, requests: Requests, budgets: Budgets
) -> None:
    await budgets.put(budget(limit="0.05"), ACTION)
    dear, cheap = new("0.06"), new("0.04")
    cheap = NewRequest(dear.request_id, cheap.correlation_id, dear.event, odoo="north", model=cheap.model)
    found = await requests.accept_all([dear, cheap])

    assert [is_accepted(each) for each in found] == [False, True]
    assert await reserved(database) == (Decimal("0.04"), Decimal("0.04"))
