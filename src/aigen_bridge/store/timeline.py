"""What happened to a request: its moves and the tries at its outbox entries, in order."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from sqlalchemy import text

from aigen_bridge.domain.request import Status, Step
from aigen_bridge.store.database import Database

_MOVES = text("""
    SELECT at, version, status, note FROM request_changes WHERE request_id = :request_id ORDER BY version
""")
_TRIES = text("""
    SELECT started_at, finished_at, step, number, outcome, http_status, error_code, detail
    FROM attempts WHERE request_id = :request_id ORDER BY id
""")


_OWED = text("""
    SELECT o.id, o.step, o.state = 'dead' AS is_dead, o.attempts, o.error_code, o.lease_owner IS NOT NULL AS in_hand,
        o.due_at, d.opened_at IS NOT NULL AS destination_is_out, d.probe_at
    FROM outbox AS o
    LEFT JOIN destinations AS d ON d.name = CASE o.step WHEN 'dispatch' THEN 'n8n' WHEN 'deliver' THEN 'odoo' END
    WHERE o.request_id = :request_id AND o.state IN ('pending', 'dead') ORDER BY o.id DESC
""")
_DEADLINE = text("SELECT callback_deadline_at FROM requests WHERE request_id = :request_id")


@dataclass(frozen=True, slots=True)
class Moved:
    """The request moved."""

    at: datetime
    version: int
    status: Status
    note: str | None


@dataclass(frozen=True, slots=True)
class Tried:
    """A try at an outbox entry ended `at`; `number` 1 is the first, `outcome` as in `ATTEMPT_OUTCOMES`."""

    at: datetime
    step: Step
    number: int
    outcome: str
    took: timedelta
    http_status: int | None
    error_code: str | None
    detail: str | None


@dataclass(frozen=True, slots=True)
class Owed:
    """An outbox entry that is live or dead. `due_at` of one `in_hand` is when its lease ends."""

    id: int
    step: Step
    is_dead: bool
    attempts: int
    error_code: str | None
    in_hand: bool
    due_at: datetime
    destination_is_out: bool
    probe_at: datetime | None


@dataclass(frozen=True, slots=True)
class Prospect:
    """What is owed for a request, the newest first, and until when N8N may report."""

    owed: tuple[Owed, ...]
    callback_deadline_at: datetime | None


class Timelines:
    """Reads the story of a request."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def read(self, request_id: UUID) -> list[Moved | Tried]:
        """Everything after the accept, in order; a try stands before the move that it caused."""
        key = {"request_id": request_id}
        async with self._database.reading() as connection:
            moves = (await connection.execute(_MOVES, key)).all()
            tries = (await connection.execute(_TRIES, key)).all()
        story: list[Moved | Tried] = [
            Tried(
                row.finished_at,
                Step(row.step),
                row.number,
                row.outcome,
                row.finished_at - row.started_at,
                row.http_status,
                row.error_code,
                row.detail,
            )
            for row in tries
        ]
        story.extend(Moved(row.at, row.version, Status(row.status), row.note) for row in moves)
        return sorted(story, key=lambda entry: entry.at)

    async def prospect(self, request_id: UUID) -> Prospect:
        """What is still to come."""
        key = {"request_id": request_id}
        async with self._database.reading() as connection:
            rows = (await connection.execute(_OWED, key)).all()
            deadline = await connection.scalar(_DEADLINE, key)
        return Prospect(tuple(Owed(row.id, Step(row.step), *row[2:]) for row in rows), deadline)
