"""What was kept long enough goes, in small batches; what is owed to anybody stays, however old it is.

A batch is one transaction of two statements. The first holds the requests that are due, and passes over those that
somebody else holds. The second looks again, with the requests held: all that makes a request owe something new holds
it first, so what is still due then stays due until the commit. A purge that is killed has done whole batches.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.store.database import Database
from aigen_bridge.store.operations import Deed, record
from aigen_bridge.store.schema import ATTEMPTS_ARE_KEPT, IMAGE_IS_KEPT


class Kept(StrEnum):
    """What is kept for a while, in the order in which it goes."""

    IMAGES = "images"
    """The bytes. Their description stays with the request."""

    QUARANTINE = "quarantine"
    """Callbacks that a person replayed or discarded. Open ones are owed to a person."""

    ATTEMPTS = "attempts"
    """The tries at outbox entries. The request's state changes stay with it."""

    REQUESTS = "requests"
    """Requests with all that belongs to them."""

    INCIDENTS = "incidents"
    """What people were alerted of, after it was over and they knew."""


BATCH: Mapping[Kept, int] = {
    Kept.IMAGES: 50,
    Kept.QUARANTINE: 50,
    Kept.ATTEMPTS: 200,
    Kept.REQUESTS: 200,
    Kept.INCIDENTS: 20,
}
"""Requests (of the quarantine: callbacks) in one transaction; an image has thousands of pages."""

TURN = 0x61696770
"""Advisory lock: one worker purges at a time."""

_LONG_AGO = "now() - make_interval(secs => :kept_for)"

_NOTHING_IS_OWED = f"""
    r.completed_at IS NOT NULL AND r.delivered_at < {_LONG_AGO}
    AND NOT EXISTS (
        SELECT FROM outbox AS o WHERE o.request_id = r.request_id AND o.state IN ('pending', 'dead')
    )
    AND NOT EXISTS (SELECT FROM quarantine AS q WHERE q.request_id = r.request_id AND q.state = 'open')
"""  # noqa: S608 - constants of ours

_DUE: Mapping[Kept, str] = {
    # An image that came after a cancellation was delivered is younger than the delivery.
    Kept.IMAGES: f"""requests AS r WHERE {IMAGE_IS_KEPT} AND {_NOTHING_IS_OWED} AND NOT EXISTS (
        SELECT FROM images AS i WHERE i.request_id = r.request_id AND i.created_at >= {_LONG_AGO}
    )""",
    Kept.QUARANTINE: f"quarantine AS r WHERE r.state <> 'open' AND r.handled_at < {_LONG_AGO}",
    Kept.ATTEMPTS: f"requests AS r WHERE {ATTEMPTS_ARE_KEPT} AND {_NOTHING_IS_OWED}",
    # The second condition follows from the first, and finds the oldest by `requests_newest_idx`.
    Kept.REQUESTS: f"requests AS r WHERE {_NOTHING_IS_OWED} AND r.created_at < {_LONG_AGO}",
    Kept.INCIDENTS: f"""incidents AS r WHERE r.recovered_at < {_LONG_AGO} AND NOT EXISTS (
        SELECT FROM outbox AS o WHERE o.incident_id = r.id AND o.state IN ('pending', 'dead')
    )""",
}

_ORDER: Mapping[Kept, tuple[str, str]] = {
    Kept.IMAGES: ("request_id", "delivered_at"),
    Kept.QUARANTINE: ("id", "handled_at"),
    Kept.ATTEMPTS: ("request_id", "delivered_at"),
    Kept.REQUESTS: ("request_id", "created_at"),
    Kept.INCIDENTS: ("id", "recovered_at"),
}

_REMOVE: Mapping[Kept, str] = {
    Kept.IMAGES: """, marked AS (
            UPDATE requests SET image_purged_at = now() WHERE request_id IN (SELECT key FROM due)
        ) DELETE FROM images WHERE request_id IN (SELECT key FROM due)""",
    Kept.QUARANTINE: "DELETE FROM quarantine WHERE id IN (SELECT key FROM due)",
    Kept.ATTEMPTS: """, marked AS (
            UPDATE requests SET attempts_purged_at = now() WHERE request_id IN (SELECT key FROM due)
        ) DELETE FROM attempts WHERE request_id IN (SELECT key FROM due)""",
    Kept.REQUESTS: "DELETE FROM requests WHERE request_id IN (SELECT key FROM due)",
    Kept.INCIDENTS: "DELETE FROM incidents WHERE id IN (SELECT key FROM due)",
}


def _hold(kept: Kept) -> TextClause:
    key, age = _ORDER[kept]
    return text(f"SELECT r.{key} FROM {_DUE[kept]} ORDER BY r.{age} LIMIT :batch FOR UPDATE OF r SKIP LOCKED")  # noqa: S608 - constants of ours


def _remove(kept: Kept) -> TextClause:
    key, _ = _ORDER[kept]
    due = f"WITH due AS (SELECT r.{key} AS key FROM {_DUE[kept]} AND r.{key} = ANY (:held))"  # noqa: S608 - constants of ours
    return text(f"{due} {_REMOVE[kept]}")


_COUNT = {
    kept: text(f"SELECT count(*) FROM {due}")  # noqa: S608 - constants of ours
    for kept, due in _DUE.items()
    if kept is not Kept.ATTEMPTS
} | {
    Kept.ATTEMPTS: text(
        f"SELECT count(*) FROM attempts WHERE request_id IN (SELECT r.request_id FROM {_DUE[Kept.ATTEMPTS]})"  # noqa: S608 - constants of ours
    )
}


@dataclass(frozen=True, slots=True)
class Batch:
    """How many rows went, and whether there may be more."""

    removed: int
    more: bool


class Retention:
    """The purging in PostgreSQL; safe to run by several at once."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def purge(self, kept: Kept, kept_for: timedelta, *, alone: bool = False) -> Batch:
        """Remove one batch of what has been kept for longer. `alone`: leave it to another who is just doing so."""
        age = {"kept_for": kept_for.total_seconds()}
        async with self._database.transaction(patient=True) as connection:
            if alone and not await _my_turn(connection):
                return Batch(0, more=False)
            held = (await connection.execute(_hold(kept), age | {"batch": BATCH[kept]})).scalars().all()
            removed = await connection.execute(_remove(kept), age | {"held": list(held)}) if held else None
        return Batch(removed.rowcount if removed else 0, more=len(held) == BATCH[kept])

    async def count(self, kept: Kept, kept_for: timedelta) -> int:
        """How many rows `purge` would remove, batch by batch."""
        async with self._database.reading(patient=True) as connection:
            return int(await connection.scalar(_COUNT[kept], {"kept_for": kept_for.total_seconds()}) or 0)

    async def record(self, deed: Deed) -> None:
        """Keep who purged, and what was asked for."""
        async with self._database.transaction() as connection:
            await record(connection, deed, "purge", "retention", None)


async def _my_turn(connection: AsyncConnection) -> Any:
    return await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": TURN})
