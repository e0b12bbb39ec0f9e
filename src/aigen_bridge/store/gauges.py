"""Counts and ages for the metrics, read by one statement whose cost does not grow with the tables.

Each count stops at `MOST`, so a value of `MOST` means "at least that many". Each age is read from the end of an index,
and the ORDER BY clauses make PostgreSQL use that index.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from aigen_bridge.domain.dead_letter import EXECUTION_FAILED, UNDELIVERED
from aigen_bridge.domain.destination import Destination, with_breaker
from aigen_bridge.domain.incident import every_key
from aigen_bridge.domain.request import Status, Step
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_state import DUE, DUE_FOR, WAITING
from aigen_bridge.store.pauses import is_paused, paused_time
from aigen_bridge.store.readable import since

MOST = 10_000
OPEN = (Status.QUEUED, Status.DISPATCHED, Status.RECEIVED)
N8N_REPORTS = (UNDELIVERED, EXECUTION_FAILED)
"""Error codes that N8N's own dead-letter workflow reports."""
GAUGE_KINDS = (*(step.value for step in Step), "callback", *N8N_REPORTS)
TABLES = (
    *("requests", "outbox", "attempts", "images", "original_images", "quarantine", "request_changes", "occurrences"),
    *("generations", "provider_jobs", "generation_changes", "ledger", "image_garbage"),
)


def _each(values: Sequence[str]) -> str:
    return f"(VALUES {', '.join(f'({value!r})' for value in values)}) AS each (name)"


_IN_ORDER = "status BETWEEN name AND name ORDER BY status DESC, created_at, request_id"
"""With `status = name`, PostgreSQL may scan all requests by age until it finds one with the status."""

_STATEMENT = f"""
    SELECT 'pending' AS what, name, counted, NULL::float8 AS seconds
    FROM {{queues}}, LATERAL (SELECT count(*) AS counted FROM (
        SELECT FROM outbox WHERE state = 'pending' AND step = name ORDER BY due_at LIMIT {MOST}) AS few) AS few_counted
    UNION ALL
    SELECT 'late', name, 0, CASE WHEN {is_paused("each.destination")} THEN 0 ELSE
        extract(epoch FROM {since(f"due_at + {paused_time('each.destination', 'due_at')}")}) END
    FROM {{queues}}, LATERAL (
        SELECT due_at FROM outbox WHERE state = 'pending' AND step = each.name ORDER BY due_at LIMIT 1) AS first
    UNION ALL
    SELECT 'open', name, counted, NULL
    FROM {_each([s.value for s in OPEN])}, LATERAL (SELECT count(*) AS counted FROM (
        SELECT FROM requests WHERE {_IN_ORDER} LIMIT {MOST}) AS few) AS few_counted
    UNION ALL
    SELECT 'waiting', name, 0, extract(epoch FROM {since("created_at")})
    FROM {_each([s.value for s in OPEN])}, LATERAL (
        SELECT created_at FROM requests WHERE {_IN_ORDER} LIMIT 1) AS first
    UNION ALL
    SELECT 'dead', split_part(step, ':', 1), count(*), NULL
    FROM (SELECT step FROM outbox WHERE state = 'dead' ORDER BY finished_at DESC LIMIT {MOST}) AS few GROUP BY 2
    UNION ALL
    SELECT 'dead', CASE WHEN error_code IN {N8N_REPORTS} THEN error_code ELSE 'callback' END, count(*), NULL
    FROM (SELECT error_code FROM quarantine WHERE state = 'open' ORDER BY created_at DESC LIMIT {MOST}) AS few
    GROUP BY 2
    UNION ALL
    SELECT 'breaker', name, failures, CASE WHEN opened_at IS NOT NULL THEN extract(epoch FROM {since("opened_at")}) END
    FROM destinations
    UNION ALL
    SELECT 'paused', name, 1, NULL FROM destinations WHERE paused_at IS NOT NULL
    UNION ALL
    SELECT 'incident', cause, times, NULL FROM incidents WHERE recovered_at IS NULL
    UNION ALL
    SELECT 'unsettled', 'ledger', count(*), NULL FROM (SELECT FROM unsettled LIMIT {MOST}) AS few
    UNION ALL
    SELECT 'images', 'waiting', {WAITING}, NULL FROM image_store WHERE location IS NOT NULL AND NOT is_draining
    UNION ALL
    SELECT 'images', 'due', {DUE}, extract(epoch FROM {DUE_FOR})
    UNION ALL
    SELECT 'kept', 'requests', 0, extract(epoch FROM {since("created_at")})
    FROM (SELECT created_at FROM requests ORDER BY created_at, request_id LIMIT 1) AS first
    UNION ALL
    SELECT 'bytes', name, pg_total_relation_size(name::regclass), NULL FROM {_each(TABLES)}
"""  # noqa: S608 - constants of this package


