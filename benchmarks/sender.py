"""One side of a ratio: sends one kind of call to one process group and adds up the CPU time."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchmarks import rows
from benchmarks.ground import Ground, Running
from benchmarks.usage import cpu_seconds
from benchmarks.wrk import Call, Load, new_ids, wrk


@dataclass
class Sender:
    """A callable load generator; each call is one run. With a `database`, the ids belong to dispatched requests in it.

    `ids_per_second` must exceed every rate that is reached.
    """

    ground: Ground
    to: Running
    call: Call
    callers: int
    ids_per_second: int
    database: str = ""
    beside: Mapping[str, int] = field(default_factory=dict)
    """Other processes whose CPU time counts, by name."""
    answers: int = field(default=0, init=False)
    cpu: dict[str, float] = field(default_factory=dict, init=False)

    async def __call__(self) -> Load:
        """Performs one run under load."""
        ids = new_ids(int(self.ground.seconds * self.ids_per_second))
        if self.database:
            await rows.dispatched(self.database, ids)
        before = self._used()
        load = await wrk(self.call, ids, callers=self.callers, seconds=self.ground.seconds)
        for who, used in self._used().items():
            self.cpu[who] = self.cpu.get(who, 0.0) + used - before[who]
        self.answers += load.answers
        return load

    def _used(self) -> dict[str, float]:
        others = {who: cpu_seconds(pid) for who, pid in self.beside.items()}
        return {"service": cpu_seconds(self.to.pid), "PostgreSQL": self.ground.postgres_cpu()} | others


def cpu_facts(senders: Mapping[str, Sender]) -> dict[str, float]:
    """Returns the CPU time per response, of the service and of PostgreSQL."""
    return {
        f"{side}, {who} CPU each, ms": used / sender.answers * 1000
        for side, sender in senders.items()
        for who, used in sender.cpu.items()
        if used
    }
