"""The schedule of a run: plain values that are drawn from the seed before anything starts."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from itertools import cycle, islice
from math import inf
from random import Random
from typing import Any
from uuid import UUID

from aigen_bridge.contracts import examples
from aigen_bridge.sim import drawing
from aigen_bridge.sim.n8n_nodes import Node
from chaos.weather import Weather, draw_weather
from silent_link import After

LEASE = 3.0
"""Seconds; longer than any call may take. A paused worker must be paused for longer than this."""
DATABASE_TIMEOUT = 3.0
"""Seconds after which the bridge gives up a statement."""
WEATHER_SECONDS = 15.0
NODES_STRUCK = 3
"""Nodes of N8N's workflow at which it is killed in 15 seconds, as long as there is time to recover."""
SIZE = 64
"""Width and height of the images, in pixels."""
LOST_SHARE = 0.05
"""Share of the first requests whose executions in N8N end without a word, as long as faults are injected."""
SLOW_SHARE = 0.35
"""Share of the time in which requests are made, at its beginning, for faults that take minutes to recover from."""
SLOW_FROM = 60
"""Seconds; a shorter run has no such faults."""
REPORTS = 0.3
"""Share of the dead executions that a start of N8N reports in that time; later starts report all."""
STYLES = ("v1", "v2", "v1-url")
LOAD_SHARE = 0.6
"""Share of a run's time in which requests are made; the rest is for retries."""


class Kind(StrEnum):
    """The kinds of strikes against a process or a link."""

    KILL = "kill -9"
    PAUSE = "pause"
    """SIGSTOP, later SIGCONT."""
    ROLL = "roll"
    """SIGTERM, and a new process as soon as the old one has ended."""
    RESTART = "restart"
    """kill -9 of N8N, and its slow startup: a closed port, the start page, a webhook that is not registered."""
    SILENCE = "silence"
    """The link to PostgreSQL passes no data for a while; then its connections resume or are closed."""
    LOSS = "loss"
    """The link to PostgreSQL passes no data for a while; afterwards only new connections work."""
    CRASH = "crash"
    """Immediate shutdown of PostgreSQL: no checkpoint, every connection cut, recovery from the WAL."""
    UNMOUNT = "unmount"
    """An empty folder is in the place of the folder with the images."""


class Storage(StrEnum):
    """The image store of a run."""

    POSTGRESQL = "postgresql"
    FILE = "file"
    S3 = "s3"


@dataclass(frozen=True, slots=True)
class Order:
    """One request: its time, and the addon's later actions."""

    at: float
    request_id: str
    correlation_id: str
    prompt: str
    seed: int
    ask_again_after: float | None
    cancel_after: float | None
    is_lost: bool
    """N8N accepts it, and its executions end before they have asked the bridge anything."""

    @property
    def event(self) -> dict[str, Any]:
        """EVT-AIG-001 with a small image, which is drawn fast."""
        own = {"requestId": self.request_id, "correlationId": self.correlation_id}
        return examples.REQUESTED | own | {"prompt": self.prompt, "seed": self.seed, "resolution": f"{SIZE}x{SIZE}"}

    @property
    def sha256(self) -> str:
        """The SHA-256 of the picture that the AI service makes for it."""
        return hashlib.sha256(drawing.draw(self.prompt, seed=self.seed, width=SIZE, height=SIZE)).hexdigest()


@dataclass(frozen=True, slots=True)
class Strike:
    """One strike. `seconds` is the time for which the target is away or paused."""

    at: float
    kind: Kind
    target: str
    seconds: float
    style: str = ""
    """N8N's callback style from then on."""
    starting: float = 0
    """Seconds in which N8N responds with 200 and its start page."""
    no_webhook: float = 0
    """Seconds after that in which N8N responds with 404."""
    reports: float = 1
    """The probability that N8N reports an execution that it finds dead at a start."""
    after: After = After.SILENT
    """The fate of the connections of a link that was silent."""


