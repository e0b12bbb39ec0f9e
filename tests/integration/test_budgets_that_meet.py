"""Budgets under concurrency: several processes accept, and budgets change meanwhile."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

import pytest
from sqlalchemy import text

from accepting import PRICE, budget, is_accepted, new, requests_of
from aigen_bridge.domain.budget import Period, Purpose
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.store.accepts import Booking, insert_requests
from aigen_bridge.store.budget_changes import ChangeableBudgets
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import recompute

ACTION = OperatorAction("test", None)
PROCESSES, PEOPLE, ROOM, EACH = 3, 30, 2, 2
"""Each process asks for `EACH` images of each person, whose budget has room for `ROOM`."""
TESTS = Path(__file__).parents[1]


async def test_several_processes_together_reserve_as_much_as_each_budget_has_and_no_more(
    database: Database, database_url: str
) -> None:
    """They meet at the limit of one person after the other, and all of them in one budget that has room for all."""
    budgets = ChangeableBudgets(database, timedelta(minutes=15))
    await budgets.put(budget("all", limit="1000"), ACTION)
    for number in range(PEOPLE):
        of_person = Purpose(user_id=UUID(int=number))
        await budgets.put(budget(f"person-{number}", limit=str(ROOM * Decimal(PRICE)), purpose=of_person), ACTION)
    async with AsyncExitStack() as running:
        processes = [await running.enter_async_context(_accepting(database_url)) for _ in range(PROCESSES)]
        for process in processes:
            assert process.stdout
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))

    assert sum(int(out) for out, _ in answers) == PEOPLE * ROOM
    whole = PEOPLE * ROOM * Decimal(PRICE)
    assert await _sums(database) == (PEOPLE * ROOM, whole, 2 * whole)
    assert {state.usage.reserved for state in await budgets.states()} == {ROOM * Decimal(PRICE), whole}


@asynccontextmanager
async def _accepting(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "accepting", url, str(PEOPLE), str(EACH)), cwd=TESTS, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize(("others", "is_taken", "reserved"), [("0.10", False, "0.10"), ("0.06", True, "0.095")])
async def test_an_accept_that_waits_for_another_one_counts_what_that_reserves(
    database: Database, others: str, *, is_taken: bool, reserved: str
) -> None:
    budgets, requests = ChangeableBudgets(database, timedelta(minutes=15)), requests_of(database)
    await budgets.put(budget(limit="0.10"), ACTION)
    assert is_accepted(await requests.accept(new()))
    async with database.transaction() as other:
        await other.execute(text("UPDATE budget_usage SET reserved = :others"), {"others": Decimal(others)})
        waiting = asyncio.create_task(requests.accept(new()))
        await _until_one_waits(database)
    assert is_accepted(await waiting) is is_taken
    assert (await budgets.state("marketing")).usage.reserved == Decimal(reserved)


async def test_a_request_that_another_process_has_just_accepted_takes_no_room_from_the_next(database: Database) -> None:
    budgets, requests, known = ChangeableBudgets(database, timedelta(minutes=15)), requests_of(database), new()
    await budgets.put(budget(limit="0.07"), ACTION)
    async with database.transaction() as other:
        await insert_requests(other, [known], Booking())
        await other.execute(text("UPDATE budget_usage SET reserved = 0.035"))
        waiting = asyncio.create_task(requests.accept_all([known, new(), new(currency="CHF")]))
        await _until_one_waits(database)
    assert [is_accepted(each) for each in await waiting] == [True, True, False]
    assert (await budgets.state("marketing")).usage.reserved == Decimal("0.07")


async def test_an_accept_that_waits_for_a_change_of_the_budgets_obeys_it(database: Database) -> None:
    budgets, requests = ChangeableBudgets(database, timedelta(minutes=15)), requests_of(database)
    await budgets.put(budget(limit="0.10"), ACTION)
    assert is_accepted(await requests.accept(new()))
    async with database.transaction() as other:
        await other.execute(text("SELECT pg_advisory_xact_lock(hashtext('aigen-bridge budgets'))"))
        waiting = asyncio.create_task(requests.accept(new()))
        await _until_one_waits(database)
        await other.execute(text("UPDATE budgets SET most = 0.05"))
        await other.execute(text("UPDATE budget_changes SET revision = revision + 1"))
    assert not is_accepted(await waiting)


async def test_a_change_of_the_budgets_waits_for_the_accepts_that_are_under_way_and_counts_them(
    database: Database,
) -> None:
    budgets, wanted = ChangeableBudgets(database, timedelta(minutes=15)), new()
    async with database.transaction() as accepting:
        await accepting.execute(text("SELECT aigen_budgets_unchanged(0)"))
        putting = asyncio.create_task(budgets.put(budget(limit="0.05"), ACTION))
        await _until_one_waits(database)
        await accepting.execute(
            text(
                "INSERT INTO ledger (request_id, odoo, accepted_at, kind, reserved, currency, rates) "
                "VALUES (:id, 'default', now(), 'reserve', 0.035, 'USD', '{\"USD\": \"1\"}')"
            ),
            {"id": wanted.request_id},
        )
    await putting
    assert not is_accepted(await requests_of(database).accept(new()))


async def _until(database: Database, condition: str) -> None:
    async with asyncio.timeout(20):
        while True:
            async with database.reading() as connection:
                if await connection.scalar(text(f"SELECT {condition}")):
                    return
            await asyncio.sleep(0.01)


async def _until_one_waits(database: Database) -> None:
    waiting = "wait_event_type = 'Lock' AND datname = current_database() AND query LIKE '%budget%'"
    await _until(database, f"EXISTS (SELECT FROM pg_stat_activity WHERE {waiting})")


CHANGE = """
    UPDATE budgets SET contact = 'somebody else'; UPDATE budget_changes SET revision = revision + 1;
    SELECT pg_advisory_xact_lock(hashtext('aigen-bridge budgets'))
