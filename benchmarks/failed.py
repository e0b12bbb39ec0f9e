"""Figure 2: failed callbacks at 64 callers to two API processes, against parsing and answering alone."""

from benchmarks import rows
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.pictures import failed
from benchmarks.turns import in_turns, medians, ratio
from benchmarks.wrk import Call, Load, new_ids, wrk

PATH = "/api/v1/influencegen/ai-image-callback"
CALLERS, PROCESSES = 64, 2
PER_SECOND_MAX = 8_000


async def measure(ground: Ground) -> Figure:
    """Callbacks a second."""
    async with (
        ground.database() as database,
        ground.api(database, processes=PROCESSES) as bridge,
        ground.ceiling("bare:app", processes=PROCESSES) as bare,
    ):
        found = await in_turns(
            ground.repetitions,
            {"bridge": lambda: send(ground, bridge, database), "bare": lambda: send(ground, bare)},
        )
    rates, ceiling = ([load.per_second for load in found[side]] for side in ("bridge", "bare"))
    check = Check("failed callback / parsing and answering alone", ratio(rates, ceiling), 0.5)
    return Figure(2, "failed", "Failed callback, 64 callers, 2 processes", [check], medians(found))


async def send(ground: Ground, to: Running, database: str = "") -> Load:
    """One run; the requests are there before it begins."""
    ids = new_ids(int(ground.seconds * PER_SECOND_MAX))
    if database:
        await rows.dispatched(database, ids)
    return await wrk(Call(to.url + PATH, failed()), ids, callers=CALLERS, seconds=ground.seconds)
