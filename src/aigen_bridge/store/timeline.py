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
