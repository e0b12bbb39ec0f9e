"""Figure 2: failed callbacks at 64 callers to two API processes, against the same service without a database."""

from functools import partial

from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground
from benchmarks.pictures import failed
from benchmarks.sender import Sender, cpu_facts
from benchmarks.turns import in_turns, medians, rate_ratio
from benchmarks.wrk import Call

PATH = "/api/v1/influencegen/ai-image-callback"
CALLERS, PROCESSES = 64, 2
IDS_PER_SECOND, BARE_IDS_PER_SECOND = 6_000, 30_000


async def measure(ground: Ground) -> Figure:
    """Measures callbacks per second."""
    sender = partial(Sender, ground, callers=CALLERS)
    async with (
        ground.database() as database,
        ground.api(database, processes=PROCESSES) as bridge,
        ground.ceiling("same_service:create", processes=PROCESSES) as same,
        ground.ceiling("bare:app", processes=PROCESSES) as bare,
    ):
        senders = {
            "bridge": sender(
                bridge, Call(bridge.url + PATH, failed()), ids_per_second=IDS_PER_SECOND, database=database
            ),
            "without a database": sender(same, Call(same.url + PATH, failed()), ids_per_second=IDS_PER_SECOND),
            "bare FastAPI": sender(bare, Call(bare.url + PATH, failed()), ids_per_second=BARE_IDS_PER_SECOND),
        }
        found = await in_turns(ground.repetitions, senders)
    ratio = rate_ratio(found["bridge"], found["without a database"])
    check = Check("failed callback / the same without a database", ratio, least=0.5)
    facts = medians(found) | cpu_facts(senders)
    return Figure(2, "failed", "Failed callback, 64 callers, 2 processes", [check], facts)
