"""Requests with a price, for tests that accept within budgets; as a process, it accepts many of them at once.

`python -m accepting DATABASE_URL PEOPLE EACH` prints `ready`, waits for a line on its standard input, accepts EACH
requests at once of one person after the other, and prints how many it could.
"""

import asyncio
import sys
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

from aigen_bridge.contracts.examples import REQUESTED
from aigen_bridge.domain.budget import Budget, Exceeded, Period, Purpose, Unconvertible
from aigen_bridge.domain.request import NewRequest
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.transitions import Deadlines

DEADLINES = Deadlines(timedelta(minutes=10), timedelta(minutes=5))
PRICE = "0.035"


def budget(name: str = "marketing", limit: str = "1.00", **changes: Any) -> Budget:
    """Returns a hard budget in dollars that counts every request of a month."""
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


def new(price: str | None = PRICE, currency: str = "USD", odoo: str = "default", **event: Any) -> NewRequest:
    """Returns a request for a model with this price for each image."""
    made = REQUESTED | {"requestId": str(uuid4()), "correlationId": str(uuid4())} | event
    model = {"price": {"amount": price, "currency": currency, "per": "image"}} if price else None
    return NewRequest(UUID(made["requestId"]), UUID(made["correlationId"]), made, odoo=odoo, model=model)


def requests_of(database: Database, rates: Any = None) -> Requests:
    """Returns what accepts requests in an API process."""
    return Requests(database, DEADLINES, PostgresImages(database), rates or {})


def is_accepted(found: Any) -> bool:
    """Returns whether a request was accepted, now or before."""
    return not isinstance(found, Exceeded | Unconvertible)


async def _accept(url: str, people: int, each: int) -> int:
    engine = open_engine(url, pool_size=4, name="aigen-bridge api test")
    database = Database(engine)
    requests, accepted = requests_of(database), 0
    await requests.get(uuid4())
    print("ready", flush=True)  # noqa: T201 - read by the test
    await asyncio.to_thread(sys.stdin.readline)
    for number in range(people):
        found = await asyncio.gather(*(requests.accept(new(userId=str(UUID(int=number)))) for _ in range(each)))
        accepted += sum(map(is_accepted, found))
    await database.close()
    return accepted


if __name__ == "__main__":
    print(asyncio.run(_accept(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))))  # noqa: T201 - its result
