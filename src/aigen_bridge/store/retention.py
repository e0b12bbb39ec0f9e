"""Deletes data past its retention period in small batches. Requests with pending work are kept, however old.

A batch is one transaction. Its first statement locks the requests that are due and skips locked ones. Its second
checks them again and deletes. Writers lock a request before they enqueue a step, so a request that is still due cannot
gain work before the commit. A purge that is killed has deleted whole batches. Of images in an object store it notes
the objects, which the sweep deletes.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import TextClause, text
from sqlalchemy.ext.asyncio import AsyncConnection

from aigen_bridge.domain.dead_letter import OperatorAction
from aigen_bridge.domain.image import ImageRef
from aigen_bridge.domain.retention import RetentionClass
from aigen_bridge.store.database import Database
from aigen_bridge.store.image_garbage import note
from aigen_bridge.store.operations import record
from aigen_bridge.store.schema import ATTEMPTS_ARE_KEPT, IMAGE_IS_KEPT

BATCH: Mapping[RetentionClass, int] = {
    RetentionClass.IMAGES: 50,
    RetentionClass.QUARANTINE: 50,
    RetentionClass.ATTEMPTS: 200,
    RetentionClass.REQUESTS: 200,
    RetentionClass.LEDGER: 500,
    RetentionClass.INCIDENTS: 20,
}
"""Rows deleted in one transaction. Images have small batches, because one takes up thousands of pages."""

PURGE_LOCK = 0x61696770
"""Key of the advisory lock: one worker purges at a time."""

_LONG_AGO = "now() - make_interval(secs => :period)"

_NOTHING_IS_PENDING = f"""
    r.completed_at IS NOT NULL AND r.delivered_at < {_LONG_AGO}
    AND NOT EXISTS (
        SELECT FROM outbox AS o WHERE o.request_id = r.request_id AND o.state IN ('pending', 'dead')
    )
    AND NOT EXISTS (SELECT FROM quarantine AS q WHERE q.request_id = r.request_id AND q.state = 'open')
