"""Figure 3: completed callbacks with a PNG of 1 MB, both versions, against a handler written by hand."""

from collections.abc import Callable
from functools import partial

from benchmarks import rows
from benchmarks.figure import Check, Figure
from benchmarks.ground import Ground, Running
from benchmarks.pictures import BOUNDARY, completed, completed_beside, noise
from benchmarks.turns import in_turns, medians, ratio
from benchmarks.usage import cpu_seconds
from benchmarks.wrk import Call, Load, new_ids, wrk

PATH = "/api/{}/influencegen/ai-image-callback"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
CALLERS, P99_MAX_MS = 32, 1000
PER_SECOND_MAX = 600


class _Sender:
    """Sends to one process and adds up the CPU that it takes."""

    def __init__(self, ground: Ground, to: Running, database: str, version: str, build: Callable[[], Call]) -> None:
        self._ground, self._to, self._database, self._call = ground, to, database, build()
        self._version = version
        self.cpu, self.answers = 0.0, 0

    async def __call__(self) -> Load:
        ids = new_ids(int(self._ground.seconds * PER_SECOND_MAX))
        await rows.dispatched(self._database, ids)
        before = cpu_seconds(self._to.pid)
        load = await wrk(self._call, ids, callers=CALLERS, seconds=self._ground.seconds)
        self.cpu += cpu_seconds(self._to.pid) - before
        self.answers += load.answers
        return load

    @property
    def cpu_ms(self) -> float:
        """For each callback."""
        return self.cpu / self.answers * 1000


async def measure(ground: Ground) -> Figure:
    """Callbacks a second, their p99, and what each costs."""
    picture = noise(1)
    async with (
        ground.database() as database,
        ground.api(database) as bridge,
        ground.ceiling("handwritten:app", database=database) as by_hand,
    ):
        v1 = partial(Call, body=completed(picture))
        v2 = partial(Call, body=completed_beside(picture), content_type=FORM)
        senders = {
            "v1": _Sender(ground, bridge, database, "v1", lambda: v1(bridge.url + PATH.format("v1"))),
            "v2": _Sender(ground, bridge, database, "v2", lambda: v2(bridge.url + PATH.format("v2"))),
            "by hand": _Sender(ground, by_hand, database, "v1", lambda: v1(by_hand.url + PATH.format("v1"))),
        }
        found = await in_turns(ground.repetitions, senders)
    rates = {side: [load.per_second for load in loads] for side, loads in found.items()}
    facts = medians(found) | {f"{side}, API CPU each, ms": sender.cpu_ms for side, sender in senders.items()}
    checks = [
        Check("completed callback v1 / by hand", ratio(rates["v1"], rates["by hand"]), 0.8),
        Check("completed callback v2 / v1", ratio(rates["v2"], rates["v1"]), 1.3),
        *(Check(f"p99 {side}", facts[f"{side}, p99 ms"], most=P99_MAX_MS, unit="ms") for side in ("v1", "v2")),
    ]
    return Figure(3, "completed", "Completed callback, PNG of 1 MB, 32 callers, 1 process", checks, facts)
