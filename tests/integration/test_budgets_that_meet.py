"""Budgets under concurrency: several processes accept, and budgets change meanwhile."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from random import Random
from uuid import UUID

from sqlalchemy import text

from accepting import PRICE, budget, is_accepted, new, requests_of
from aigen_bridge.domain.budget import Period, Purpose
from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.store.budgets import Budgets
from aigen_bridge.store.database import Database
from aigen_bridge.store.ledger import recompute

ACTION = OperatorAction("test", None)
PROCESSES, EACH = 3, 120
TESTS = Path(__file__).parents[1]


async def test_several_processes_together_reserve_as_much_as_a_budget_has_and_no_more(
    database: Database, database_url: str
) -> None:
    room = PROCESSES * EACH // 2
    await Budgets(database, timedelta(minutes=15)).put(budget(limit=str(room * Decimal(PRICE))), ACTION)
    async with AsyncExitStack() as running:
        processes = [await running.enter_async_context(_accepting(database_url)) for _ in range(PROCESSES)]
        for process in processes:
            assert process.stdout
            assert await process.stdout.readline() == b"ready\n"
        answers = await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
    accepted = sum(int(out) for out, _ in answers)

    assert accepted == room
    assert await _sums(database) == (room, room * Decimal(PRICE), room * Decimal(PRICE))


@asynccontextmanager
async def _accepting(url: str) -> AsyncIterator[asyncio.subprocess.Process]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "accepting", url, str(EACH)), cwd=TESTS, stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def test_budgets_that_change_while_requests_are_accepted_hold_from_then_on(database: Database) -> None:
    """After each change, no more is reserved than the new limit, or than was reserved at that moment."""
    random, budgets = Random(20), Budgets(database, timedelta(minutes=15))
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