"""  # noqa: S608 - constants of this module

_IS_SETTLED = "NOT EXISTS (SELECT FROM unsettled AS u WHERE u.request_id = r.request_id)"
"""SQL: the ledger has everything of the request `r`. Otherwise its estimate could stay reserved for ever."""

_DUE: Mapping[RetentionClass, str] = {
    # An image that came after a cancellation is younger than the delivery; `updated_at` is when it came.
    RetentionClass.IMAGES: f"""requests AS r
        WHERE {IMAGE_IS_KEPT} AND {_NOTHING_IS_PENDING} AND r.updated_at < {_LONG_AGO}""",
    RetentionClass.QUARANTINE: f"quarantine AS r WHERE r.state <> 'open' AND r.handled_at < {_LONG_AGO}",
    RetentionClass.ATTEMPTS: f"requests AS r WHERE {ATTEMPTS_ARE_KEPT} AND {_NOTHING_IS_PENDING}",
    # The last condition follows from the first. It lets PostgreSQL find the oldest by `requests_newest_idx`.
    RetentionClass.REQUESTS: f"""requests AS r
        WHERE {_NOTHING_IS_PENDING} AND {_IS_SETTLED} AND r.created_at < {_LONG_AGO}""",
    # What happens to a request that is still there is compared with all of its entries.
    RetentionClass.LEDGER: f"""ledger AS r WHERE r.accepted_at < {_LONG_AGO}
        AND NOT EXISTS (SELECT FROM requests AS q WHERE q.request_id = r.request_id)""",
    RetentionClass.INCIDENTS: f"""incidents AS r WHERE r.recovered_at < {_LONG_AGO} AND NOT EXISTS (
        SELECT FROM outbox AS o WHERE o.incident_id = r.id AND o.state IN ('pending', 'dead')
    )""",
}

_ORDER: Mapping[RetentionClass, tuple[str, str]] = {
    RetentionClass.IMAGES: ("request_id", "delivered_at"),
    RetentionClass.QUARANTINE: ("id", "handled_at"),
    RetentionClass.ATTEMPTS: ("request_id", "delivered_at"),
    RetentionClass.REQUESTS: ("request_id", "created_at"),
    RetentionClass.LEDGER: ("id", "accepted_at"),
    RetentionClass.INCIDENTS: ("id", "recovered_at"),
}

_DELETE: Mapping[RetentionClass, str] = {
    RetentionClass.IMAGES: """WITH due AS (
            UPDATE requests SET image_purged_at = now() WHERE request_id IN ({due})
            RETURNING request_id, image, provenance
        ), deleted AS (
            DELETE FROM images WHERE request_id IN (SELECT request_id FROM due)
        ), deleted_originals AS (
            DELETE FROM original_images WHERE request_id IN (SELECT request_id FROM due)
        ) SELECT request_id, {hashes} AS hashes FROM due""",
    RetentionClass.QUARANTINE: "DELETE FROM quarantine WHERE id IN ({due}) RETURNING request_id, NULL AS hashes",
    RetentionClass.ATTEMPTS: """WITH due AS (
            UPDATE requests SET attempts_purged_at = now() WHERE request_id IN ({due}) RETURNING request_id
        ) DELETE FROM attempts WHERE request_id IN (SELECT request_id FROM due) RETURNING request_id, NULL AS hashes""",
    RetentionClass.REQUESTS: """DELETE FROM requests WHERE request_id IN ({due}) RETURNING request_id,
            CASE WHEN image_purged_at IS NULL THEN {hashes} END AS hashes""",
    RetentionClass.LEDGER: "DELETE FROM ledger WHERE id IN ({due}) RETURNING NULL AS request_id, NULL AS hashes",
    RetentionClass.INCIDENTS: "DELETE FROM incidents WHERE id IN ({due}) RETURNING NULL AS request_id, NULL AS hashes",
}
"""Statements that delete what the SELECT `due` finds. They return a row per deleted row, with the hashes of its image
and of the original before it was marked, if any."""

_HASHES = "array_remove(ARRAY[image ->> 'sha256', provenance ->> 'original_sha256'], NULL)"


def _lock(retention_class: RetentionClass) -> TextClause:
    key, age = _ORDER[retention_class]
    due = f"SELECT r.{key} FROM {_DUE[retention_class]}"  # noqa: S608 - constants of this module
    return text(f"{due} ORDER BY r.{age} LIMIT :batch FOR UPDATE OF r SKIP LOCKED")


def _delete(retention_class: RetentionClass) -> TextClause:
    key, _ = _ORDER[retention_class]
    due = f"SELECT r.{key} FROM {_DUE[retention_class]} AND r.{key} = ANY (:locked)"  # noqa: S608 - constants of this module
    return text(_DELETE[retention_class].format(due=due, hashes=_HASHES))


_COUNT = {
    retention_class: text(f"SELECT count(*) FROM {due}")  # noqa: S608 - constants of this module
    for retention_class, due in _DUE.items()
    if retention_class is not RetentionClass.ATTEMPTS
} | {
    RetentionClass.ATTEMPTS: text(
        f"SELECT count(*) FROM attempts WHERE request_id IN (SELECT r.request_id FROM {_DUE[RetentionClass.ATTEMPTS]})"  # noqa: S608 - constants of this module
    )
}


@dataclass(frozen=True, slots=True)
class Batch:
    """The number of deleted rows, and whether there may be more."""

    deleted: int
    more: bool


class Retention:
    """Deletes and counts data past its retention period. Safe to run concurrently.

    `has_objects`: images may be kept in an object store.
    """

    def __init__(self, database: Database, *, has_objects: bool) -> None:
        self._database = database
        self._has_objects = has_objects

    async def purge(self, retention_class: RetentionClass, period: timedelta, *, exclusive: bool = False) -> Batch:
        """Deletes one batch of data older than `period`. `exclusive`: does nothing while another worker is purging."""
        age = {"period": period.total_seconds()}
        async with self._database.transaction(patient=True) as connection:
            if exclusive and not await _acquired(connection):
                return Batch(0, more=False)
            limit = BATCH[retention_class]
            locked = (await connection.execute(_lock(retention_class), age | {"batch": limit})).scalars().all()
            if not locked:
                return Batch(0, more=False)
            deleted = (await connection.execute(_delete(retention_class), age | {"locked": list(locked)})).all()
            if self._has_objects:
                images = [ImageRef(row.request_id, sha256) for row in deleted for sha256 in row.hashes or ()]
                await note(connection, images, is_certain=True)
        return Batch(len(deleted), more=len(locked) == limit)

    async def count(self, retention_class: RetentionClass, period: timedelta) -> int:
        """Returns how many rows `purge` would delete in all batches."""
        async with self._database.reading(patient=True) as connection:
            return int(await connection.scalar(_COUNT[retention_class], {"period": period.total_seconds()}) or 0)

    async def record(self, action: OperatorAction, periods: Mapping[str, str] | None = None) -> None:
        """Records a purge as an operator action, with the periods."""
        async with self._database.transaction() as connection:
            await record(connection, action, "purge", "retention", None, after=periods)


async def _acquired(connection: AsyncConnection) -> Any:
    return await connection.scalar(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": PURGE_LOCK})