@dataclass(frozen=True, slots=True)
class Schedule:
    """The schedule of one run."""

    seed: int
    load_seconds: float
    slow_until: float
    """Seconds in which something may happen from which a request recovers only after minutes."""
    style: str
    orders: tuple[Order, ...]
    strikes: tuple[Strike, ...]
    weather: tuple[Weather, ...]

    @property
    def reports(self) -> float:
        """The share of the dead executions that N8N reports until its first restart."""
        return REPORTS if self.slow_until else 1

    @property
    def requests(self) -> dict[str, Order]:
        """The requests by their correlation id."""
        return {order.correlation_id: order for order in self.orders}

    @property
    def digest(self) -> str:
        """A hash of the schedule: runs with equal digests have equal schedules."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:12]

    @property
    def lost(self) -> frozenset[str]:
        """The requests whose executions in N8N end without a word."""
        return frozenset(order.request_id for order in self.orders if order.is_lost)

    @property
    def words(self) -> str:
        """A summary of the strikes in one line."""
        counts = Counter(f"{s.kind} {s.target.rpartition('-')[0] or s.target}" for s in self.strikes)
        return ", ".join(f"{number} x {name}" for name, number in sorted(counts.items()))


_SECONDS: dict[tuple[Kind, str], tuple[float, float]] = {
    (Kind.KILL, "api"): (0.1, 2),
    (Kind.KILL, "worker"): (0.1, 2),
    (Kind.KILL, "odoo"): (0.1, 2.5),
    (Kind.PAUSE, "worker"): (LEASE + 1, LEASE + 2.5),
    (Kind.PAUSE, "api"): (0.5, 3),
    (Kind.PAUSE, "odoo"): (0.5, 3.5),
    (Kind.ROLL, "api"): (0, 0),
    (Kind.ROLL, "worker"): (0, 0),
    (Kind.RESTART, "n8n"): (0.1, 2),
    (Kind.SILENCE, "link"): (1, DATABASE_TIMEOUT + 3),
    (Kind.LOSS, "link"): (0, DATABASE_TIMEOUT),
    (Kind.CRASH, "postgres"): (0, 2),
}
"""Every kind of strike and the range of its seconds. Each occurs at least once in a run."""
_STORE_SECONDS: dict[Storage, dict[Kind, tuple[float, float]]] = {
    Storage.POSTGRESQL: {},
    Storage.FILE: {Kind.UNMOUNT: (0.1, 3)},
    Storage.S3: {Kind.KILL: (0.1, 3), Kind.PAUSE: (0.3, 4)},
}
"""The strikes against each image store, and the range of their seconds."""
STORE_STRIKE_SECONDS = 8
"""Seconds between strikes against the image store."""
_OFTEN = (
    *((Kind.KILL, target) for target in ("api", "worker", "odoo")),
    *[(Kind.PAUSE, "worker"), (Kind.CRASH, "postgres"), (Kind.LOSS, "link")] * 2,
)
"""The most revealing strikes, which are drawn more often."""
STORE = "store"
_NUMBERED = frozenset({"api", "worker"})


def draw(
    seed: int, *, requests: int, seconds: float, processes: int, storage: Storage = Storage.POSTGRESQL
) -> Schedule:
    """Draws the schedule of a run of about `seconds`, with `processes` API processes and as many workers."""
    random = Random(seed)
    load = seconds * LOAD_SHARE
    slow_until = load * SLOW_SHARE if seconds >= SLOW_FROM else 0
    return Schedule(
        seed=seed,
        load_seconds=load,
        style=random.choice(STYLES[:2]),
        slow_until=slow_until,
        orders=tuple(_order(random, at, slow_until) for at in sorted(random.uniform(0, load) for _ in range(requests))),
        strikes=(*_strikes(random, load, processes, slow_until), *_store_strikes(Random(seed), load, storage)),
        weather=_weather(random, load, slow_until),
    )


def _weather(random: Random, load: float, slow_until: float) -> tuple[Weather, ...]:
    nodes = cycle(random.sample(list(Node), len(Node)))
    moments = (number * WEATHER_SECONDS for number in range(1 + int(load / WEATHER_SECONDS)))
    return tuple(
        draw_weather(random, at=at, struck=tuple(islice(nodes, NODES_STRUCK if at < slow_until else 0)))
        for at in moments
    )


def _order(random: Random, at: float, slow_until: float) -> Order:
    request_id, correlation_id = (str(UUID(int=random.getrandbits(128), version=4)) for _ in range(2))
    return Order(
        at=round(at, 3),
        request_id=request_id,
        correlation_id=correlation_id,
        prompt=f"A lighthouse above a stormy sea, number {random.randrange(1000)}",
        seed=random.randrange(2**31),
        ask_again_after=round(random.uniform(0, 5), 2) if random.random() < 0.1 else None,
        cancel_after=round(random.uniform(0, 3), 2) if random.random() < 0.04 else None,
        is_lost=random.random() < LOST_SHARE and at < slow_until,
    )


def _strikes(random: Random, load: float, processes: int, slow_until: float) -> tuple[Strike, ...]:
    """Draws every kind once, and one more for every four seconds if there is time. All but the last end with the load.

    The first strike restarts N8N while everything else works and sends it requests. The last one pauses a worker while
    nothing else is away, so that another worker takes over its entries.
    """
    first = (Kind.RESTART, "n8n")
    others = [
        *(each for each in _SECONDS if each != first),
        *random.choices([*_SECONDS, *_OFTEN], k=max(0, int((load - 10) / 4))),
    ]
    random.shuffle(others)
    pace = (load - 1) / (len(others) + 1)
    blows = [
        _strike(random, *each, processes, earliest=1 + pace * number, latest=load)
        for number, each in enumerate(others, 1)
    ]
    blows.append(_strike(random, *first, processes, earliest=0.5, latest=inf))
    last = _strike(random, Kind.PAUSE, "worker", processes, earliest=load - 1, latest=inf)
    reported = (replace(blow, reports=REPORTS) if blow.at < slow_until else blow for blow in [*blows, last])
    return tuple(sorted(reported, key=lambda blow: blow.at))


def _store_strikes(random: Random, load: float, storage: Storage) -> Iterator[Strike]:
    """Draws strikes against the image store in turn, each kind at least once. The others do not depend on them."""
    kinds = _STORE_SECONDS[storage]
    number = max(len(kinds), int(load / STORE_STRIKE_SECONDS)) if kinds else 0
    for turn, kind in enumerate(islice(cycle(kinds), number)):
        at = (turn + random.random()) * (load - 1) / number
        yield Strike(round(at, 2), kind, STORE, round(random.uniform(*kinds[kind]), 2))


def _strike(random: Random, kind: Kind, target: str, processes: int, *, earliest: float, latest: float) -> Strike:
    seconds = round(random.uniform(*_SECONDS[kind, target]), 2)
    name = f"{target}-{random.randint(1, processes)}" if target in _NUMBERED else target
    at = min(earliest + random.uniform(0, 1), latest - seconds)
    return Strike(round(at, 2), kind, name, seconds, **_details(random, kind))


def _details(random: Random, kind: Kind) -> dict[str, Any]:
    match kind:
        case Kind.RESTART:
            times = {"starting": round(random.uniform(0.3, 1.5), 2), "no_webhook": round(random.uniform(1, 3), 2)}
            return {"style": random.choice(STYLES), **times}
        case Kind.SILENCE:
            return {"after": random.choice([After.RESUMED, After.CLOSED])}
    return {}
