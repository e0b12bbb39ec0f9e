"""Figure 1: requests accepted at 64 callers by two API processes, against parsing and answering alone."""

import json
from collections.abc import Sequence

from aigen_bridge.contracts.examples import REQUESTED
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.turns import in_turns, medians, ratio
from benchmarks.usage import cpu_seconds
from benchmarks.wrk import ID, Call, Load, new_ids, wrk

PATH = "/api/v1/influencegen/ai-image-requests"
BODY = json.dumps(REQUESTED | {"requestId": ID.decode()}).encode()
CALLERS, PROCESSES = 64, 2
PER_SECOND_MAX = 15_000
"""More than anything here reaches: so many ids are prepared."""


async def measure(ground: Ground) -> Figure:
    """Accepts a second."""
    async with (
        ground.database() as database,
        ground.api(database, processes=PROCESSES) as bridge,
        ground.ceiling("bare:app", processes=PROCESSES) as bare,
    ):
        before = cpu_seconds(bridge.pid)
        found = await in_turns(
            ground.repetitions, {"bridge": lambda: send(ground, bridge), "bare": lambda: send(ground, bare)}
        )
        cpu = cpu_seconds(bridge.pid) - before
    rates = [load.per_second for load in found["bridge"]]
    check = Check("accept / parsing and answering alone", ratio(rates, [x.per_second for x in found["bare"]]), 0.6)
    facts = medians(found) | {"API CPU each, ms": cpu / _answers(found["bridge"], ground.repetitions) * 1000}
    return Figure(1, "accept", "Accept, 64 callers, 2 processes", [check], facts)


async def send(ground: Ground, to: Running) -> Load:
    """One run."""
    ids = new_ids(int(ground.seconds * PER_SECOND_MAX))
    return await wrk(Call(to.url + PATH, BODY), ids, callers=CALLERS, seconds=ground.seconds)


def _answers(loads: Sequence[Load], repetitions: int) -> float:
    return sum(load.answers for load in loads) * (repetitions + 1) / repetitions  # and the one that warmed up
