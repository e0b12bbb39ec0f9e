"""Budgets: what is accepted never reserves more than a hard budget has, and what is refused leaves no trace."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import text

from accepting import budget, is_accepted, new, requests_of
from aigen_bridge.domain.budget import (
    BudgetNameTakenError,
    Exceeded,
    Period,
    Purpose,
    Unconvertible,
    UnknownBudgetError,
    UnknownTimeZoneError,
)
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.store.budget_changes import ChangeableBudgets
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import PERIOD_START
from aigen_bridge.store.requests import Requests

ACTION = OperatorAction("test", None)
CAMPAIGN, USER = uuid4(), uuid4()


@pytest.fixture
def requests(database: Database) -> Requests:
    return requests_of(database)


@pytest.fixture
def budgets(database: Database) -> ChangeableBudgets:
    return ChangeableBudgets(database, timedelta(minutes=15))


async def value(database: Database, query: str, **parameters: Any) -> Any:
    async with database.transaction() as connection:
        return await connection.scalar(text(query), parameters)


async def reserved(database: Database, name: str = "marketing") -> tuple[Decimal, Decimal]:
    """Returns what a budget has reserved in its current period, and what the ledger has."""
    of_budget = "SELECT coalesce(sum(reserved), 0) FROM budget_usage JOIN budgets ON id = budget_id WHERE name = :name"
    return await value(database, of_budget, name=name), await value(database, "SELECT sum(reserved) FROM ledger")


async def test_what_a_hard_budget_cannot_take_is_refused_and_leaves_no_trace(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.10"), ACTION)
    found = await requests.accept_all([new() for _ in range(4)])

    assert [is_accepted(each) for each in found] == [True, True, False, False]
    refusal = found[2]
    assert isinstance(refusal, Exceeded)
    assert (refusal.budget.name, refusal.spent, refusal.reserved) == ("marketing", 0, Decimal("0.07"))
    assert refusal.price == Decimal("0.035")
    assert await reserved(database) == (Decimal("0.07"), Decimal("0.07"))
    counts = (
        "SELECT ARRAY[(SELECT count(*) FROM requests), (SELECT count(*) FROM outbox), (SELECT count(*) FROM ledger)]"
    )
    assert await value(database, counts) == [2, 2, 2]


async def test_the_same_request_again_is_known_although_the_budget_is_spent(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.035"), ACTION)
    first, other = new(), new()
    assert is_accepted(await requests.accept(first))
    again = await requests.accept_all([first, other, first])

    assert [is_accepted(each) for each in again] == [True, False, True]
    assert [each[1] for each in (again[0], again[2]) if isinstance(each, tuple)] == [False, False]
    assert await reserved(database) == (Decimal("0.035"), Decimal("0.035"))


async def test_a_repeat_inside_one_batch_reserves_once(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.07"), ACTION)
    first = new()
    assert all(map(is_accepted, await requests.accept_all([first, first, new(), first])))
    assert await reserved(database) == (Decimal("0.07"), Decimal("0.07"))


async def test_a_request_with_the_id_of_a_refused_one_of_the_same_batch_is_decided_by_itself(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.05"), ACTION)
    dear = new("0.06")
    cheap = new("0.04", odoo="north", requestId=str(dear.request_id))
    assert [is_accepted(each) for each in await requests.accept_all([dear, cheap])] == [False, True]
    assert await reserved(database) == (Decimal("0.04"), Decimal("0.04"))


async def test_an_item_that_cannot_be_written_does_not_reserve_the_others_twice(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    """The batch is repeated one by one, after all of it was rolled back."""
    await budgets.put(budget(), ACTION)
    broken = new(prompt="\0 cannot be stored")
    wanted = [new(), broken, new()]
    with pytest.raises(Exception, match="unsupported Unicode"):
        await requests.accept_all(wanted)
    assert is_accepted(await requests.accept(wanted[0]))
    assert is_accepted(await requests.accept(wanted[2]))
    assert await reserved(database) == (Decimal("0.07"), Decimal("0.07"))


async def test_without_a_price_nothing_is_reserved_or_refused(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0"), ACTION)
    assert is_accepted(await requests.accept(new(price=None)))
    assert is_accepted(await requests.accept(new(price="0")))
    assert not is_accepted(await requests.accept(new()))
    assert await reserved(database) == (0, 0)


async def test_a_soft_budget_refuses_nothing_and_counts(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.05", is_hard=False), ACTION)
    assert all(map(is_accepted, await requests.accept_all([new(), new()])))
    assert await reserved(database) == (Decimal("0.07"), Decimal("0.07"))


async def test_a_budget_counts_only_what_it_matches_and_the_tightest_decides(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget("all", "1"), ACTION)
    await budgets.put(budget("campaign", "0.07", purpose=Purpose(campaign_id=CAMPAIGN)), ACTION)
    await budgets.put(budget("person", "0.04", purpose=Purpose(user_id=USER, odoo="default")), ACTION)
    of_both = {"campaignId": str(CAMPAIGN), "userId": str(USER)}
    wanted = [new(**of_both), new(**of_both), new(campaignId=str(CAMPAIGN)), new(campaignId=str(CAMPAIGN)), new()]
    found = await requests.accept_all(wanted)

    refused = [each.budget.name if isinstance(each, Exceeded) else None for each in found]
    assert refused == [None, "person", None, "campaign", None]
    shares = {name: (await reserved(database, name))[0] for name in ("all", "campaign", "person")}
    assert shares == {"all": Decimal("0.105"), "campaign": Decimal("0.07"), "person": Decimal("0.035")}


async def test_currencies_are_converted_by_the_rates_and_never_added(
    database: Database, budgets: ChangeableBudgets
) -> None:
    requests = requests_of(database, {("EUR", "USD"): Decimal("1.08")})
    await budgets.put(budget("euros", "10", currency="EUR"), ACTION)
    await budgets.put(budget("dollars", "10"), ACTION)
    assert all(map(is_accepted, await requests.accept_all([new("1", "EUR"), new("1", "USD")])))

    in_euros = 1 + Decimal("0.925925926")
    assert (await reserved(database, "euros"))[0] == in_euros
    assert (await reserved(database, "dollars"))[0] == Decimal("2.08")
    assert isinstance(await requests.accept(new("1", "CHF")), Unconvertible)
    await budgets.put(budget("euros", "10", currency="EUR", period=Period.TOTAL), ACTION)
    assert (await reserved(database, "euros"))[0] == in_euros, "recomputed from the ledger by the recorded rates"


async def test_a_changed_budget_holds_for_the_next_request_and_counts_those_before_it(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    assert is_accepted(await requests.accept(new()))
    await budgets.put(budget(limit="0.05"), ACTION)
    assert not is_accepted(await requests.accept(new()))
    await budgets.put(budget(limit="0.07"), ACTION)
    assert is_accepted(await requests.accept(new()))
    await budgets.put(budget(limit="0.01"), ACTION)  # below what is reserved
    assert not is_accepted(await requests.accept(new()))
    assert (await budgets.state("marketing")).usage.reserved == Decimal("0.07")
    await budgets.put(budget(limit="0.01", purpose=Purpose(campaign_id=CAMPAIGN)), ACTION)
    assert (await budgets.state("marketing")).usage.reserved == 0
    assert is_accepted(await requests.accept(new()))
    await budgets.remove("marketing", ACTION)
    assert is_accepted(await requests.accept(new(campaignId=str(CAMPAIGN))))
    with pytest.raises(UnknownBudgetError):
        await budgets.remove("marketing", ACTION)


async def test_a_revision_differs_from_those_that_were_known_before_a_backup_was_restored(
    database: Database, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(), ACTION)
    before = await value(database, "SELECT revision FROM budget_changes")
    await value(database, "UPDATE budget_changes SET revision = 0 RETURNING 1")
    await budgets.put(budget(limit="2"), ACTION)
    assert await value(database, "SELECT revision FROM budget_changes") > before


async def test_an_operator_of_one_odoo_has_only_the_budgets_that_match_it(
    database: Database, budgets: ChangeableBudgets
) -> None:
    of_north = OperatorAction("north", None, "north")
    await budgets.put(budget("all"), ACTION)
    await budgets.put(budget("theirs", purpose=Purpose(odoo="north")), of_north)

    assert [state.budget.name for state in await budgets.states("north")] == ["theirs"]
    with pytest.raises(BudgetNameTakenError):
        await budgets.put(budget("all", purpose=Purpose(odoo="north")), of_north)
    with pytest.raises(UnknownBudgetError):
        await budgets.remove("all", of_north)


async def test_a_time_zone_that_postgresql_does_not_know_is_refused(
    database: Database, budgets: ChangeableBudgets
) -> None:
    with pytest.raises(UnknownTimeZoneError):
        await budgets.put(budget(time_zone="Mars/Olympus"), ACTION)
    assert await value(database, "SELECT revision FROM budget_changes") == 0


STARTS = [
    ("2026-03-31T21:59:59Z", "month", "Europe/Berlin", "2026-02-28T23:00:00Z"),  # summer time began in between
    ("2026-03-31T22:00:00Z", "month", "Europe/Berlin", "2026-03-31T22:00:00Z"),
    ("2026-03-29T12:00:00Z", "day", "Europe/Berlin", "2026-03-28T23:00:00Z"),  # 23 hours long
    ("2026-10-25T22:59:59Z", "day", "Europe/Berlin", "2026-10-24T22:00:00Z"),  # 25 hours long
    ("2026-10-25T23:00:00Z", "day", "Europe/Berlin", "2026-10-25T23:00:00Z"),
    ("2026-04-24T20:59:59Z", "day", "Africa/Cairo", "2026-04-23T22:00:00Z"),  # the day begins at 01:00
    ("2026-12-31T23:30:00Z", "month", "UTC", "2026-12-01T00:00:00Z"),
    ("2026-12-31T23:30:00Z", "total", "Europe/Berlin", "1970-01-01T00:00:00Z"),
]


async def test_a_period_begins_by_the_calendar_of_its_time_zone(database: Database) -> None:
    query = f"SELECT {PERIOD_START.format(at=':at')} FROM (VALUES (:period, :zone)) AS b (period, time_zone)"  # noqa: S608 - constants
    for at, period, zone, start in STARTS:
        found = await value(database, query, at=datetime.fromisoformat(at), period=period, zone=zone)
        assert found.astimezone(UTC) == datetime.fromisoformat(start), (at, period, zone)


async def test_a_new_period_begins_with_nothing_used(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.04", period=Period.DAY), ACTION)
    assert is_accepted(await requests.accept(new()))
    assert not is_accepted(await requests.accept(new()))
    await value(database, "UPDATE budget_usage SET period_start = period_start - interval '1 day' RETURNING 1")
    assert is_accepted(await requests.accept(new()))
    assert (await budgets.state("marketing")).usage.reserved == Decimal("0.035")


async def test_the_usage_of_a_period_is_forgotten_two_days_after_its_end(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    for period in Period:
        await budgets.put(budget(period.value, period=period), ACTION)
    assert is_accepted(await requests.accept(new()))
    await value(
        database,
        "INSERT INTO budget_usage (budget_id, period_start, spent)"
        " SELECT budget_id, max(period_start) - past, 1 FROM budget_usage,"
        " unnest(ARRAY['1 day', '2 days', '3 days', '2 months']::interval[]) AS past"
        " WHERE period_start > '1970-01-02' GROUP BY budget_id, past"
        " ON CONFLICT DO NOTHING RETURNING 1",  # at midnight, yesterday is there already
    )
    await budgets.forget_ended()
    kept = "SELECT array_agg(DISTINCT name ORDER BY name) FROM budget_usage JOIN budgets ON id = budget_id"
    days = "SELECT count(*) FROM budget_usage JOIN budgets ON id = budget_id WHERE name = 'day'"
    assert await value(database, kept) == ["day", "month", "total"]
    assert await value(database, days) == 3
    assert (
        await value(database, "SELECT count(*) FROM budget_usage WHERE period_start < now() - interval '2 months'") == 1
    )


async def test_people_are_told_once_at_50_80_and_100_percent_and_when_a_budget_is_overrun(
    database: Database, requests: Requests, budgets: ChangeableBudgets
) -> None:
    await budgets.put(budget(limit="0.10"), ACTION)
    told = []
    for price in ("0.04", "0.02", "0.01", "0.01", "0.02"):
        assert is_accepted(await requests.accept(new(price)))
        told.append([text.partition(",")[0] for text in await budgets.notice()])
    assert told == [
        [],
        ["Budget marketing: 50 % reached"],
        [],
        ["Budget marketing: 80 % reached"],
        ["Budget marketing: 100 % reached"],
    ]
    await value(database, "UPDATE budget_usage SET spent = 0.01 RETURNING 1")
    assert "0.11 USD of 0.10 USD a month are used" in (await budgets.notice())[0]
    assert await budgets.notice() == []
    assert await value(database, "SELECT times FROM incidents WHERE cause = 'budget_notice'") == 4
    await budgets.put(budget(limit="0.20"), ACTION)  # 55 % now
    assert await budgets.notice() == []
    assert is_accepted(await requests.accept(new("0.05")))
    assert (await budgets.notice())[0].startswith("Budget marketing: 80 % reached")