"""


async def _with_midnight_soon(database: Database) -> str:
    """Puts a budget for one image each day, whose day ends in a second. Returns the condition that it has ended."""
    budgets = ChangeableBudgets(database, timedelta(minutes=15))
    await budgets.put(budget(limit="0.05", period=Period.DAY), ACTION)
    midnight = datetime.now(UTC) + timedelta(seconds=1)
    past = midnight - midnight.replace(hour=0, minute=0, second=0)
    async with database.transaction() as connection:
        zone = f"SOON+{past - timedelta(microseconds=past.microseconds)}"  # a zone of POSIX: so much is added for UTC
        await connection.execute(text("UPDATE budgets SET time_zone = :zone"), {"zone": zone})
        await connection.execute(text("UPDATE budget_changes SET revision = revision + 1"))
    return f"clock_timestamp() > timestamptz '{midnight.isoformat()}'"


async def test_a_change_of_a_budget_that_began_before_midnight_counts_what_was_accepted_since(
    database: Database,
) -> None:
    is_midnight, requests = await _with_midnight_soon(database), requests_of(database)
    async with database.transaction() as changing:
        [budget_id] = await changing.scalars(text("SELECT id FROM budgets"))
        await _until(database, is_midnight)
        assert is_accepted(await requests.accept(new()))
        for statement in CHANGE.split(";"):
            await changing.execute(text(statement))
        await recompute(changing, [budget_id])
    assert not is_accepted(await requests.accept(new()))


async def test_an_accept_that_waited_for_a_change_over_midnight_obeys_the_budget_of_the_day_when_it_began(
    database: Database,
) -> None:
    is_midnight, requests = await _with_midnight_soon(database), requests_of(database)
    assert is_accepted(await requests.accept(new()))
    async with database.transaction() as changing:
        for statement in CHANGE.split(";"):
            await changing.execute(text(statement))
        waiting = asyncio.create_task(requests.accept_all([new(), new(currency="CHF")]))  # in a transaction at once
        await _until_one_waits(database)
        await _until(database, is_midnight)
        [budget_id] = await changing.scalars(text("SELECT id FROM budgets"))
        await recompute(changing, [budget_id])
    assert not any(map(is_accepted, await waiting))


async def test_the_first_hour_of_a_day_that_has_two_midnights_is_counted_anew(database: Database) -> None:
    """The clock goes back from 01:00 to 00:00 at the end of summer time, as in Havana."""
    now = datetime.now(UTC)
    today, begun = (f"J{int((now - timedelta(days=d)).replace(year=2026).strftime('%j'))}" for d in (0, 30))
    async with database.transaction() as connection:
        await connection.execute(
            text(
                "INSERT INTO budgets (name, most, currency, period, time_zone, is_hard)"
                " VALUES ('twice', 1, 'USD', 'day', :zone, true)"
            ),
            {"zone": f"STD0DST-1,{begun}/0,{today}/1"},
        )
        await connection.execute(
            text(
                "INSERT INTO ledger (request_id, odoo, accepted_at, kind, reserved, currency) SELECT gen_random_uuid(),"
                " 'default', date_trunc('day', now(), 'UTC') - make_interval(mins => m), 'reserve', 0.035, 'USD'"
                " FROM unnest(ARRAY[30, 90]) AS m"
            )
        )
        await recompute(connection, list(await connection.scalars(text("SELECT id FROM budgets"))))
        found = await connection.scalars(text("SELECT reserved FROM budget_usage WHERE reserved > 0"))
        assert list(found) == [Decimal("0.035")]


async def test_budgets_that_change_while_requests_are_accepted_hold_from_then_on(database: Database) -> None:
    """After each change, no more is reserved than the new limit, or than was reserved at that moment."""
    random, budgets = Random(20), ChangeableBudgets(database, timedelta(minutes=15))
    stop, accepted = asyncio.Event(), [0]
    accepting = [asyncio.create_task(_accept_until(stop, database, number, accepted)) for number in range(4)]
    for _ in range(25):
        limit, period = Decimal(random.randrange(1, 60)) / 10, random.choice(list(Period))
        purpose = random.choice([Purpose(), Purpose(user_id=UUID(int=1))])
        await budgets.put(budget(limit=str(limit), period=period, purpose=purpose), ACTION)
        at_once = (await budgets.state("marketing")).usage.reserved
        await asyncio.sleep(0.02)
        assert (await budgets.state("marketing")).usage.reserved <= max(limit, at_once)
        if random.random() < 0.2:
            await budgets.remove("marketing", ACTION)
            await budgets.put(budget("other", limit=str(limit)), ACTION)
    stop.set()
    await asyncio.gather(*accepting)

    before = {state.budget.name: state.usage for state in await budgets.states()}
    async with database.transaction() as connection:
        ids = (await connection.execute(text("SELECT id FROM budgets"))).scalars().all()
        await connection.execute(text("DELETE FROM budget_usage"))
        await recompute(connection, ids)
    assert {state.budget.name: state.usage for state in await budgets.states()} == before
    assert (await _sums(database))[:2] == (accepted[0], accepted[0] * Decimal(PRICE))


async def _accept_until(stop: asyncio.Event, database: Database, number: int, accepted: list[int]) -> None:
    """Accepts with the requests of two people, and repeats some. Each caller knows the budgets by itself."""
    requests, last = requests_of(database), new()
    while not stop.is_set():
        last = new(userId=str(UUID(int=number % 2 + 1)))
        found = await requests.accept_all([last, new(), last])
        ids = {each[0].request_id for each in found if isinstance(each, tuple) and is_accepted(each)}
        accepted[0] += len(ids)


async def _sums(database: Database) -> tuple[int, Decimal, Decimal]:
    """Returns the number of requests, what the ledger has reserved, and what the budgets have."""
    query = """
        SELECT (SELECT count(*) FROM requests), (SELECT coalesce(sum(reserved), 0) FROM ledger),
            (SELECT coalesce(sum(reserved), 0) FROM budget_usage)
    """
    async with database.reading() as connection:
        row = (await connection.execute(text(query))).one()
    return row[0], row[1], row[2]