def statement(queues: Mapping[str, str] | None = None) -> str:
    """Returns the statement for these queues and their destinations, beside the queues of every installation."""
    known = dict.fromkeys((step.value for step in Step), "") | dict(queues or {})
    values = ", ".join(f"({queue!r}, {destination!r})" for queue, destination in known.items())
    return _STATEMENT.format(queues=f"(VALUES {values}) AS each (name, destination)")


@dataclass(frozen=True, slots=True)
class Gauges:
    """The current counts and ages. Counts stop at `MOST`. Ages are those of the oldest item in seconds, or 0.

    `pending` and `late` are by queue; `late` is how long its oldest due entry has been due, without the time for which
    its destination was paused, and 0 while it is. `open_breakers` is how long each breaker has been open. `paused` is 1
    for each destination that is paused. `incidents` are by `incident_key`. `unsettled` counts changes that the ledger
    lacks. `images_waiting` counts the images in PostgreSQL that belong in the object store. `objects_due` counts the
    objects that are to be deleted by now, and `objects_due_for` is how long the first of those has been due.
    """

    pending: dict[str, int]
    late: dict[str, float]
    open: dict[str, int]
    waiting: dict[str, float]
    dead: dict[str, int]
    failures: dict[str, int]
    open_breakers: dict[str, float]
    paused: dict[str, int]
    incidents: dict[str, int]
    unsettled: int
    images_waiting: int
    objects_due: int
    objects_due_for: float
    kept: float
    bytes: dict[str, int]


class GaugeReader:
    """Reads the gauges. `destinations` are those with a breaker."""

    def __init__(self, database: Database, destinations: Collection[Destination] | None = None) -> None:
        self._database = database
        self._destinations = with_breaker() if destinations is None else destinations
        self._queues = {queue: each.name for each in self._destinations for queue in each.queues}
        self._statement = text(statement(self._queues).replace("::", "\\:\\:"))

    async def read(self) -> Gauges:
        """Reads all gauges with one statement. Raises `StoreUnavailableError`."""
        async with self._database.reading() as connection:
            rows = (await connection.execute(self._statement)).all()
        counts = {(row.what, row.name): int(row.counted) for row in rows}
        ages = {(row.what, row.name): float(row.seconds) for row in rows if row.seconds is not None}

        def number(what: str, names: Iterable[str]) -> dict[str, int]:
            return {name: counts.get((what, name), 0) for name in names}

        def age(what: str, names: Iterable[str]) -> dict[str, float]:
            return {name: max(0.0, ages.get((what, name), 0.0)) for name in names}

        queues, states = dict.fromkeys([*(s.value for s in Step), *self._queues]), [s.value for s in OPEN]
        destinations = [d.name for d in self._destinations]
        odoos = {odoo for each in self._destinations for odoo in each.odoos}
        return Gauges(
            pending=number("pending", queues),
            late=age("late", queues),
            open=number("open", states),
            waiting=age("waiting", states),
            dead=number("dead", GAUGE_KINDS),
            failures=number("breaker", destinations),
            open_breakers={name: ages[key] for name in destinations if (key := ("breaker", name)) in ages},
            paused=number("paused", destinations),
            incidents=number("incident", sorted(every_key(odoos))),
            unsettled=number("unsettled", ["ledger"])["ledger"],
            images_waiting=counts.get(("images", "waiting"), 0),
            objects_due=counts.get(("images", "due"), 0),
            objects_due_for=age("images", ["due"])["due"],
            kept=age("kept", ["requests"])["requests"],
            bytes=number("bytes", TABLES),
        )
