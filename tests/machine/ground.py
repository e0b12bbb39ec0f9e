"""The real store on a real PostgreSQL, emptied between examples, with a clock that can be moved."""

import asyncio
import json
from collections.abc import Coroutine
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import DateTime, text

from aigen_bridge.domain.generation import GenerationPolicy
from aigen_bridge.store import restoration, transitions
from aigen_bridge.store.catalogue import Models
from aigen_bridge.store.database import Database, open_engine
from aigen_bridge.store.dead_letters import DeadLetters
from aigen_bridge.store.executions import Executions
from aigen_bridge.store.generations import Generations
from aigen_bridge.store.images import PostgresImages
from aigen_bridge.store.operations import Operations
from aigen_bridge.store.outbox import Outbox
from aigen_bridge.store.quarantine import Quarantine
from aigen_bridge.store.requests import Requests
from aigen_bridge.store.schema import metadata
from aigen_bridge.store.sweeps import Sweeps
from aigen_bridge.store.timeline import Timelines
from aigen_bridge.store.transitions import Deadlines
from machine.expected import CALLBACK_DEADLINE
from machine.generating import Rules
from stage import sqlalchemy_url

T = TypeVar("T")

MINUTE = timedelta(minutes=1)
DEADLINES = Deadlines(callback=CALLBACK_DEADLINE * MINUTE, image_url=60 * MINUTE)

RULES = Rules(silence=2.4, resumes=2, grant=2.5, first_word=2)
"""In minutes. No sum of whole minutes comes close below any of these times, so that a slow machine ends none early."""
POLICY = GenerationPolicy(RULES.silence * MINUTE, RULES.resumes)
BEAT = """
    INSERT INTO api_beats (id, since, at) VALUES (1, now() - interval '1 day', now())
    ON CONFLICT (id) DO UPDATE SET since = excluded.since, at = excluded.at
"""
EMPTY = "TRUNCATE requests, operations, quarantine, incidents RESTART IDENTITY CASCADE"
FORGET = """
    UPDATE outbox SET state = 'superseded', finished_at = now(), lease_owner = NULL
    WHERE state = 'pending' AND request_id = '{0}';
    UPDATE requests SET callback_deadline_at = NULL WHERE request_id = '{0}'
"""
FOUND = text("""
    SELECT json_build_object(
        'requests', (SELECT json_object_agg(request_id, json_build_object(
            'status', status, 'version', version, 'failed_by', failed_by, 'error_code', error_code,
            'image', image->>'sha256', 'awaited', awaited->>'sha256', 'delivered', delivered_at IS NOT NULL,
            'deadline', callback_deadline_at IS NOT NULL)) FROM requests),
        'entries', (SELECT json_agg(json_build_array(request_id, step, state) ORDER BY id) FROM outbox
            WHERE request_id IS NOT NULL),
        'images', (SELECT json_agg(json_build_array(request_id, encode(sha256(content), 'hex'))) FROM images),
        'originals', (SELECT json_agg(json_build_array(request_id, sha256)) FROM original_images),
        'moves', (SELECT json_agg(json_build_array(request_id, version, status) ORDER BY version)
            FROM request_changes),
        'attempts', (SELECT json_agg(json_build_array(request_id, step, number, outcome) ORDER BY id) FROM attempts
            WHERE request_id IS NOT NULL),
        'operations', (SELECT json_agg(json_build_array(request_id, action, client) ORDER BY id) FROM operations),
        'jobs', (SELECT json_agg(json_build_array(request_id, job_id, ended_at IS NOT NULL)) FROM provider_jobs),
        'generations', (SELECT json_object_agg(request_id, json_build_object(
            'state', state, 'holder', execution_id, 'key', ask_key, 'job', job->>'job_id', 'refused', refusals,
            'ended', ended_jobs, 'doubts', doubts, 'resumes', resumes, 'unheard', is_resuming,
            'in_a_persons_hands', is_suspended, 'ends', quiet_until IS NOT NULL)) FROM generations)
    )
""")


class Ground:
    """One event loop and one database for all examples of a test. A new one for each would take most of the time."""

    def __init__(self, database_url: str) -> None:
        self._runner = asyncio.Runner()
        self.database = Database(open_engine(sqlalchemy_url(database_url), pool_size=2, name="machine"))
        self.images = PostgresImages(self.database)
        self.requests = Requests(self.database, DEADLINES, self.images)
        self.models = Models(self.database)
        self.executions = Executions(self.database, DEADLINES)
        self.outbox = Outbox(self.database, DEADLINES, self.images, generations=POLICY)
        self.generations = Generations(self.database, DEADLINES, POLICY)
        self.sweeps = Sweeps(self.database, DEADLINES)
        self.operations = Operations(self.database, DEADLINES, self.images)
        self.dead_letters = DeadLetters(self.database)
        self.quarantine = Quarantine(self.database, DEADLINES, self.images)
        self.timelines = Timelines(self.database)

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine to its end."""
        return self._runner.run(coroutine)

    def close(self) -> None:
        """Closes the connections and the event loop."""
        self.run(self.database.close())
        self._runner.close()

    async def clear(self) -> None:
        """Empties the tables."""
        await self._write(EMPTY)

    async def pass_time(self, minutes: int) -> None:
        """Moves every timestamp in the database into the past, which has the same effect as a moved clock."""
        await self._write("; ".join(_earlier(minutes)))

    async def forget(self, request_id: UUID) -> None:
        """Simulates a bug that loses the next step of a request."""
        await self._write(FORGET.format(request_id))

    async def end_quiet(self) -> None:
        """Sweeps the silent generations, as if the API had been there all the time."""
        await self._write(BEAT)
        await self.generations.end_quiet()

    async def doubt(self, request_ids: list[UUID]) -> None:
        """Doubts open requests as after a restore, without new versions, which the tests of the restoration prove."""
        async with self.database.transaction() as connection:
            await transitions.lock(connection, request_ids)
            await restoration._doubt(connection, request_ids)

    async def found(self) -> dict[str, Any]:
        """Returns the contents of the tables as in `FOUND`."""
        async with self.database.reading() as connection:
            row = (await connection.execute(FOUND)).scalar_one()
        return row if isinstance(row, dict) else dict(json.loads(row))

    async def _write(self, statements: str) -> None:
        async with self.database.transaction() as connection:
            await connection.exec_driver_sql(statements)


def _earlier(minutes: int) -> list[str]:
    """Returns an update of every table with timestamp columns, including tables that are added later."""
    statements = []
    for table in metadata.tables.values():
        moments = [column.name for column in table.columns if isinstance(column.type, DateTime)]
        if moments:
            moved = ", ".join(f"{name} = {name} - interval '{minutes} minutes'" for name in moments)
            statements.append(f"UPDATE {table.name} SET {moved}")  # noqa: S608 - names from the schema
    return statements
