"""Requests of every kind and age, written directly into the tables, because a test cannot wait a year."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from uuid import UUID, uuid4

from sqlalchemy import text

from aigen_bridge.domain.request import FINAL, Status
from aigen_bridge.store.database import Database
from stage import make_event

OLD, YOUNG = 400, 1
"""Days."""
ENTRIES: tuple[tuple[str, ...], ...] = (
    (),
    ("done", "done"),
    ("done", "pending"),
    ("dead", "done"),
    ("cancelled", "done"),
    ("superseded", "done"),
)
CALLBACKS = (None, "open", "replayed")

_REQUEST = text("""
    INSERT INTO requests (request_id, correlation_id, event, status, version, failed_by, image, awaited,
        created_at, updated_at, completed_at, delivered_at)
    SELECT :id, CAST(CAST(:event AS jsonb) ->> 'correlationId' AS uuid), CAST(:event AS jsonb), :status, 3,
        CASE :status WHEN 'failed' THEN 'bridge' END,
        CASE WHEN :has_image THEN CAST('{"format": "png", "size": 1, "width": 1, "height": 1, "sha256": "00"}' AS jsonb)
        END,
        CASE :status WHEN 'received' THEN CAST('{"url": "x"}' AS jsonb) END,
        at, at, CASE WHEN :final THEN at END, CASE WHEN :delivered THEN at END
    FROM (SELECT now() - make_interval(days => :days) AS at) AS moment
""")
_CHANGE = text("INSERT INTO request_changes (request_id, version, status) VALUES (:id, 3, :status)")
_IMAGE = text("""
    INSERT INTO images (request_id, content, created_at) VALUES (:id, 'x', now() - make_interval(days => :days))
""")
_ENTRY = text("""
    WITH entry AS (
        INSERT INTO outbox (request_id, step, state, finished_at)
        VALUES (:id, 'deliver', :state, CASE WHEN :state <> 'pending' THEN now() END) RETURNING id
    )
    INSERT INTO attempts (entry_id, request_id, step, number, outcome) SELECT id, :id, 'deliver', 1, 'done' FROM entry
""")
_CALLBACK = text("""
    INSERT INTO quarantine (state, client, version, request_id, error_code, error_detail, headers, payload,
        fingerprint, handled_at)
    VALUES (:state, 'n8n', 'v1', :id, 'x', 'x', '{}', 'x', uuid_send(gen_random_uuid()),
        CASE WHEN :state <> 'open' THEN now() - make_interval(days => :days) END)
""")


@dataclass(frozen=True, kw_only=True)
class Aged:
    """One request as stored in the tables; ended, delivered and received `days` ago."""

    status: str = "completed"
    delivered: bool = True
    entries: tuple[str, ...] = ("done", "done")
    callback: str | None = None
    days: int = OLD

    @property
    def final(self) -> bool:
        return self.status in FINAL

    @property
    def has_image(self) -> bool:
        return self.status in {"completed", "cancelled"}

    @property
    def may_go(self) -> bool:
        """Whether the request may be deleted; an independent statement of the store's retention rule."""
        is_undelivered = not (self.final and self.delivered)
        is_pending = "pending" in self.entries
        needs_a_person = "dead" in self.entries or self.callback == "open"
        return self.days == OLD and not (is_undelivered or is_pending or needs_a_person)


def every_kind() -> list[Aged]:
    """Returns all combinations. Some cannot occur, and must be safe nevertheless."""
    return [
        Aged(status=status.value, delivered=delivered, entries=entries, callback=callback, days=days)
        for status, delivered, entries, callback, days in product(
            Status, (True, False), ENTRIES, CALLBACKS, (OLD, YOUNG)
        )
    ]


async def write(database: Database, wanted: Sequence[Aged]) -> Mapping[UUID, Aged]:
    """Inserts the requests and returns them by id."""
    named = {uuid4(): aged for aged in wanted}
    async with database.transaction() as connection:
        await connection.execute(
            _REQUEST,
            [
                {"id": i, "status": a.status, "final": a.final, "delivered": a.delivered, "has_image": a.has_image}
                | {"days": a.days, "event": json.dumps(make_event(requestId=str(i)))}
                for i, a in named.items()
            ],
        )
        await connection.execute(_CHANGE, [{"id": i, "status": a.status} for i, a in named.items()])
        for statement, rows in {
            _IMAGE: [{"id": i, "days": a.days} for i, a in named.items() if a.has_image],
            _ENTRY: [{"id": i, "state": state} for i, a in named.items() for state in a.entries],
            _CALLBACK: [{"id": i, "state": a.callback, "days": a.days} for i, a in named.items() if a.callback],
        }.items():
            if rows:
                await connection.execute(statement, rows)
    return named
