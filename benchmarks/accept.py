"""Figure 1: requests accepted at 64 callers by two API processes, against the same service without a database.

And the same requests with a price that one hard budget counts, against no budget, by 1 and 4 API processes, and of one
caller.
"""

import json
import statistics
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import uuid4

import httpx
import psycopg

from aigen_bridge.contracts.examples import REQUESTED
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.sender import Sender, cpu_facts
from benchmarks.turns import in_turns, medians, rate_ratio
from benchmarks.wrk import ID, KEY, Call

PATH = "/api/v1/influencegen/ai-image-requests"
BODY = json.dumps(REQUESTED | {"requestId": ID.decode()}).encode()
CALLERS, PROCESSES = 64, 2
IDS_PER_SECOND = 15_000

BUDGETED_PROCESSES = (1, 4)
BUDGETED_LEAST, BUDGETED_MOST_MS = 0.85, 2.0
SINGLE_CALLS = 200
MODEL = {
    "name": "Flux",
    "provider": {"kind": "fal", "endpoint": "https://queue.fal.run/fal-ai/flux"},
    "supports": {"negativePrompt": True},
    "price": {"amount": "0.035", "currency": "USD", "per": "megapixel"},
}
BUDGET = {"limit": "100000000.00", "currency": "USD", "period": "month", "kind": "hard"}


async def measure(ground: Ground) -> Figure:
    """Measures accepted requests per second, and what budgets cost."""
    check, facts = await _against_ceiling(ground)
    checks = [check]
    for processes in BUDGETED_PROCESSES:
        found, more = await _budgeted(ground, processes)
        checks.append(found)
        facts |= more
    found, more = await _single(ground)
    title = f"Accept, {CALLERS} callers"
    return Figure(1, "accept", title, [*checks, found], facts | more)


async def _against_ceiling(ground: Ground) -> tuple[Check, dict[str, float]]:
    async with (
        ground.database() as database,
        ground.api(database, processes=PROCESSES) as bridge,
        ground.ceiling("same_service:create", processes=PROCESSES) as same,
        ground.ceiling("bare:app", processes=PROCESSES) as bare,
    ):
        sides = {"bridge": bridge, "without a database": same, "bare FastAPI": bare}
        senders = {side: sender(ground, to) for side, to in sides.items()}
        found = await in_turns(ground.repetitions, senders)
    ratio = rate_ratio(found["bridge"], found["without a database"])
    return Check("accept / the same without a database", ratio, least=0.6), medians(found) | cpu_facts(senders)


async def _budgeted(ground: Ground, processes: int) -> tuple[Check, dict[str, float]]:
    """Compares one budget that all callers share with none, and a catalogue with a price with an empty one."""
    async with (
        _bridge(ground, processes, with_model=False) as empty,
        _bridge(ground, processes) as priced,
        _bridge(ground, processes, BUDGET) as budgeted,
    ):
        sides = {"empty catalogue": empty, "no budget": priced, "one budget": budgeted}
        senders = {f"{side}, {processes}": sender(ground, to) for side, to in sides.items()}
        found = await in_turns(ground.repetitions, senders)
    without, budgeted_loads = found[f"no budget, {processes}"], found[f"one budget, {processes}"]
    name = f"accept, one budget / none, API processes: {processes}"
    check = Check(name, rate_ratio(budgeted_loads, without), least=BUDGETED_LEAST)
    return check, medians(found) | cpu_facts(senders)


async def _single(ground: Ground) -> tuple[Check, dict[str, float]]:
    """Compares the median of one caller with a budget and without, in turns from call to call."""
    async with _bridge(ground, 1) as priced, _bridge(ground, 1, BUDGET) as budgeted:
        callers = {"no budget": _Caller(priced.url), "one budget": _Caller(budgeted.url)}
        for number in range(SINGLE_CALLS):
            for caller in list(callers.values())[:: -1 if number % 2 else 1]:
                await caller.call()
    found = {side: statistics.median(caller.ms) for side, caller in callers.items()}
    more = found["one budget"] - found["no budget"]
    check = Check("one caller, one budget more than none", more, most=BUDGETED_MOST_MS, unit="ms")
    return check, {f"one caller, {side}, median ms": value for side, value in found.items()}


@dataclass
class _Caller:
    url: str
    ms: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._client = httpx.AsyncClient(headers={"X-API-Key": KEY, "Content-Type": "application/json"}, timeout=30)

    async def call(self) -> None:
        """Sends one request. The first calls, in which statements are prepared, make no difference to the median."""
        body = BODY.replace(ID, str(uuid4()).encode())
        began = time.perf_counter()
        (await self._client.post(self.url + PATH, content=body)).raise_for_status()
        self.ms.append((time.perf_counter() - began) * 1000)


@asynccontextmanager
async def _bridge(
    ground: Ground, processes: int, budget: dict[str, str] | None = None, *, with_model: bool = True
) -> AsyncIterator[Running]:
    """Runs the bridge on a database of its own, with this budget, and with a model that has a price."""
    async with ground.database() as database, ground.api(database, processes=processes) as bridge:
        if with_model:
            async with await psycopg.AsyncConnection.connect(database) as connection:
                await connection.execute(
                    "INSERT INTO models (model_id, entry, is_active) VALUES (%s, %s, true)",
                    (REQUESTED["modelId"], json.dumps(MODEL)),
                )
        if budget:
            url = f"{bridge.url}/api/v1/ops/budgets/all?force=true"
            async with httpx.AsyncClient(headers={"X-API-Key": KEY}) as client:
                (await client.put(url, json=budget)).raise_for_status()
        yield bridge


def sender(ground: Ground, to: Running) -> Sender:
    """Returns a sender of EVT-AIG-001 to this process group."""
    return Sender(ground, to, Call(to.url + PATH, BODY), CALLERS, IDS_PER_SECOND)
