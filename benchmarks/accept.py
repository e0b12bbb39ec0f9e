"""Figure 1: requests accepted at 64 callers by two API processes, against the same service without a database."""

import json

from aigen_bridge.contracts.examples import REQUESTED
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.sender import Sender, cpu_facts
from benchmarks.turns import in_turns, medians, rate_ratio
from benchmarks.wrk import ID, Call

PATH = "/api/v1/influencegen/ai-image-requests"
BODY = json.dumps(REQUESTED | {"requestId": ID.decode()}).encode()
CALLERS, PROCESSES = 64, 2
IDS_PER_SECOND = 15_000


async def measure(ground: Ground) -> Figure:
    """Measures accepted requests per second."""
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
    check = Check("accept / the same without a database", ratio, least=0.6)
    facts = medians(found) | cpu_facts(senders)
    return Figure(1, "accept", "Accept, 64 callers, 2 processes", [check], facts)


def sender(ground: Ground, to: Running) -> Sender:
    """Returns a sender of EVT-AIG-001 to this process group."""
    return Sender(ground, to, Call(to.url + PATH, BODY), CALLERS, IDS_PER_SECOND)
