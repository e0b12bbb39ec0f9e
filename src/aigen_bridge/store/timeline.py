"""Reads the history of a request (its transitions and attempts, in order) and its pending work."""

from collections.abc import Collection
from uuid import UUID

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.destination import N8N, Destination, with_breaker
from aigen_bridge.domain.generation import GenerationPolicy, State
from aigen_bridge.domain.queues import step_of
from aigen_bridge.domain.request import Status, Step
from aigen_bridge.domain.timeline import (
    AttemptRecord,
    GenerationRecord,
    PendingEntry,
    PendingGeneration,
    PendingWork,
    Record,
    TransitionRecord,
)
from aigen_bridge.store.database import Database
from aigen_bridge.store.destinations import REGISTRY, registry_columns
from aigen_bridge.store.generation_rows import N8N_NOW, find_generation
from aigen_bridge.store.pauses import N8N_IS_PAUSED, STANDING_DEADLINE
from aigen_bridge.store.rows import from_row

_TRANSITIONS = text("""
    SELECT at, version, status, note FROM request_changes WHERE request_id = :request_id ORDER BY version
""")
_ATTEMPTS = text("""
    SELECT started_at, finished_at AS at, step, number, outcome, http_status, error_code, detail
    FROM (
        SELECT id, started_at, finished_at, step, number, outcome, http_status, error_code, detail,
            row_number() OVER of_step AS nth, count(*) OVER (PARTITION BY step) AS counted
        FROM attempts WHERE request_id = :request_id WINDOW of_step AS (PARTITION BY step ORDER BY id)
    ) AS numbered
    WHERE nth <= coalesce(CAST(:most AS int), nth) OR nth > counted - CAST(:most AS int) ORDER BY id
""")
_GENERATION = text("SELECT at, state, note FROM generation_changes WHERE request_id = :request_id ORDER BY id")

_PENDING = text(f"""
    SELECT o.id, o.step, o.state = 'dead' AS is_dead, o.attempts, o.error_code, o.lease_owner IS NOT NULL AS is_leased,
        o.due_at, d.opened_at IS NOT NULL AS destination_is_away, d.paused_at IS NOT NULL AS destination_is_paused,
        d.probe_at,
        o.step LIKE '%:%' AND registry.queue IS NULL AS odoo_is_unknown
    FROM outbox AS o
    LEFT JOIN {REGISTRY} ON registry.queue = o.step
    LEFT JOIN destinations AS d ON d.name = registry.destination
    WHERE o.request_id = :request_id AND o.state IN ('pending', 'dead') ORDER BY o.id DESC
""")  # noqa: S608 - a constant of this package
_DEADLINE = text(f"""
    SELECT {STANDING_DEADLINE} AS deadline, {N8N_IS_PAUSED} AS is_n8n_paused
    FROM requests AS r WHERE request_id = :request_id
""")  # noqa: S608 - constants of this package
_SILENT = text(f"""
    SELECT now() + (quiet_until - {N8N_NOW}) AS silent_at,
        EXISTS (SELECT FROM destinations WHERE name = '{N8N.name}' AND (opened_at IS NOT NULL OR paused_at IS NOT NULL))
            AS is_n8n_out
    FROM generations WHERE request_id = :request_id
""")  # noqa: S608 - constants of this package


class Timelines:
    """Reads the history of a request. `policy` is that of its generation, `destinations` are those with a breaker."""

    def __init__(
        self,
        database: Database,
        policy: GenerationPolicy | None = None,
        destinations: Collection[Destination] | None = None,
    ) -> None:
        self._database = database
        self._policy = policy or GenerationPolicy()
        self._registry = registry_columns(with_breaker() if destinations is None else destinations)

    async def read(self, request_id: UUID, most: int | None = None) -> list[Record]:
        """Returns everything after the accept, in order. An attempt precedes the transition that it caused.

        With `most`, only so many first and so many last attempts of each step: an outage may have caused thousands.
        """
        key = {"request_id": request_id}
        async with self._database.reading() as connection:
            transitions = (await connection.execute(_TRANSITIONS, key)).all()
            attempts = (await connection.execute(_ATTEMPTS, key | {"most": most})).all()
            generation = (await connection.execute(_GENERATION, key)).all()
        history: list[Record] = [
            from_row(AttemptRecord, row, step=Step(row.step), took=row.at - row.started_at) for row in attempts
        ]
        history += [from_row(GenerationRecord, row, state=State(row.state)) for row in generation]
        history += [from_row(TransitionRecord, row, status=Status(row.status)) for row in transitions]
        return sorted(history, key=lambda entry: entry.at)

    async def pending_work(self, request_id: UUID) -> PendingWork:
        """Returns the entries of the request that have not ended, its callback deadline, and its generation."""
        key = {"request_id": request_id}
        async with self._database.reading() as connection:
            rows = (await connection.execute(_PENDING, key | self._registry)).all()
            waiting = (await connection.execute(_DEADLINE, key)).one_or_none()
            generation = await self._pending_generation(connection, request_id)
        entries = tuple(from_row(PendingEntry, row, step=step_of(row.step)) for row in rows)
        if waiting is None:
            return PendingWork(entries, None, generation)
        return PendingWork(entries, waiting.deadline, generation, is_n8n_paused=waiting.is_n8n_paused)

    async def _pending_generation(self, connection: AsyncConnection, request_id: UUID) -> PendingGeneration | None:
        row = (await connection.execute(_SILENT, {"request_id": request_id})).one_or_none()
        generation = await find_generation(connection, request_id)
        if row is None or generation is None:
            return None
        return from_row(PendingGeneration, row, generation=generation, policy=self._policy)
